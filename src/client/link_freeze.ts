/** What is held back of one client while all connections are frozen between two messages. */

import { Deferred } from "../base/deferred.ts";

/** One freeze of one client. */
export class LinkFreeze {
  readonly #thaw = new Deferred<void>();
  #goOn: (() => void) | undefined;
  #isSending = false;
  #isOver = false;

  /** Resolves when it is over. */
  get thawed(): Promise<void> {
    return this.#thaw.promise;
  }

  /** Whether the last bytes before the freeze are still being sent to the server. */
  get isSending(): boolean {
    return this.#isSending;
  }

  /** Holds what the client has sent: `goOn` is called after the thaw, and once `sending` settles. */
  holdRequest(sending: void | Promise<void>, goOn: () => void): void {
    this.#goOn = goOn;
    if (sending === undefined) return;
    this.#isSending = true;
    void sending.then(() => {
      this.#isSending = false;
      // The thaw came first.
      if (this.#isOver) this.#release();
    });
  }

  /** Lets everything go on. */
  thaw(): void {
    this.#isOver = true;
    this.#thaw.resolve();
    if (!this.#isSending) this.#release();
  }

  /** The client is gone: what it had sent is dropped, and nothing is held back for it any more. */
  drop(): void {
    this.#goOn = undefined;
    this.thaw();
  }

  #release(): void {
    const goOn = this.#goOn;
    this.#goOn = undefined;
    goOn?.();
  }
}
