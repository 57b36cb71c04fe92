/** What is held back of one client while all connections are frozen between two messages. */

import { Deferred } from "../base/deferred.ts";

/** What the client has sent, and what is done with it in the end. One of the two is called. */
export interface HeldRequest {
  /** It is gone on with. */
  readonly goOn: () => void;
  /** It is dropped: nothing borrows its bytes any more. */
  readonly letGo: () => void;
}

/** One freeze of one client. */
export class LinkFreeze {
  readonly #thaw = new Deferred<void>();
  #held: HeldRequest | undefined;
  #isSending = false;
  #isOver = false;
  #isDropped = false;

  /** Resolves when it is over. */
  get thawed(): Promise<void> {
    return this.#thaw.promise;
  }

  /** Whether the last bytes before the freeze are still being sent to the server. */
  get isSending(): boolean {
    return this.#isSending;
  }

  /** Holds what the client has sent, until the thaw, and until `sending` settles: it borrows bytes. */
  holdRequest(sending: void | Promise<void>, request: HeldRequest): void {
    this.#held = request;
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
    this.#isDropped = true;
    this.thaw();
  }

  #release(): void {
    const held = this.#held;
    this.#held = undefined;
    if (this.#isDropped) held?.letGo();
    else held?.goOn();
  }
}
