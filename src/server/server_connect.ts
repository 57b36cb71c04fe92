/**
 * From an address to a server that is logged in: dials and logs in, and where the version may have
 * been what the server did not understand, does both again with 3.0, which everybody understands.
 */

import type { ServerAuthentication } from "../auth/server_authentication.ts";
import type { ByteStream } from "../net/byte_stream.ts";
import type { Network, ServerAddress, StreamOptions } from "../net/network.ts";
import { logInToServer, type ServerLoginResult, VersionRefusal } from "./server_login.ts";

/** Where to, and as whom. */
export interface ServerConnectOptions {
  readonly address: ServerAddress;
  readonly network: Network;
  readonly streamOptions: StreamOptions;
  readonly connectTimeoutMs: number;
  /** Of the StartupMessage. */
  readonly startupParameters: ReadonlyMap<string, string>;
  readonly authentication: ServerAuthentication;
  /** Minor version of protocol 3 to ask for. */
  readonly protocolMinor: number;
}

/** Who waits for the connection. */
export interface ServerConnectWaiter {
  /** Aborted when nobody waits any more. */
  readonly signal: AbortSignal;
  /** Given each connection, whose owner it is from then on. To close it ends its login. */
  readonly onDialed: (stream: ByteStream) => void;
  /** Told when the server took 3.0 after it had refused what was asked for, and in what words. */
  readonly onOldProtocol: (refusal: string) => void;
}

/**
 * Connects. Resolves with the login of the last connection given away; with undefined if it was
 * called off.
 * @throws {DialError} If no connection comes about; and what `logInToServer()` throws, but for a
 *   `VersionRefusal`.
 */
export async function connectToServer(
  options: ServerConnectOptions,
  waiter: ServerConnectWaiter,
): Promise<ServerLoginResult | undefined> {
  try {
    return await connectOnce(options, waiter);
  } catch (error) {
    if (!(error instanceof VersionRefusal)) throw error;
    if (waiter.signal.aborted) return undefined;
    const login = await connectOnce({ ...options, protocolMinor: 0 }, waiter);
    // Only now it shows that it was the version.
    if (login !== undefined) waiter.onOldProtocol(error.message);
    return login;
  }
}

async function connectOnce(
  options: ServerConnectOptions,
  { onDialed, signal }: ServerConnectWaiter,
): Promise<ServerLoginResult | undefined> {
  const { authentication, connectTimeoutMs, protocolMinor, startupParameters } = options;
  const stream = await options.network.dial(options.address, {
    ...options.streamOptions,
    timeoutMs: connectTimeoutMs,
    signal,
  });
  onDialed(stream);
  if (signal.aborted) return undefined;
  try {
    return await logInToServer(stream, {
      parameters: startupParameters,
      authentication,
      minor: protocolMinor,
    });
  } catch (error) {
    // The next attempt has a connection of its own.
    if (error instanceof VersionRefusal) stream.close();
    throw error;
  }
}
