/** The sockets that are open in this process, whoever opened them. */

import type { LibcCalls } from "./libc.ts";

/** Descriptors are given out lowest first, so a gap this long means there are no more. */
const MAX_DESCRIPTOR_GAP = 4_096;

/** A socket and its own address. */
export interface OpenSocket {
  readonly descriptor: number;
  readonly address: Uint8Array;
}

/** Every open socket, by descriptor. */
export function* openSockets(libc: LibcCalls): Generator<OpenSocket, void, void> {
  let gap = 0;
  for (let descriptor = 0; gap < MAX_DESCRIPTOR_GAP; descriptor++) {
    // No such descriptor and no socket are the same here.
    const address = libc.localAddress(descriptor);
    gap = address === undefined ? gap + 1 : 0;
    if (address !== undefined) yield { descriptor, address };
  }
}
