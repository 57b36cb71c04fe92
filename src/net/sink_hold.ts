/** Calls sinks for receive loops that are made of promises, and turns `HOLD` into one. */

import { HOLD, type Sink } from "./byte_stream.ts";

/** The hold of one receive loop. */
export class SinkHold {
  #end: (() => void) | undefined;
  /** `end()` was called before the sink answered. */
  #hasEnded = false;

  /** Calls the sink. Returns what the loop has to wait for; nothing if it may go on. */
  call(sink: Sink, buffer: Uint8Array, length: number): void | Promise<void> {
    this.#hasEnded = false;
    const answer = sink(buffer, length);
    if (answer !== HOLD) return answer;
    if (this.#hasEnded) return;
    return new Promise((resolve) => this.#end = resolve);
  }

  /** Ends the hold. */
  end(): void {
    const end = this.#end;
    this.#end = undefined;
    this.#hasEnded = true;
    end?.();
  }
}
