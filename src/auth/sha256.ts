/**
 * SHA-256 and HMAC-SHA-256 of short texts, as a SCRAM login has them. Pure.
 *
 * Of our own, since the runtime's are streams, each with buffers outside the heap: to make and to
 * collect those cost a login more than the hashing of its few hundred bytes. What takes thousands of
 * rounds is left to the runtime (`key_derivation.ts`).
 *
 * Invariants: which steps are taken depends on lengths alone, never on what is hashed; nothing of it
 * is left behind.
 * Source: FIPS 180-4 sections 4.1.2, 5 and 6.2; RFC 2104.
 */

/** Bytes of a hash. */
export const HASH_BYTES = 32;

const BLOCK_BYTES = 64;
const BLOCK_WORDS = 16;
const LAST_WORD = BLOCK_WORDS - 1;

/** At the end of the last block stands the length in bits. */
const LENGTH_BYTES = 8;

/** What the key of an HMAC is combined with. */
const INNER_PAD = 0x36;
const OUTER_PAD = 0x5c;

/** Of the cube roots of the first 64 primes, what follows the point. */
const ROUND_CONSTANTS: Readonly<Int32Array> = new Int32Array([
  ...[0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4],
  ...[0xab1c_5ed5, 0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe],
  ...[0x9bdc_06a7, 0xc19b_f174, 0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f],
  ...[0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da, 0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
  ...[0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967, 0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc],
  ...[0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85, 0xa2bf_e8a1, 0xa81a_664b],
  ...[0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070, 0x19a4_c116],
  ...[0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
  ...[0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7],
  0xc671_78f2,
]);

/** Of the square roots of the first 8 primes. */
const INITIAL_STATE: Readonly<Int32Array> = new Int32Array([
  ...[0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a],
  ...[0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19],
]);

/** SHA-256 of some bytes. */
export function sha256(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Sha256().addBytes(bytes).digest();
}

/** HMAC-SHA-256; a string stands for the bytes of its characters, none of which is above U+00FF. */
export function hmac(key: Uint8Array, data: string | Uint8Array): Uint8Array<ArrayBuffer> {
  const short = key.length > BLOCK_BYTES ? sha256(key) : key;
  const hasher = new Sha256().addPadded(short, INNER_PAD);
  const inner = (typeof data === "string" ? hasher.addText(data) : hasher.addBytes(data)).digest();
  return hasher.addPadded(short, OUTER_PAD).addBytes(inner).digest();
}

/** One hash after the other. */
class Sha256 {
  readonly #state = new Int32Array(INITIAL_STATE);
  /** Words of the block that is being filled, in network order; what is not filled yet is 0. */
  readonly #block = new Int32Array(BLOCK_WORDS);
  #length = 0;

  addBytes(bytes: Uint8Array): this {
    for (let i = 0; i < bytes.length; i++) this.#add(bytes[i]!);
    return this;
  }

  addText(text: string): this {
    for (let i = 0; i < text.length; i++) this.#add(text.charCodeAt(i) & 0xff);
    return this;
  }

  /** Adds a block of its own, as the first: the key of an HMAC, combined with `pad`. */
  addPadded(key: Uint8Array, pad: number): this {
    const words = this.#block;
    words.fill(pad << 24 | pad << 16 | pad << 8 | pad);
    for (let i = 0; i < key.length; i++) words[i >> 2]! ^= key[i]! << shiftOf(i);
    this.#length += BLOCK_BYTES;
    this.#compress();
    return this;
  }

  /** The hash of what was added; another may be begun. */
  digest(): Uint8Array<ArrayBuffer> {
    const length = this.#length;
    this.#add(0x80);
    // No room for the length: it goes into a block of its own.
    if (this.#length % BLOCK_BYTES > BLOCK_BYTES - LENGTH_BYTES) this.#compress();
    this.#block[BLOCK_WORDS - 2] = Math.floor(length / 2 ** 29);
    this.#block[LAST_WORD] = length << 3;
    this.#compress();
    const hash = new Uint8Array(HASH_BYTES);
    for (let at = 0; at < HASH_BYTES; at++) hash[at] = this.#state[at >> 2]! >> shiftOf(at);
    this.#state.set(INITIAL_STATE);
    this.#length = 0;
    return hash;
  }

  #add(byte: number): void {
    const at = this.#length % BLOCK_BYTES;
    this.#block[at >> 2]! |= byte << shiftOf(at);
    this.#length += 1;
    if (at === BLOCK_BYTES - 1) this.#compress();
  }

  /** Takes the block in, and empties it. The letters are those of the standard. */
  #compress(): void {
    const state = this.#state;
    const words = this.#block;
    let a = state[0]!;
    let b = state[1]!;
    let c = state[2]!;
    let d = state[3]!;
    let e = state[4]!;
    let f = state[5]!;
    let g = state[6]!;
    let h = state[7]!;
    for (let t = 0; t < ROUND_CONSTANTS.length; t++) {
      if (t >= BLOCK_WORDS) extend(words, t);
      const choice = (e & f) ^ (~e & g);
      const majority = (a & b) ^ (a & c) ^ (b & c);
      const first = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + choice +
          ROUND_CONSTANTS[t]! + words[t & LAST_WORD]! | 0;
      const second = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + majority | 0;
      h = g;
      g = f;
      f = e;
      e = d + first | 0;
      d = c;
      c = b;
      b = a;
      a = first + second | 0;
    }
    state[0]! += a;
    state[1]! += b;
    state[2]! += c;
    state[3]! += d;
    state[4]! += e;
    state[5]! += f;
    state[6]! += g;
    state[7]! += h;
    words.fill(0);
  }
}

/** Puts word `t` of the message schedule where the one of 16 rounds before was. */
function extend(words: Int32Array, t: number): void {
  const early = words[t + 1 & LAST_WORD]!;
  const late = words[t + 14 & LAST_WORD]!;
  words[t & LAST_WORD]! += (rotate(early, 7) ^ rotate(early, 18) ^ (early >>> 3)) +
    words[t + 9 & LAST_WORD]! + (rotate(late, 17) ^ rotate(late, 19) ^ (late >>> 10));
}

function rotate(word: number, count: number): number {
  return word >>> count | word << 32 - count;
}

/** How far left a byte of a block stands in its word. */
function shiftOf(at: number): number {
  return 24 - 8 * (at & 3);
}
