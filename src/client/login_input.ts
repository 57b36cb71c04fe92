/**
 * The receive loop of the login: whole packets, one at a time, as plain awaits. Not for a session
 * that is being served: it copies and allocates.
 */

import { BodyReader } from "../wire/body_reader.ts";
import { HEADER_BYTES } from "../wire/message_cursor.ts";
import { ProtocolError } from "../wire/pg_error.ts";
import { type ProxyHeader, readProxyHeader } from "../wire/proxy_header.ts";
import { MAX_STARTUP_BYTES, startupPacketBytes } from "../wire/startup_packet.ts";

/** Longest message of a login: a password; PostgreSQL's own limit is of this order. */
const MAX_LOGIN_MESSAGE_BYTES = MAX_STARTUP_BYTES;

const NO_BYTES = new Uint8Array(0);

/** A message of the login. */
export interface LoginMessage {
  readonly type: number;
  readonly body: Uint8Array;
}

/** Reads packets from the chunks of a stream. */
export class LoginInput {
  readonly #chunks: AsyncIterator<Uint8Array, void, void>;
  #held: Uint8Array = NO_BYTES;

  constructor(chunks: AsyncIterator<Uint8Array, void, void>) {
    this.#chunks = chunks;
  }

  /** Bytes received and not yet read. */
  get heldCount(): number {
    return this.#held.length;
  }

  /** The first byte to come, left where it is; undefined at the end of the stream. */
  async peek(): Promise<number | undefined> {
    return await this.#hold(1) ? this.#held[0] : undefined;
  }

  /**
   * The PROXY header to come; undefined if the stream ended before it was whole.
   * @throws {ProtocolError} If what comes is none.
   */
  async proxyHeader(): Promise<ProxyHeader | undefined> {
    for (;;) {
      const header = readProxyHeader(this.#held);
      if (header !== undefined) {
        this.#take(header.byteCount);
        return header;
      }
      if (!await this.#hold(this.#held.length + 1)) return undefined;
    }
  }

  /**
   * The next untyped packet, length word included; undefined if the stream ended before it.
   * @throws {ProtocolError} If its length is impossible or over the limit.
   */
  async startupPacket(): Promise<Uint8Array | undefined> {
    if (!await this.#hold(4)) return undefined;
    const length = startupPacketBytes(this.#held)!;
    return await this.#hold(length) ? this.#take(length) : undefined;
  }

  /**
   * The next typed message; undefined if the stream ended before it.
   * @throws {ProtocolError} If its length is impossible or over the limit.
   */
  async message(): Promise<LoginMessage | undefined> {
    if (!await this.#hold(HEADER_BYTES)) return undefined;
    const length = new BodyReader(this.#held, 1, HEADER_BYTES).int32();
    if (length < 4 || length > MAX_LOGIN_MESSAGE_BYTES) {
      throw new ProtocolError("bad packet header");
    }
    if (!await this.#hold(length + 1)) return undefined;
    const bytes = this.#take(length + 1);
    return { type: bytes[0]!, body: bytes.subarray(HEADER_BYTES) };
  }

  /** All that was received and not read yet: it belongs to somebody else. */
  takeHeld(): Uint8Array {
    return this.#take(this.#held.length);
  }

  /** What was received beyond the login. It may be kept as long as the client: it keeps nothing else. */
  rest(): Uint8Array {
    return this.#held.length === 0 ? NO_BYTES : this.#take(this.#held.length).slice();
  }

  async #hold(count: number): Promise<boolean> {
    while (this.#held.length < count) {
      const next = await this.#chunks.next();
      if (next.done) return false;
      const joined = new Uint8Array(this.#held.length + next.value.length);
      joined.set(this.#held);
      joined.set(next.value, this.#held.length);
      this.#held = joined;
    }
    return true;
  }

  #take(count: number): Uint8Array {
    const taken = this.#held.subarray(0, count);
    this.#held = this.#held.subarray(count);
    return taken;
  }
}
