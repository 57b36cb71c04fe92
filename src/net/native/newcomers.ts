/**
 * Turning newcomers away from a listening TCP socket whose port others listen on, too.
 *
 * The kernel deals connections out among all listeners of a port, and resets those that a listener
 * has not accepted when it closes. There is no word for "no more", but there is one for "nothing that
 * has come through a router", and what a machine sends is counted down from 64 or 128, not from the
 * 255 that this asks for. So the first packet of a newcomer is dropped: it is sent again after a
 * second, and then comes to one of the listeners that are left. A filter by SO_ATTACH_FILTER would do
 * the same, where an ordinary user may set one.
 * Source: ip(7), IP_MINTTL; ipv6(7); RFC 5082.
 */

import type { LibcCalls } from "./libc.ts";
import { setMinHops } from "./socket_options.ts";

const MOST_HOPS = 255;

/** Turns newcomers away from a socket. Returns whether the kernel does so. */
export function turnAwayNewcomers(libc: LibcCalls, descriptor: number): boolean {
  return setMinHops(libc, descriptor, MOST_HOPS);
}

/** For a connection that was accepted all the same: it has inherited that. */
export function hearOut(libc: LibcCalls, descriptor: number): void {
  setMinHops(libc, descriptor, 0);
}
