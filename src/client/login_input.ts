/**
 * The receive loop of the login: whole packets, one at a time, as plain awaits; what is there already
 * is mostly given without. Not for a session that is being served: it allocates. What it gives is
 * borrowed until it is asked for more.
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
  /** The last chunk, borrowed, or what of several belongs together; read up to `#at`. */
  #held: Uint8Array = NO_BYTES;
  #at = 0;

  constructor(chunks: AsyncIterator<Uint8Array, void, void>) {
    this.#chunks = chunks;
  }

  /** Bytes received and not yet read. */
  get heldCount(): number {
    return this.#held.length - this.#at;
  }

  /** The first byte to come, left where it is; undefined at the end of the stream. */
  peek(): number | undefined | Promise<number | undefined> {
    const first = () => this.#held[this.#at];
    return this.#has(1) ? first() : this.#receive(1).then(first);
  }

  /**
   * The PROXY header to come; undefined if the stream ended before it was whole.
   * @throws {ProtocolError} If what comes is none.
   */
  async proxyHeader(): Promise<ProxyHeader | undefined> {
    for (;;) {
      const header = readProxyHeader(this.#held.subarray(this.#at));
      if (header !== undefined) {
        this.#at += header.byteCount;
        return header;
      }
      if (!await this.#receive(this.heldCount + 1)) return undefined;
    }
  }

  /**
   * The next untyped packet, length word included; undefined if the stream ended before it.
   * @throws {ProtocolError} If its length is impossible or over the limit.
   */
  startupPacket(): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    const length = startupPacketBytes(this.#held, this.#at);
    if (length === undefined || !this.#has(length)) return this.#receiveStartupPacket();
    return this.#take(length);
  }

  async #receiveStartupPacket(): Promise<Uint8Array | undefined> {
    if (!await this.#receive(4)) return undefined;
    const length = startupPacketBytes(this.#held, this.#at)!;
    return await this.#receive(length) ? this.#take(length) : undefined;
  }

  /**
   * The next typed message; undefined if the stream ended before it.
   * @throws {ProtocolError} If its length is impossible or over the limit.
   */
  async message(): Promise<LoginMessage | undefined> {
    if (!this.#has(HEADER_BYTES) && !await this.#receive(HEADER_BYTES)) return undefined;
    const type = this.#held[this.#at]!;
    const length = new BodyReader(this.#held, this.#at + 1, this.#at + HEADER_BYTES).int32();
    if (length < 4 || length > MAX_LOGIN_MESSAGE_BYTES) {
      throw new ProtocolError("bad packet header");
    }
    if (!this.#has(length + 1) && !await this.#receive(length + 1)) return undefined;
    this.#at += HEADER_BYTES;
    return { type, body: this.#take(length + 1 - HEADER_BYTES) };
  }

  /** All that was received and not read yet: it belongs to somebody else. */
  takeHeld(): Uint8Array {
    return this.#take(this.heldCount);
  }

  /** What was received beyond the login. It may be kept as long as the client: it keeps nothing else. */
  rest(): Uint8Array {
    return this.heldCount === 0 ? NO_BYTES : this.takeHeld().slice();
  }

  #has(count: number): boolean {
    return this.heldCount >= count;
  }

  /** Receives until there are so many bytes; returns whether there are. */
  async #receive(count: number): Promise<boolean> {
    while (!this.#has(count)) {
      // The chunk that this is part of goes back when the next is asked for.
      const before = this.rest();
      this.#put(before);
      const next = await this.#chunks.next();
      if (next.done) return false;
      this.#put(before.length === 0 ? next.value : joined(before, next.value));
    }
    return true;
  }

  #put(bytes: Uint8Array): void {
    this.#held = bytes;
    this.#at = 0;
  }

  #take(count: number): Uint8Array {
    this.#at += count;
    return this.#held.subarray(this.#at - count, this.#at);
  }
}

function joined(before: Uint8Array, behind: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(before.length + behind.length);
  bytes.set(before);
  bytes.set(behind, before.length);
  return bytes;
}
