/**
 * Finds the descriptor of a listener that the runtime opened, since it does not tell: the listening
 * sockets are counted before and after, and the new one at the right address is it.
 */

import { FAMILY, type LibcCalls } from "./libc.ts";
import { type OpenSocket, openSockets } from "./open_sockets.ts";
import { decodeEndpoint, decodePath, familyOf } from "./socket_address.ts";
import { isListening, socketCookie, waitingCount } from "./socket_options.ts";

/** A listener's descriptor cannot be told. */
export class DescriptorError extends Error {
  override readonly name = "DescriptorError";
}

/** Whatever has a listener of the runtime's. */
export interface OpenedSocket extends Disposable {
  readonly listener: Deno.Listener;
}

/**
 * Has a TCP listener that is about to be closed listen no more, if nobody waits to be accepted; tells
 * whether, or undefined if that cannot be told. The runtime closes a socket it accepts from in its
 * next turn only: who connects until then would be reset. Where several listen on one port in this
 * process it is left to the runtime all the same, since the descriptor cannot be told.
 */
export function finishIfNobodyWaits(
  libc: LibcCalls,
  listener: Deno.Listener,
): boolean | undefined {
  const sockets = socketsOf(libc, listener);
  const count = waitingCountAt(libc, sockets);
  // Nothing in between: whoever connected there would be lost.
  if (count === 0 && sockets.length === 1) libc.finishListening(sockets[0]!.descriptor);
  return count === undefined ? undefined : count === 0;
}

function waitingCountAt(libc: LibcCalls, sockets: readonly OpenSocket[]): number | undefined {
  const counts = sockets.map(({ descriptor }) => waitingCount(libc, descriptor));
  return counts.reduce((sum, count) => {
    return sum === undefined || count === undefined ? undefined : sum + count;
  }, 0);
}

/**
 * The descriptor of a listener, which goes on belonging to it, or of another one at the same address;
 * undefined if there is none. The search ends with it, since at the start of a process each look counts.
 */
export function descriptorOf(libc: LibcCalls, { addr }: Deno.Listener): number | undefined {
  for (const { address, descriptor } of openSockets(libc)) {
    if (isListening(libc, descriptor) && isAddress(address, addr)) return descriptor;
  }
  return undefined;
}

function socketsOf(libc: LibcCalls, { addr }: Deno.Listener): OpenSocket[] {
  return listeningSockets(libc).filter(({ address }) => isAddress(address, addr));
}

/**
 * Opens a listener and finds its descriptor, which goes on belonging to the listener.
 * @throws {DescriptorError} If not exactly one descriptor fits; the listener is closed.
 */
export async function openWithDescriptor<Opened extends OpenedSocket>(
  libc: LibcCalls,
  open: () => Promise<Opened>,
): Promise<{ opened: Opened; descriptor: number }> {
  // By the kernel's own numbers: that of a descriptor closed meanwhile is given out again.
  const before = new Set(listeningSockets(libc).map((socket) => cookieOf(libc, socket)));
  const opened = await open();
  const fresh = listeningSockets(libc).filter((socket) =>
    !before.has(cookieOf(libc, socket)) && isAddress(socket.address, opened.listener.addr)
  );
  if (fresh.length === 1) return { opened, descriptor: fresh[0]!.descriptor };
  opened[Symbol.dispose]();
  throw new DescriptorError(
    `the listener's descriptor cannot be told (${fresh.length} descriptors fit)`,
  );
}

function cookieOf(libc: LibcCalls, { descriptor }: OpenSocket): bigint | undefined {
  return socketCookie(libc, descriptor);
}

function listeningSockets(libc: LibcCalls): OpenSocket[] {
  return [...openSockets(libc)].filter(({ descriptor }) => isListening(libc, descriptor));
}

function isAddress(bound: Uint8Array, address: Deno.Addr): boolean {
  if (address.transport === "unix") {
    return familyOf(bound) === FAMILY.unix && decodePath(bound) === address.path;
  }
  if (address.transport !== "tcp") return false;
  const { host, port } = decodeEndpoint(bound, 0);
  return port === address.port && host === address.hostname.replace(/^::ffff:(?=\d+\.)/, "");
}
