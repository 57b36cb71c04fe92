/** A listener of the portable engine: Deno's own. */

import type { Clock, Timer } from "../../base/clock.ts";
import type { ByteStream } from "../byte_stream.ts";
import type { ListenAddress, Listener } from "../network.ts";
import type { OpenedListener } from "../open_listener.ts";
import { acceptedConns } from "./accepted_conns.ts";

/**
 * The runtime does not tell whether anybody waits to be accepted. When for so long nobody has been,
 * nobody does.
 */
const QUIET_MS = 5;

/** So many looks at most: where newcomers cannot be turned away, it may never be quiet. */
const MAX_LOOKS = 100;

/** What a listener is made of. */
export interface PortableListenerOptions {
  readonly clock: Clock;
  readonly opened: OpenedListener;
  /** Makes a stream of an accepted connection; undefined if that fails. */
  readonly accept: (conn: Deno.Conn) => ByteStream | undefined;
  /** Told of trouble with accepting. */
  readonly onAcceptError: (error: unknown) => void;
  /** Turns newcomers away from a port that others listen on, too, where the system can do that. */
  readonly turnAwayNewcomers: (listener: Deno.Listener) => void;
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

  drain(): void {
    if (this.#isClosed || this.#isDraining) return;
    this.#isDraining = true;
    const { opened, turnAwayNewcomers } = this.#options;
    opened.leave();
    if (this.address.kind === "tcp" && this.address.isShared === true) {
      turnAwayNewcomers(opened.listener);
    }
    this.#closeWhenQuiet(MAX_LOOKS);
  }

  #closeWhenQuiet(looks: number): void {
    const before = this.#acceptedCount;
    this.#look = this.#options.clock.startTimer(QUIET_MS, () => {
      if (this.#acceptedCount === before || looks === 0) this.close();
      else this.#closeWhenQuiet(looks - 1);
    });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#look?.cancel();
    this.#options.opened[Symbol.dispose]();
  }
}
