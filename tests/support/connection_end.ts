/** How Deno says that a connection of its own is over. */

/** Whether an error only says that: either side has closed it. */
export function saysItIsOver(error: unknown): boolean {
  return error instanceof Deno.errors.BadResource ||
    error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.Interrupted;
}
