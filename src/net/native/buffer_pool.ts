/**
 * Receive buffers. A connection has one only while somebody holds what was received: the rest of
 * the time a few serve all.
 *
 * HOT PATH. Budget: no allocation, as long as no more buffers are held than before.
 */

/** As much of each size is kept though nobody uses it. */
const MAX_SPARE_BYTES = 1_048_576;

/** Spare buffers of one size. */
export class BufferShelf {
  readonly byteCount: number;
  readonly #spare: Uint8Array[] = [];

  constructor(byteCount: number) {
    this.byteCount = byteCount;
  }

  /** A buffer, with whatever is in it. */
  take(): Uint8Array {
    return this.#spare.pop() ?? new Uint8Array(new ArrayBuffer(this.byteCount));
  }

  /** Takes a buffer back; nobody may look at it any more. */
  give(buffer: Uint8Array): void {
    if (this.#spare.length * this.byteCount < MAX_SPARE_BYTES) this.#spare.push(buffer);
  }
}

/** The shelves of one reactor, one for each size that connections are set up with. */
export class BufferPool {
  readonly #shelves = new Map<number, BufferShelf>();

  /** The shelf for a size; not to be asked for each read of little. */
  shelf(byteCount: number): BufferShelf {
    const known = this.#shelves.get(byteCount);
    if (known !== undefined) return known;
    const shelf = new BufferShelf(byteCount);
    this.#shelves.set(byteCount, shelf);
    return shelf;
  }
}
