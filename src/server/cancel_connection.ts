/**
 * The connection over which a server is asked to cancel: to the same machine, and protected as the
 * one that it concerns, since the key in it lets anybody cancel. It never falls back to plain text.
 */

import { peerIp } from "../base/ip_address.ts";
import type { Clock } from "../base/clock.ts";
import { startDeadline } from "../base/deadline.ts";
import type { ByteStream } from "../net/byte_stream.ts";
import type { Network, ServerAddress, StreamOptions } from "../net/network.ts";
import type { ServerSession } from "./server_session.ts";
import { startServerTls } from "./server_tls.ts";

/** How it is opened. */
export interface CancelConnectionOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly streamOptions: StreamOptions;
  /** Longest time for all of it, TLS included; 0: none. */
  readonly timeoutMs: number;
  /** Ends it when aborted. */
  readonly signal: AbortSignal;
}

/**
 * Opens one; the caller closes it.
 * @throws {DialError} If no connection comes about.
 * @throws {ServerTlsError} If no TLS does.
 * @throws {PgError} If the server closes the connection.
 */
export async function openCancelConnection(
  server: ServerSession,
  { clock, network, signal, streamOptions, timeoutMs }: CancelConnectionOptions,
): Promise<ByteStream> {
  const { tls } = server;
  const startedAtMs = clock.nowMs();
  const stream = await network.dial(placeOf(server), { ...streamOptions, timeoutMs, signal });
  if (tls === undefined) return stream;
  const giveUp = () => stream.close();
  const restMs = Math.max(1, timeoutMs - (clock.nowMs() - startedAtMs));
  const timer = timeoutMs > 0 ? startDeadline(clock, restMs, giveUp) : undefined;
  signal.addEventListener("abort", giveUp);
  try {
    if (signal.aborted) giveUp();
    await startServerTls(stream, tls);
    return stream;
  } catch (error) {
    stream.close();
    throw error;
  } finally {
    timer?.cancel();
    signal.removeEventListener("abort", giveUp);
  }
}

/** A name may stand for several machines, of which only this one knows the key. */
function placeOf({ address, stream }: ServerSession): ServerAddress {
  const isName = address.kind === "tcp" && peerIp(address.host) === undefined;
  return isName && stream !== undefined ? { ...address, host: stream.remote.host } : address;
}
