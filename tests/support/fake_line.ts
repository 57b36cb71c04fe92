/** The line between a backend of the fake PostgreSQL and its client: messages in, messages out. */

import type { ByteStream } from "../../src/net/byte_stream.ts";
import { join, type MessageSplitter, type RawMessage } from "./messages.ts";

/** The backend ends here and now. */
export class BackendEnd extends Error {}

/** What a line is made of. */
export interface FakeLineOptions {
  readonly stream: ByteStream;
  readonly splitter: MessageSplitter;
  readonly chunks: AsyncIterator<Uint8Array, void, void>;
  /** Told of each message that is taken from the line, by type. */
  readonly onMessage: (type: string) => void;
}

/** One client's line. */
export class FakeLine {
  readonly stream: ByteStream;
  readonly #splitter: MessageSplitter;
  readonly #chunks: AsyncIterator<Uint8Array, void, void>;
  readonly #onMessage: (type: string) => void;
  #out: Uint8Array[] = [];
  #isTerminating = false;

  constructor({ chunks, onMessage, splitter, stream }: FakeLineOptions) {
    this.stream = stream;
    this.#splitter = splitter;
    this.#chunks = chunks;
    this.#onMessage = onMessage;
  }

  /** The next message; undefined when the client is gone. */
  async next(): Promise<RawMessage | undefined> {
    for (;;) {
      const received = this.#splitter.next();
      if (received !== undefined) {
        this.#onMessage(received.type);
        return received;
      }
      const chunk = await this.#chunks.next();
      if (chunk.done) return undefined;
      this.#splitter.add(chunk.value);
    }
  }

  /** Has messages sent with the next flush. */
  put(...messages: readonly Uint8Array[]): void {
    this.#out.push(...messages);
  }

  /** Sends all that was put. @throws {BackendEnd} After `terminate()`. */
  async flush(): Promise<void> {
    if (this.#isTerminating) throw new BackendEnd();
    await this.speak(...this.#out.splice(0));
  }

  /** Sends something at once, before all that was put. */
  async speak(...messages: readonly Uint8Array[]): Promise<void> {
    const bytes = join(...messages);
    await this.stream.write(bytes, 0, bytes.length);
  }

  /** From now on nothing that was put is sent any more, as after a FATAL error. */
  terminate(): void {
    this.#isTerminating = true;
  }
}
