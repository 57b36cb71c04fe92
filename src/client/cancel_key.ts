/**
 * The key by which a client may cancel: 8 random bytes of ours, never the server's. Laid out so
 * that several processes can tell whose a key is: sign bit clear, the process's number among its
 * peers in bytes 1 and 2, the forwards still allowed in the low bits of byte 7.
 */

import type { Random } from "../base/random.ts";

const KEY_BYTES = 8;

/** A cancel request is passed on to other processes at most this often. */
const MAX_FORWARDS = 3;

/** Makes the key of a new client. `peerId` is 0 where there are no peers. */
export function makeCancelKey(random: Random, peerId: number): Uint8Array<ArrayBuffer> {
  const key = random.bytes(KEY_BYTES);
  key[0]! &= 0x7f;
  key[1] = peerId & 0xff;
  key[2] = peerId >> 8;
  key[7]! |= MAX_FORWARDS;
  return key;
}

/** A key as the text by which clients are found; the number of forwards is no part of it. */
export function cancelKeyText(key: Uint8Array): string {
  let text = "";
  for (let at = 0; at < key.length; at++) {
    // A character a byte: nobody reads it.
    text += String.fromCharCode(at === 7 ? key[at]! | MAX_FORWARDS : key[at]!);
  }
  return text;
}
