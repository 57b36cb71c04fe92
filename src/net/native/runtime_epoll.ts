/**
 * Finds the epoll at which the runtime waits for its own sockets, signals and threads: it is readable
 * when there is something for the runtime to do. The runtime does not tell its descriptor, so each epoll
 * of the process is asked to watch a socket of which it is known that the runtime watches it.
 */

import { ERRNO, EVENT, type LibcCalls } from "./libc.ts";
import { descriptorOf } from "./listening_descriptor.ts";

/** The runtime opens its epoll when the process starts: among the first descriptors. */
const MAX_DESCRIPTOR = 255;

/** The descriptor, which is the runtime's to close; undefined if it cannot be told. */
export function runtimeEpoll(libc: LibcCalls, listener: Deno.Listener): number | undefined {
  const watched = descriptorOf(libc, listener);
  if (watched === undefined) return undefined;
  for (let descriptor = 0; descriptor <= MAX_DESCRIPTOR; descriptor++) {
    const result = libc.watch(descriptor, watched, { events: EVENT.edgeTriggered, token: 0 });
    if (result === -ERRNO.exists) return descriptor;
    // An epoll, but somebody else's.
    if (result === 0) libc.unwatch(descriptor, watched);
  }
  return undefined;
}
