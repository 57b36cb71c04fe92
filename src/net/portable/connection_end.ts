/** How the runtime says that a connection is over. */

/** Whether an error only says that the connection is over, by either side's doing. */
export function isConnectionEnd(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.ConnectionAborted ||
    error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.NotConnected ||
    error instanceof Deno.errors.Interrupted ||
    error instanceof Deno.errors.BadResource ||
    error instanceof Deno.errors.UnexpectedEof ||
    error instanceof Deno.errors.TimedOut ||
    // What has no class of its own (host or network unreachable) ends a connection just the same.
    error instanceof Error && /\(os error \d+\)/.test(error.message);
}
