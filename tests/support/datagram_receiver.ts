/** A unix datagram socket that receives, in a folder of its own that others may send to. */

import { ProcessLibc } from "../../src/net/native/process_libc.ts";
import { eventually } from "./eventually.ts";

/** Longer than any datagram in the tests. */
const BUFFER_BYTES = 65_536;

/** Receives what is sent to `path`. */
export class DatagramReceiver implements Disposable {
  /** As a sender names it: a path, or `@name` for an abstract one. */
  readonly path: string;
  /** All that has been received, in order. */
  readonly received: string[] = [];
  readonly #libc: ProcessLibc;
  readonly #descriptor: number;
  readonly #folder: string | undefined;

  private constructor(path: string, folder: string | undefined) {
    this.path = path;
    this.#folder = folder;
    this.#libc = ProcessLibc.open();
    this.#descriptor = this.#libc.bindDatagrams(path.replace(/^@/, "\0"));
    if (this.#descriptor < 0) throw new Error(`Cannot bind ${path}: ${this.#descriptor}`);
    // Sluice may run as another user.
    if (folder !== undefined) Deno.chmodSync(path, 0o777);
  }

  /** At a path, which goes away with it. */
  static atPath(): DatagramReceiver {
    const folder = Deno.makeTempDirSync();
    Deno.chmodSync(folder, 0o755);
    return new DatagramReceiver(`${folder}/socket`, folder);
  }

  /** At a path that is free. */
  static at(path: string): DatagramReceiver {
    return new DatagramReceiver(path, undefined);
  }

  /** At an abstract name. */
  static abstract(): DatagramReceiver {
    return new DatagramReceiver(`@sluice-test-${crypto.randomUUID()}`, undefined);
  }

  /** Takes what has come. */
  poll(): readonly string[] {
    const buffer = new Uint8Array(BUFFER_BYTES);
    for (;;) {
      const count = this.#libc.receiveDatagram(this.#descriptor, buffer);
      if (count < 0) return this.received;
      this.received.push(new TextDecoder().decode(buffer.subarray(0, count)));
    }
  }

  /** Waits until something that matches has come. @throws {Error} If nothing does. */
  async waitFor(pattern: RegExp): Promise<string> {
    await eventually(`a datagram ${pattern}`, () => this.poll().some((text) => pattern.test(text)));
    return this.received.find((text) => pattern.test(text))!;
  }

  [Symbol.dispose](): void {
    this.#libc.close(this.#descriptor);
    this.#libc[Symbol.dispose]();
    if (this.#folder !== undefined) Deno.removeSync(this.#folder, { recursive: true });
  }
}
