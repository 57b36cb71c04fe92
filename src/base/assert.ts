/** Assertions: for what can only be our own mistake, never for what a peer sent. */

/** A broken invariant of Sluice itself. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** Throws unless `condition` holds. On in production: a wrong state must not go on serving. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Ends a `switch` over a union: the compiler complains when a case was forgotten. */
export function unreachable(value: never): never {
  throw new AssertionError(`Unexpected case: ${JSON.stringify(value)}`);
}
