/**
 * Reads DER, the encoding of certificates, element by element. Pure.
 * Source: ITU-T X.690.
 */

/** The bytes are no certificate in DER. */
export class CertificateError extends Error {
  override readonly name = "CertificateError";
}

/** The types of elements that certificates are read by. */
export const Tag = {
  bitString: 0x03,
  integer: 0x02,
  oid: 0x06,
  sequence: 0x30,
  set: 0x31,
  first: 0xa0,
} as const;

/** A length of more bytes than this is of no certificate. */
const MAX_LENGTH_BYTES = 4;

/** Walks the elements of one level of DER. @throws {CertificateError} Where the bytes are none. */
export class DerReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Whether an element of this kind is next. */
  has(tag: number): boolean {
    return this.#bytes[this.#at] === tag;
  }

  /** Goes past the next element, which must be of this kind, and answers what is in it. */
  take(tag: number): DerReader {
    return new DerReader(this.#content(tag));
  }

  /** The next element, which must be an object identifier: `1.2.840…`. */
  takeOid(): string {
    return oidText(this.#content(Tag.oid));
  }

  /** Type and content of whatever is next; undefined at the end. */
  takeAny(): { readonly tag: number; readonly content: Uint8Array } | undefined {
    const tag = this.#bytes[this.#at];
    return tag === undefined ? undefined : { tag, content: this.#content(tag) };
  }

  /** All that is left of this level, as it is. */
  rest(): Uint8Array {
    return this.#bytes.subarray(this.#at);
  }

  /** Nothing may be left. */
  expectEnd(): void {
    if (this.#at !== this.#bytes.length) throw broken("bytes too many");
  }

  #content(tag: number): Uint8Array {
    if (!this.has(tag)) throw broken(`expected an element of type ${tag}`);
    this.#at += 1;
    const length = this.#length();
    const start = this.#at;
    if (length > this.#bytes.length - start) throw broken("cut short");
    this.#at += length;
    return this.#bytes.subarray(start, this.#at);
  }

  /** Short form, or the number of bytes and then those. */
  #length(): number {
    const first = this.#byte();
    if (first < 0x80) return first;
    const count = first - 0x80;
    if (count === 0 || count > MAX_LENGTH_BYTES) throw broken("a length that is not DER");
    let length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + this.#byte();
    return length;
  }

  #byte(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw broken("cut short");
    this.#at += 1;
    return byte;
  }
}

/** Seven bits a byte, the last byte of a number without the eighth; the first number is two. */
function oidText(bytes: Uint8Array): string {
  const numbers: number[] = [];
  let number = 0;
  for (const byte of bytes) {
    number = number * 128 + (byte & 0x7f);
    if (number > Number.MAX_SAFE_INTEGER / 128) throw broken("an identifier that is too long");
    if (byte >= 0x80) continue;
    numbers.push(number);
    number = 0;
  }
  const [first, ...rest] = numbers;
  if (first === undefined || bytes.at(-1)! >= 0x80) throw broken("an identifier that is cut short");
  const root = Math.min(Math.floor(first / 40), 2);
  return [root, first - root * 40, ...rest].join(".");
}

function broken(what: string): CertificateError {
  return new CertificateError(`not a certificate in DER: ${what}`);
}
