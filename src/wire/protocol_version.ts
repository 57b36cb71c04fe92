/**
 * The versions of the protocol: 3.0 and 3.2, in which cancel keys are longer. Pure.
 * Source: PostgreSQL, "Protocol Versions"; 3.1 is no version, but PostgreSQL 18 lets who asks for it
 * have it, as one that differs from 3.0 in nothing.
 */

/** The only major version. */
export const MAJOR = 3;

/** Newest minor version that is spoken, with clients as with servers. */
export const NEWEST_MINOR = 2;

/** From this minor version on a cancel key may be longer than 8 bytes. */
const LONG_KEYS_MINOR = 2;

/** The minor version spoken with who asks for `asked`. */
export function negotiatedMinor(asked: number): number {
  return Math.min(asked, NEWEST_MINOR);
}

/** Whether the minor version has room for cancel keys of more than 8 bytes. */
export function hasLongKeys(minor: number): boolean {
  return minor >= LONG_KEYS_MINOR;
}

/** `3.2`, for the log and for messages. */
export function versionText(minor: number): string {
  return `${MAJOR}.${minor}`;
}
