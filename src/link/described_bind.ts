/**
 * Whether a client is told what a result is like before it gets it, whatever it was told when it
 * prepared the statement. Pure.
 * Source: PostgreSQL, "Message Formats": Bind, Describe.
 */

import { HEADER_BYTES } from "../wire/message_cursor.ts";
import { Frontend, Target } from "../wire/message_type.ts";

const INT16_BYTES = 2;
const INT32_BYTES = 4;

/**
 * Whether the whole Bind at `start` asks for all columns in one format, and a Describe of its portal
 * is the next message before `end`. A Bind that has a format for each column relies on how many they
 * were; one that is malformed is for the server to judge.
 */
export function isDescribedBind(buffer: Uint8Array, start: number, end: number): boolean {
  const view = new DataView(buffer.buffer, buffer.byteOffset, end);
  const next = start + 1 + view.getUint32(start + 1);
  const portal = start + HEADER_BYTES;
  const statement = buffer.indexOf(0, portal) + 1;
  if (!isDescribeOf(buffer, { portal, statement, next, end })) return false;
  const formats = buffer.indexOf(0, statement) + 1;
  const at = afterValues(view, formats, next);
  return at + INT16_BYTES <= next && view.getUint16(at) <= 1;
}

/** Where the values of a Bind have ended, whose formats begin at `formats`; or beyond `end`. */
function afterValues(view: DataView, formats: number, end: number): number {
  if (formats + INT16_BYTES > end) return end;
  let at = formats + INT16_BYTES + INT16_BYTES * view.getUint16(formats);
  if (at + INT16_BYTES > end) return end;
  let count = view.getUint16(at);
  at += INT16_BYTES;
  for (; count > 0 && at + INT32_BYTES <= end; count--) {
    at += INT32_BYTES + Math.max(0, view.getInt32(at));
  }
  return count === 0 ? at : end;
}

/** Whether the message at `next` describes the portal whose name ends before `statement`. */
function isDescribeOf(
  buffer: Uint8Array,
  { portal, statement, next, end }: {
    portal: number;
    statement: number;
    next: number;
    end: number;
  },
): boolean {
  const name = next + HEADER_BYTES + 1;
  if (name + statement - portal > end) return false;
  if (buffer[next] !== Frontend.Describe || buffer[name - 1] !== Target.Portal) return false;
  for (let i = portal; i < statement; i++) {
    if (buffer[i] !== buffer[name + i - portal]) return false;
  }
  return true;
}
