/** What the console says, gathered and sent in pieces: never more than a few rows are held. */

import type { ClientSession } from "../client/client_session.ts";
import { MessageWriter } from "../wire/message_writer.ts";

/** Where the answers of one session go, in order. */
export class AnswerStream {
  readonly #client: ClientSession;
  readonly #writer = new MessageWriter();

  constructor(client: ClientSession) {
    this.#client = client;
  }

  /** Adds messages to what is sent next. */
  add(...messages: readonly Uint8Array[]): void {
    for (const message of messages) this.#writer.bytes(message);
  }

  /** Sends what was added; resolves when the client has taken it. */
  async flush(): Promise<void> {
    if (this.#writer.length === 0) return;
    const bytes = this.#writer.take();
    // Nothing is sent behind the error that ended the client.
    if (this.#client.isOpen) await this.#client.send(bytes);
  }
}
