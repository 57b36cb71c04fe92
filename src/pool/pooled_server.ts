/** A server as a pool sees it. `ServerSession` has this shape; the pool does not know it. */

/**
 * The states by which a pool sorts its servers; SHOW POOLS has a column for each, but counts those
 * that recover among the tested.
 */
export type PooledServerKind =
  | "login"
  | "idle"
  | "used"
  | "tested"
  | "active"
  | "being_canceled"
  | "recovering"
  | "closed";

/** Why a server was closed, as far as it matters here. */
export interface PooledServerEnd<E> {
  readonly error: E;
  readonly kind: "refused" | "unreachable" | "elsewhere" | "served";
}

/** What a pool reads of a server's state. */
export type PooledServerState<E> =
  | { readonly kind: Exclude<PooledServerKind, "closed"> }
  | { readonly kind: "closed"; readonly end: PooledServerEnd<E> };

/** One server of a pool. */
export interface PooledServer<E> {
  readonly state: PooledServerState<E>;
  /** When it entered that; when it came to be idle, if it is used. */
  readonly enteredAtMs: number;
  /** Where it stands in the list of its state; the pool's own note. */
  place: number;
  readonly createdAtMs: number;
  /** Whether its login is on trial: nobody is to wait for it, so that it holds up no other login. */
  readonly isTrial: boolean;
  /** Where it is connected to: the same for all of one host and port. */
  readonly addressKey: string;
  /** All that the server reported at login. */
  readonly reported: ReadonlyMap<string, string>;
  /** Checks the server and brings it back as idle, or closes it. */
  check(): void;
  /** Moves it from idle to used. */
  retire(): void;
  /** Closes it. */
  discard(reason: string): void;
  /** Closes it, at once if it is free, else when it is released: what it was for has changed. */
  tag(reason: string): void;
  /** Gives up its login. */
  expireLogin(): void;
}
