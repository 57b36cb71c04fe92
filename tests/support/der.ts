/** Writes DER, the binary form of ASN.1 (X.690), as far as certificates need it. */

import { Buffer } from "node:buffer";

/** Bytes of one value or several after each other. */
export type Der = Uint8Array<ArrayBuffer>;

const CONTEXT = 0xa0;

/** A value of any type: its tag, its length, and what is in it. */
export function tagged(tag: number, ...parts: readonly Uint8Array[]): Der {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head = length < 0x80
    ? [tag, length]
    : length < 0x100
    ? [tag, 0x81, length]
    : [tag, 0x82, length >> 8, length & 0xff];
  return Uint8Array.from([...head, ...content]);
}

/** SEQUENCE. */
export function sequence(...parts: readonly Uint8Array[]): Der {
  return tagged(0x30, ...parts);
}

/** SET, of one. */
export function setOf(part: Uint8Array): Der {
  return tagged(0x31, part);
}

/** `[n]`, explicit: around a whole value. */
export function explicit(n: number, ...parts: readonly Uint8Array[]): Der {
  return tagged(CONTEXT + n, ...parts);
}

/** INTEGER, not negative. */
export function integer(value: number): Der {
  const hex = value.toString(16);
  const bytes = Buffer.from(hex.padStart(hex.length + hex.length % 2, "0"), "hex");
  return bytes[0]! >= 0x80 ? tagged(0x02, Uint8Array.of(0), bytes) : tagged(0x02, bytes);
}

/** BOOLEAN, true; what is false is left out. */
export function truth(): Der {
  return tagged(0x01, Uint8Array.of(0xff));
}

/** OBJECT IDENTIFIER, as in `2.5.4.3`. */
export function objectId(dotted: string): Der {
  const [first, second, ...rest] = dotted.split(".").map(Number);
  return tagged(0x06, Uint8Array.from([first! * 40 + second!, ...rest.flatMap(base128)]));
}

function base128(value: number): number[] {
  const digits = [value & 0x7f];
  for (let rest = value >> 7; rest > 0; rest >>= 7) digits.unshift(0x80 | rest & 0x7f);
  return digits;
}

/** UTF8String. */
export function utf8String(text: string): Der {
  return tagged(0x0c, Buffer.from(text));
}

/** OCTET STRING. */
export function octets(...parts: readonly Uint8Array[]): Der {
  return tagged(0x04, ...parts);
}

/** BIT STRING of whole bytes, or of fewer bits in the last one. */
export function bits(bytes: Uint8Array, unusedBits = 0): Der {
  return tagged(0x03, Uint8Array.of(unusedBits), bytes);
}

/** UTCTime, from 1950 to 2049. */
export function utcTime(date: Date): Der {
  const digits = date.toISOString().replace(/\.\d+Z|\D/g, "").slice(2, 14);
  return tagged(0x17, Buffer.from(`${digits}Z`));
}
