/**
 * In which ways a server is tried, and which one follows when one has come to nothing. Pure.
 *
 * With TLS or in plain text: as libpq 17 does by `sslmode`. The newest version asked for, and then
 * 3.0, which everybody understands.
 */

import type { ServerTlsUse } from "./server_tls.ts";

/** One way to try. */
export interface ConnectAttempt {
  readonly isTls: boolean;
  /** Minor version of protocol 3 to ask for. */
  readonly minor: number;
}

/** Why an attempt came to nothing, where another may not. */
export type AttemptFailure =
  /** The server answered that it has no TLS; its connection may go on without. */
  | "not_offered"
  /** The handshake failed. */
  | "handshake"
  /** The server answered the login with an error, before it let us in. */
  | "refused"
  /** It may have been the version that the server did not understand. */
  | "version";

/** All attempts, in their order. `use` is undefined where TLS is not to be used at all. */
export function connectAttempts(use: ServerTlsUse | undefined, minor: number): ConnectAttempt[] {
  const minors = minor === 0 ? [0] : [minor, 0];
  return waysOf(use).flatMap((isTls) => minors.map((minor) => ({ isTls, minor })));
}

/** Whether in TLS: first, and then. */
function waysOf(use: ServerTlsUse | undefined): readonly boolean[] {
  switch (use) {
    case undefined:
      return [false];
    case "allow":
      return [false, true];
    case "prefer":
      return [true, false];
    case "require":
      return [true];
  }
}

/** The attempt after the one at `index` that failed so; undefined if there is none. */
export function nextAttempt(
  attempts: readonly ConnectAttempt[],
  index: number,
  failure: AttemptFailure,
): number | undefined {
  const isSameWay = failure === "version";
  const next = attempts.findIndex(({ isTls }, at) =>
    at > index && (isTls === attempts[index]!.isTls) === isSameWay
  );
  return next < 0 ? undefined : next;
}
