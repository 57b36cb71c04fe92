/**
 * Who is behind a unix socket that the runtime accepted, by SO_PEERCRED (Linux).
 *
 * Deno gives no descriptor of an accepted unix connection. It is found among the process's open
 * descriptors: the one not known before that is an AF_UNIX socket, not listening, and bound to our
 * path. That is only sound synchronously after `accept()` and before the next one. When not
 * exactly one fits, the peer is unknown, and nobody is let in on the strength of a guess.
 * Source: getsockopt(2), unix(7).
 */

import type { PeerCredentials } from "../portable/portable_network.ts";
import { FAMILY, type LibcCalls } from "./libc.ts";
import { openSockets } from "./open_sockets.ts";
import { decodePath, familyOf } from "./socket_address.ts";
import { isListening, peerUid, socketCookie } from "./socket_options.ts";

/** Looks up the user behind the newest connection of a unix listener. */
export class SocketPeerCredentials implements PeerCredentials {
  readonly #libc: LibcCalls;
  /**
   * The kernel's cookies of the connections seen before and still open at the last look. Cookies,
   * since the number of a closed descriptor is given out again.
   */
  #known: ReadonlySet<bigint> = new Set();

  constructor(libc: LibcCalls) {
    this.#libc = libc;
  }

  uidOfNewest(path: string): number | undefined {
    const open = new Set<bigint>();
    const fresh: number[] = [];
    for (const { address, descriptor } of openSockets(this.#libc)) {
      if (familyOf(address) !== FAMILY.unix || decodePath(address) !== path) continue;
      const cookie = socketCookie(this.#libc, descriptor);
      if (cookie === undefined || isListening(this.#libc, descriptor)) continue;
      open.add(cookie);
      if (!this.#known.has(cookie)) fresh.push(descriptor);
    }
    this.#known = open;
    return fresh.length === 1 ? peerUid(this.#libc, fresh[0]!) : undefined;
  }
}
