/**
 * From an address to a server that is logged in: dials, goes over to TLS and logs in, in one way
 * after the other as `connectAttempts()` lists them.
 */

import type { ServerAuthentication } from "../auth/server_authentication.ts";
import type { ByteStream } from "../net/byte_stream.ts";
import type { Network, ServerAddress, StreamOptions } from "../net/network.ts";
import type { TlsInUse } from "../net/tls.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import {
  type AttemptFailure,
  type ConnectAttempt,
  connectAttempts,
  nextAttempt,
} from "./connect_attempts.ts";
import {
  logInToServer,
  type ServerLoginResult,
  ServerRefusal,
  VersionRefusal,
} from "./server_login.ts";
import { type ServerTls, ServerTlsError, startServerTls, tlsFactsOf } from "./server_tls.ts";

/** Where to, and as whom. */
export interface ServerConnectOptions {
  readonly address: ServerAddress;
  readonly network: Network;
  readonly streamOptions: StreamOptions;
  readonly connectTimeoutMs: number;
  /** Undefined where there is to be none. */
  readonly tls: ServerTls | undefined;
  /** Of the StartupMessage. */
  readonly startupParameters: ReadonlyMap<string, string>;
  /** Begins an exchange: each login has its own. */
  readonly authentication: () => ServerAuthentication;
  /** Minor version of protocol 3 to ask for. */
  readonly protocolMinor: number;
}

/** Who waits for the connection. */
export interface ServerConnectWaiter {
  /** Aborted when nobody waits any more. */
  readonly signal: AbortSignal;
  /** Given each connection, whose owner it is from then on. To close it ends its login. */
  readonly onDialed: (stream: ByteStream) => void;
  /** Told when the youngest connection went over to TLS. */
  readonly onTls: (tls: TlsInUse) => void;
  /** Told that it is tried once more, with TLS or without, and why. */
  readonly onOtherWay: (isTls: boolean, why: string) => void;
  /** Told when the server took 3.0 after it had refused what was asked for, and in what words. */
  readonly onOldProtocol: (refusal: string) => void;
}

/**
 * Connects. Resolves with the login of the last connection given away; with undefined if it was
 * called off.
 * @throws {DialError} If no connection comes about.
 * @throws {ServerTlsError} If TLS is required and does not come about; and what `logInToServer()`
 *   throws, but for a `VersionRefusal`.
 */
export function connectToServer(
  options: ServerConnectOptions,
  waiter: ServerConnectWaiter,
): Promise<ServerLoginResult | undefined> {
  return new Connecting(options, waiter).run();
}

class Connecting {
  readonly #options: ServerConnectOptions;
  readonly #waiter: ServerConnectWaiter;
  readonly #attempts: readonly ConnectAttempt[];
  /** In the words of the server. */
  #versionRefusal: string | undefined;
  /** What came of the first way, once another is tried. */
  #firstError: unknown;

  constructor(options: ServerConnectOptions, waiter: ServerConnectWaiter) {
    this.#options = options;
    this.#waiter = waiter;
    this.#attempts = connectAttempts(options.tls?.use, options.protocolMinor);
  }

  async run(): Promise<ServerLoginResult | undefined> {
    let index = 0;
    let stream = await this.#dial();
    for (;;) {
      if (this.#waiter.signal.aborted) return undefined;
      try {
        return await this.#try(stream, this.#attempts[index]!);
      } catch (error) {
        const failure = failureOf(error);
        if (failure === undefined) throw error;
        if (this.#waiter.signal.aborted) return undefined;
        const next = nextAttempt(this.#attempts, index, failure);
        if (next === undefined) throw this.#moreTelling(error);
        this.#note(error, next);
        index = next;
        if (failure === "not_offered") continue;
        stream.close();
        stream = await this.#dial();
      }
    }
  }

  async #dial(): Promise<ByteStream> {
    const { address, connectTimeoutMs, network, streamOptions } = this.#options;
    const { onDialed, signal } = this.#waiter;
    const stream = await network.dial(address, {
      ...streamOptions,
      timeoutMs: connectTimeoutMs,
      signal,
    });
    onDialed(stream);
    return stream;
  }

  async #try(stream: ByteStream, { isTls, minor }: ConnectAttempt): Promise<ServerLoginResult> {
    const { startupParameters, tls } = this.#options;
    const authentication = this.#options.authentication();
    if (isTls) {
      const handshake = await startServerTls(stream, tls!);
      authentication.noteTls(tlsFactsOf(handshake));
      this.#waiter.onTls(handshake);
    }
    const login = await logInToServer(stream, {
      parameters: startupParameters,
      authentication,
      minor,
    });
    // Only now it shows that it was the version.
    if (this.#versionRefusal !== undefined) this.#waiter.onOldProtocol(this.#versionRefusal);
    return login;
  }

  #note(error: unknown, next: number): void {
    if (error instanceof VersionRefusal) {
      this.#versionRefusal = error.message;
      return;
    }
    // Whether it was the version has to show again.
    this.#versionRefusal = undefined;
    this.#firstError = error;
    // To go on without TLS where there is none is nothing out of the ordinary.
    if (!isNotOffered(error)) {
      this.#waiter.onOtherWay(this.#attempts[next]!.isTls, (error as Error).message);
    }
  }

  /**
   * Of two ways that came to nothing, what to tell: a wrong password rather than that the other way
   * is closed.
   */
  #moreTelling(error: unknown): unknown {
    const first = this.#firstError;
    if (!(first instanceof ServerRefusal)) return error;
    return isWayClosed(error) && !isWayClosed(first) ? first : error;
  }
}

/** What another attempt may mend; undefined for all else. */
function failureOf(error: unknown): AttemptFailure | undefined {
  if (error instanceof VersionRefusal) return "version";
  if (error instanceof ServerRefusal) return mayBeOfTheWay(error) ? "refused" : undefined;
  if (!(error instanceof ServerTlsError)) return undefined;
  const { failure } = error;
  return failure === "bad_answer" || failure === "broken" ? undefined : failure;
}

/** As libpq has it: a server that is not ready is so in every way. */
function mayBeOfTheWay({ error, isEarly }: ServerRefusal): boolean {
  return isEarly && error.sqlstate !== SQLSTATE.cannotConnectNow;
}

function isNotOffered(error: unknown): boolean {
  return error instanceof ServerTlsError && error.failure === "not_offered";
}

/** PostgreSQL's answer where no line of pg_hba.conf is for this way, among others. */
function isWayClosed(error: unknown): boolean {
  if (error instanceof ServerTlsError) return true;
  return error instanceof ServerRefusal &&
    error.error.sqlstate === SQLSTATE.invalidAuthorizationSpecification;
}
