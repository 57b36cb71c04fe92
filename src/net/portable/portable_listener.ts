/** A listener of the portable engine: Deno's own. */

import type { Clock, Timer } from "../../base/clock.ts";
import type { ByteStream } from "../byte_stream.ts";
import type { ListenAddress, Listener } from "../network.ts";
import type { OpenedListener } from "../open_listener.ts";
import { acceptedConns } from "./accepted_conns.ts";

/**
 * The runtime does not tell whether anybody waits to be accepted. Where the system does not either, a
 * drain looks who has been.
 */
const LOOK_MS = 5;

/**
 * When so many looks in a row have seen nobody, nobody waits. One is not enough: where the processor
 * is busy, the time may be over before the runtime has asked the system.
 */
const QUIET_LOOKS = 4;

/** So many looks at most: on a port that others listen on, too, it may never be quiet. */
const MAX_LOOKS = 100;

/** What a listener is made of. */
export interface PortableListenerOptions {
  readonly clock: Clock;
  readonly opened: OpenedListener;
  /** Makes a stream of an accepted connection; undefined if that fails. */
  readonly accept: (conn: Deno.Conn) => ByteStream | undefined;
  /** Told of trouble with accepting. */
  readonly onAcceptError: (error: unknown) => void;
  /**
   * Has a TCP listener listen no more if nobody waits to be accepted, and tells whether, where the
   * system tells.
   */
  readonly finishIfQuiet: (listener: Deno.Listener) => boolean | undefined;
}

/** A listener of the portable engine. */
export class PortableListener implements Listener {
  readonly address: ListenAddress;
  readonly #options: PortableListenerOptions;
  #acceptedCount = 0;
  #isDraining = false;
  #isClosed = false;
  #look: Timer | undefined;

  constructor(options: PortableListenerOptions) {
    this.#options = options;
    this.address = options.opened.address;
  }

  async *connections(): AsyncGenerator<ByteStream, void, void> {
    const { accept, clock, onAcceptError, opened } = this.#options;
    for await (const conn of acceptedConns(opened.listener, { clock, onError: onAcceptError })) {
      this.#acceptedCount += 1;
      const stream = accept(conn);
      if (stream !== undefined) yield stream;
    }
  }

  isInPlace(): boolean {
    return this.#options.opened.isInPlace();
  }

  isDeserted(): Promise<boolean> {
    return this.#options.opened.isDeserted();
  }

  takeOver(): void {
    this.#options.opened.takeOver();
  }

  drain(): void {
    if (this.#isClosed || this.#isDraining) return;
    this.#isDraining = true;
    this.#options.opened.leave();
    this.#closeWhenQuiet(QUIET_LOOKS, MAX_LOOKS);
  }

  #closeWhenQuiet(quietLooks: number, looks: number): void {
    if (quietLooks === 0 || looks === 0) return this.close();
    const before = this.#acceptedCount;
    this.#look = this.#options.clock.startTimer(LOOK_MS, () => {
      // Now or never: where others listen, too, newcomers go on coming.
      if (this.#finishIfQuiet() === true) return this.close();
      const isQuiet = this.#acceptedCount === before;
      this.#closeWhenQuiet(isQuiet ? quietLooks - 1 : QUIET_LOOKS, looks - 1);
    });
  }

  #finishIfQuiet(): boolean | undefined {
    const { finishIfQuiet, opened } = this.#options;
    return this.address.kind === "tcp" ? finishIfQuiet(opened.listener) : undefined;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#look?.cancel();
    this.#options.opened[Symbol.dispose]();
  }
}
