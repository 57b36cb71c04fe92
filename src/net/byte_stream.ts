/**
 * One connection as its owner sees it. All input and output of Sluice goes through this interface;
 * nothing above `net/` knows what is below it.
 */

import type { TlsHandshake, TlsInUse, TlsStart } from "./tls.ts";

/** One end of a connection. */
export interface Endpoint {
  /** Address without port, or `unix` for a unix socket, as SHOW CLIENTS prints it. */
  readonly host: string;
  /** Port; for a unix socket the port that its name carries. */
  readonly port: number;
}

/** Answered by a sink that holds the receive loop until `resume()`, without the cost of a promise. */
export const HOLD = "hold";

/**
 * How a sink answers: with nothing when it is done with the bytes; with a promise, or with `HOLD`,
 * when the receive loop has to wait. This is the back-pressure.
 */
export type SinkAnswer = void | Promise<void> | typeof HOLD;

/**
 * Takes what was received: the first `length` bytes of `buffer`, borrowed until the sink returns,
 * its promise settles, or the loop it holds is resumed.
 */
export type Sink = (buffer: Uint8Array, length: number) => SinkAnswer;

/**
 * Whoever is going to be called, soon. When that was not done for long, its memory is far away. Of
 * several that are touched in a row before the first of them is called, the processor fetches it at
 * the same time. What the calls answer means nothing; it is an integer of 32 bits, since any other
 * would be allocated.
 */
export interface Touchable {
  /** Reads what is its own. */
  touch?(): number;
  /** Reads what it refers to, when others have been touched meanwhile. */
  touchRest?(): number;
}

/** Is shown the first `length` bytes of `buffer`, borrowed until it returns; 0 at the end. */
export type Look = (buffer: Uint8Array, length: number) => void;

/** A connection, accepted or dialed. One owner reads it; anybody linked to it may write. */
export interface ByteStream extends Touchable {
  readonly remote: Endpoint;
  readonly local: Endpoint;
  /** User ID of the process behind a unix socket, where it can be told for certain; while open. */
  readonly peerUid: number | undefined;
  readonly isUnix: boolean;
  readonly isClosed: boolean;
  /** What the bytes are protected by; undefined for plain text. */
  readonly tls: TlsInUse | undefined;
  /**
   * Why TLS ended the stream, in the words of the library, if that was it: a peer that refuses our
   * certificate in TLS 1.3 says so after the handshake.
   */
  readonly tlsFailure: string | undefined;

  /**
   * Goes over to TLS: all that is sent and received from now on. To be called once, while nobody
   * reads and no write is waited for; a `chunks()` that was begun goes on where it stopped. To close
   * the stream ends the handshake.
   * @throws {TlsHandshakeError} If it fails, or the connection ends. To be closed then.
   */
  startTls(start: TlsStart): Promise<TlsHandshake>;

  /**
   * Received chunks, each borrowed until the next one is asked for. Ends when the peer ends, when
   * the connection is lost and when it is closed here; it never throws. Leaving the loop early
   * closes nothing: another loop or `pump()` goes on where it stopped.
   */
  chunks(): AsyncIterableIterator<Uint8Array, void, void>;

  /**
   * Runs the same loop for a session that is being served. `first` is handed over before anything
   * else, if it has any bytes. Rejects only with what `sink` threw.
   * What `sink` needs may be touched before it is called.
   */
  pump(sink: Sink, first?: Uint8Array, needed?: Touchable): Promise<void>;

  /** Lets a loop go on, soon, whose sink answers or has answered `HOLD`; else does nothing. */
  resume(): void;

  /**
   * Looks ahead while a sink holds the loop, for a peer that leaves meanwhile: `onLook` is shown the
   * next chunk, or a length of 0 if the stream ends. The chunk is kept for the loop all the same.
   * Once the loop has gone on it is shown nothing.
   * Does nothing while the loop is reading, or when it is looking ahead already.
   */
  watch(onLook: Look): void;

  /**
   * Sends the bytes of `buffer` from `start` to `end`. Answers nothing when all was taken at once,
   * else a promise; the bytes are borrowed until it settles. Several writes keep their order.
   * It never rejects: with a peer that is gone the stream ends, and its reader hears of it. What was
   * taken is on its way, but does not outlive `close()` if the peer has no room for it.
   */
  write(buffer: Uint8Array, start: number, end: number): void | Promise<void>;

  /** Says that nothing more will be sent (in TLS by close_notify, too); receiving goes on. */
  finishWriting(): void;

  /** Closes at once; what was not sent is lost. May be called twice. */
  close(): void;
}
