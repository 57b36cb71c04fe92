/**
 * Records of the simulated TLS: the type and the length of the real ones, and a content that is not
 * encrypted but no plain text either, so that whoever mixes the two up finds out.
 */

import { Buffer } from "node:buffer";

/** First byte of a record. A handshake begins with 0x16, as a real one does. */
export const RECORD = { handshake: 0x16, alert: 0x15, data: 0x17 } as const;

/** As many bytes as a real record holds; the last of longer writes is shorter. */
const MAX_CONTENT = 16_384;

/** Type, version and length. */
const HEAD_BYTES = 5;

/** A real record cannot be changed unnoticed, either. */
const CHECKSUM_BYTES = 1;

/** What is added to the content of a record, byte by byte. */
const MASK = 0xa5;

/** One record. */
export interface SimRecord {
  readonly type: number;
  readonly content: Uint8Array;
}

/** Records that hold the bytes, one after the other. */
export function toRecords(type: number, bytes: Uint8Array): Uint8Array {
  const records: Uint8Array[] = [];
  for (let at = 0; at === 0 || at < bytes.length; at += MAX_CONTENT) {
    const part = bytes.subarray(at, at + MAX_CONTENT);
    const content = masked(Buffer.concat([part, Uint8Array.of(checksum(part))]));
    records.push(Uint8Array.of(type, 3, 3, content.length >> 8, content.length & 0xff), content);
  }
  return Buffer.concat(records);
}

/** Finds records in what arrives, however it is cut. */
export class SimRecordReader {
  #held: Uint8Array = new Uint8Array(0);

  /** Takes bytes, and keeps a copy. */
  push(bytes: Uint8Array): void {
    this.#held = Buffer.concat([this.#held, bytes]);
  }

  /** The next record, if it is complete; `garbage` once something else has come. */
  next(): SimRecord | "garbage" | undefined {
    const [type, , , high, low] = this.#held;
    if (type === undefined) return undefined;
    if (type !== RECORD.handshake && type !== RECORD.alert && type !== RECORD.data) {
      return "garbage";
    }
    if (high === undefined || low === undefined) return undefined;
    const end = HEAD_BYTES + (high << 8 | low);
    if (end > HEAD_BYTES + MAX_CONTENT + CHECKSUM_BYTES) return "garbage";
    if (this.#held.length < end) return undefined;
    const content = masked(this.#held.subarray(HEAD_BYTES, end));
    this.#held = this.#held.subarray(end);
    const part = content.subarray(0, -CHECKSUM_BYTES);
    return content.at(-1) === checksum(part) ? { type, content: part } : "garbage";
  }
}

function checksum(bytes: Uint8Array): number {
  return bytes.reduce((sum, byte) => sum * 31 + byte & 0xff, 0);
}

function masked(bytes: Uint8Array): Uint8Array {
  return bytes.map((byte, at) => byte ^ MASK ^ (at & 0xff));
}
