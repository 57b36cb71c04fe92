/** The handshake of one connection, driven by the events of its socket. */

import { errorText } from "../../base/error_text.ts";
import { type TlsHandshake, TlsHandshakeError, type TlsInUse } from "../tls.ts";
import { ERRNO, type LibcCalls } from "./libc.ts";
import { type LibSsl, MAX_FEED_BYTES } from "./libssl.ts";
import type { TlsChannel } from "./tls_channel.ts";

/** What a handshake waits for: another turn, bytes, room for bytes, or nothing, since it has ended. */
export type HandshakeWait = "turn" | "bytes" | "room" | "nothing";

const NO_BYTES: Readonly<Uint8Array> = new Uint8Array(0);

/** What a handshake is made of. */
export interface HandshakeOptions {
  readonly libc: LibcCalls;
  readonly libssl: LibSsl;
  readonly channel: TlsChannel;
}

/** A handshake under way. */
export class HandshakeUnderWay {
  readonly #libc: LibcCalls;
  readonly #libssl: LibSsl;
  readonly channel: TlsChannel;
  readonly #outcome = Promise.withResolvers<TlsHandshake>();
  #result: TlsHandshake | undefined;
  #inUse: TlsInUse | undefined;
  #reason = "the connection was closed";
  /** libssl has finished; its last words may not be sent yet. */
  #isAgreed = false;

  constructor({ channel, libc, libssl }: HandshakeOptions) {
    this.#libc = libc;
    this.#libssl = libssl;
    this.channel = channel;
  }

  /** Resolves when it was settled and is done; else rejects with `TlsHandshakeError`. */
  get outcome(): Promise<TlsHandshake> {
    return this.#outcome.promise;
  }

  /** What was agreed upon, if it is done. */
  get inUse(): TlsInUse | undefined {
    return this.#inUse;
  }

  /** Begins, with what was received already. */
  begin(received: Uint8Array = NO_BYTES): HandshakeWait {
    let wait: HandshakeWait = "turn";
    let at = 0;
    do {
      const part = received.subarray(at, at + MAX_FEED_BYTES);
      if (part.length > 0) this.channel.feed(part, part.length);
      at += part.length;
      wait = this.#goOn();
    } while (at < received.length && wait === "turn");
    return at < received.length ? this.#fail("the peer sends more than a handshake") : wait;
  }

  /** One step: reads once, and does what can be done with that. */
  step(): HandshakeWait {
    const flushed = this.channel.flush();
    if (flushed < 0) return this.#waitForRoom(flushed);
    if (this.#isAgreed) return this.#succeed();
    const count = this.channel.feedFromKernel();
    if (count === -ERRNO.interrupted) return "turn";
    if (count === -ERRNO.again) return "bytes";
    if (count === 0) return this.#fail("the peer has closed the connection");
    if (count < 0) return this.#fail(errorText(this.#libc.error(count)));
    return this.#goOn();
  }

  /** Tells who waits for the outcome; one that is not done by now has failed. */
  settle(): void {
    if (this.#result !== undefined) return this.#outcome.resolve(this.#result);
    this.channel.abandon();
    this.#outcome.reject(new TlsHandshakeError(this.#reason));
  }

  #goOn(): HandshakeWait {
    const result = this.channel.handshake();
    if (result !== 1 && result !== -ERRNO.again) return this.#fail(this.channel.failure);
    this.#isAgreed = result === 1;
    const flushed = this.channel.flush();
    if (flushed < 0) return this.#waitForRoom(flushed);
    return this.#isAgreed ? this.#succeed() : "turn";
  }

  #waitForRoom(errno: number): HandshakeWait {
    if (errno === -ERRNO.again) return "room";
    return errno === -ERRNO.interrupted ? "turn" : this.#fail(errorText(this.#libc.error(errno)));
  }

  #succeed(): HandshakeWait {
    const libssl = this.#libssl;
    const { connection } = this.channel;
    const peerCertificate = libssl.peerCertificate(connection);
    this.#inUse = libssl.inUse(connection);
    this.#result = {
      ...this.#inUse,
      hasProtocol: libssl.hasProtocol(connection),
      peerCertificate,
      isPeerVerified: peerCertificate !== undefined && libssl.isVerified(connection),
    };
    return "nothing";
  }

  #fail(reason: string): HandshakeWait {
    this.#reason = reason;
    return "nothing";
  }
}
