/** How Deno says that a connection of its own is over, and passing bytes on until then. */

/** Whether an error only says that: either side has closed it. */
export function saysItIsOver(error: unknown): boolean {
  return error instanceof Deno.errors.BadResource ||
    error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.Interrupted;
}

/** Passes on what comes over each of two connections to the other one, until both are over. */
export async function passBothWays(near: Deno.TcpConn, far: Deno.TcpConn): Promise<void> {
  const ways = await Promise.allSettled([
    near.readable.pipeTo(far.writable),
    far.readable.pipeTo(near.writable),
  ]);
  for (const way of ways) {
    if (way.status === "rejected" && !saysItIsOver(way.reason)) throw way.reason;
  }
}
