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

  /** Resolves when it is over. */
  get thawed(): Promise<void> {
    return this.#thaw.promise;
  }

  /** Holds what the client has sent until the thaw. */
  holdRequest(request: HeldRequest): void {
    this.#held = request;
  }

  /** Lets everything go on. */
  thaw(): void {
    this.#thaw.resolve();
    this.#takeHeld()?.goOn();
  }

  /** The client is gone: what it had sent is dropped, and nothing is held back for it any more. */
  drop(): void {
    this.#thaw.resolve();
    this.#takeHeld()?.letGo();
  }

  #takeHeld(): HeldRequest | undefined {
    const held = this.#held;
    this.#held = undefined;
    return held;
  }
}
