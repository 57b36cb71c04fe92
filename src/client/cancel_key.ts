/**
 * The key by which a client may cancel: random bytes of ours, never the server's. Where there are
 * peers it is laid out as PgBouncer's, so that any of them can tell whose a key is: sign bit clear,
 * the process's number among its peers in bytes 1 and 2, low one first, the forwards still allowed in
 * the low bits of byte 7. A long key goes on with random bytes, so that who passes a request on needs
 * to know one layout.
 */

import type { Random } from "../base/random.ts";

/** What there is room for in protocol 3.0: a process ID and a secret, of 4 bytes each. */
const SHORT_KEY_BYTES = 8;

/**
 * Since protocol 3.2 the secret may have 4 to 256 bytes; PostgreSQL's has 32. Ours has 28, so that a
 * key is 32 bytes in all: nobody guesses those either, and both kinds of key begin alike.
 */
const LONG_KEY_BYTES = 32;

/** A cancel request is passed on to other processes at most this often. */
const MAX_FORWARDS = 3;

/** The byte whose low bits count the forwards. */
const FORWARDS_AT = 7;

/** Makes the key of a new client. `peerId` is 0 where there are no peers. */
export function makeCancelKey(
  random: Random,
  { isLong, peerId }: { readonly isLong: boolean; readonly peerId: number },
): Uint8Array<ArrayBuffer> {
  const key = random.bytes(isLong ? LONG_KEY_BYTES : SHORT_KEY_BYTES);
  key[0]! &= 0x7f;
  if (peerId === 0) return key;
  key[1] = peerId & 0xff;
  key[2] = peerId >> 8;
  key[FORWARDS_AT]! |= MAX_FORWARDS;
  return key;
}

/** The number of the process that has given a key out, if it has any. */
export function cancelKeyPeerId(key: Uint8Array): number {
  return key[1]! | key[2]! << 8;
}

/** A key as the next process is to get it: with one forward less; undefined if none is left. */
export function forwardedCancelKey(key: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  if ((key[FORWARDS_AT]! & MAX_FORWARDS) === 0) return undefined;
  const forwarded = Uint8Array.from(key);
  forwarded[FORWARDS_AT]! -= 1;
  return forwarded;
}

/** What stands in a key where PostgreSQL has the process ID, which is no secret there either. */
export function cancelKeyProcessId(key: Uint8Array): number {
  return key[0]! << 24 | key[1]! << 16 | key[2]! << 8 | key[3]!;
}

/**
 * Whether two keys are the same; the number of forwards is no part of them. Takes the same time
 * wherever they differ, so that a key cannot be found byte by byte. Its length is no secret.
 */
export function isSameCancelKey(left: Uint8Array, right: Uint8Array): boolean {
  if (left.length !== right.length) return false;
  let difference = 0;
  for (let at = 0; at < left.length; at++) {
    const compared = at === FORWARDS_AT ? ~MAX_FORWARDS : ~0;
    difference |= (left[at]! ^ right[at]!) & compared;
  }
  return difference === 0;
}
