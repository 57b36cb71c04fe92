/** Asks the console of a Sluice that runs, from another process: `sluice check --diff` does. */

import { ServerAuthentication } from "../auth/server_authentication.ts";
import { KeyDerivation } from "../auth/key_derivation.ts";
import { errorText } from "../base/error_text.ts";
import type { Random } from "../base/random.ts";
import { CONSOLE_DATABASE } from "../client/client_login.ts";
import type { ByteStream } from "../net/byte_stream.ts";
import type { Network, ServerAddress, StreamOptions } from "../net/network.ts";
import { logInToServer } from "../server/server_login.ts";
import { dataRowValues } from "../wire/backend_messages.ts";
import { BodyReader } from "../wire/body_reader.ts";
import { readErrorResponse } from "../wire/error_response.ts";
import { query, terminate } from "../wire/frontend_messages.ts";
import { HEADER_BYTES, MessageCursor } from "../wire/message_cursor.ts";
import { Backend } from "../wire/message_type.ts";

/** Longest message of an answer. */
const MAX_MESSAGE_BYTES = 1_048_576;

/** Longest wait for a connection. */
const CONNECT_TIMEOUT_MS = 5_000;

const STREAM_OPTIONS: StreamOptions = {
  receiveBytes: 16_384,
  maxBusyReads: 0,
  tcp: {
    keepAlive: true,
    keepAliveIdleMs: 0,
    keepAliveIntervalMs: 0,
    keepAliveCount: 0,
    userTimeoutMs: 0,
    socketBufferBytes: 0,
    deferAcceptSeconds: 0,
  },
};

/** The console cannot be reached, lets nobody in, or answers with an error. */
export class ConsoleError extends Error {
  override readonly name = "ConsoleError";
}

/** A row of an answer; null is NULL. */
export type AnsweredRow = readonly (string | null)[];

/** A session at the console, as the user of the same name over a unix socket. */
export class ConsoleClient implements Disposable {
  readonly #stream: ByteStream;
  readonly #cursor = new MessageCursor({
    inspected: new Uint8Array(256).fill(1),
    maxInspectedBytes: MAX_MESSAGE_BYTES,
    maxMessageBytes: MAX_MESSAGE_BYTES,
  });

  private constructor(stream: ByteStream) {
    this.#stream = stream;
  }

  /** @throws {ConsoleError} If it is not let in. */
  static async open(
    address: ServerAddress,
    { network, random }: { network: Network; random: Random },
  ): Promise<ConsoleClient> {
    const where = address.kind === "unix" ? address.path : `${address.host}:${address.port}`;
    let stream: ByteStream | undefined;
    try {
      stream = await network.dial(address, { ...STREAM_OPTIONS, timeoutMs: CONNECT_TIMEOUT_MS });
      await logInToServer(stream, {
        parameters: [["user", CONSOLE_DATABASE], ["database", CONSOLE_DATABASE]],
        authentication: new ServerAuthentication({
          userName: CONSOLE_DATABASE,
          credential: undefined,
          random,
          derivation: new KeyDerivation(),
        }),
      });
      return new ConsoleClient(stream);
    } catch (error) {
      stream?.close();
      throw new ConsoleError(`Cannot ask the console at ${where}: ${errorText(error)}`, {
        cause: error,
      });
    }
  }

  /** The rows that a command answers. @throws {ConsoleError} If it answers with an error. */
  async ask(command: string): Promise<readonly AnsweredRow[]> {
    const message = query(command);
    await this.#stream.write(message, 0, message.length);
    const rows: AnsweredRow[] = [];
    let failure: string | undefined;
    for await (const chunk of this.#stream.chunks()) {
      const cursor = this.#cursor;
      cursor.feed(chunk, chunk.length);
      while (cursor.next()) {
        const body = new BodyReader(cursor.buffer, cursor.start + HEADER_BYTES, cursor.end);
        if (cursor.type === Backend.DataRow) rows.push(dataRowValues(body));
        if (cursor.type === Backend.ErrorResponse) failure = readErrorResponse(body).message;
        if (cursor.type !== Backend.ReadyForQuery) continue;
        if (failure === undefined) return rows;
        throw new ConsoleError(`${command}: ${failure}`);
      }
    }
    throw new ConsoleError(`${command}: ${failure ?? "the connection ended"}`);
  }

  /** Leaves. */
  [Symbol.dispose](): void {
    const message = terminate();
    void this.#stream.write(message, 0, message.length);
    this.#stream.close();
  }
}
