/** Reads what the console sends. */

import { type ShownTable, textRow } from "../../../src/admin/result_set.ts";
import { rowDescription } from "../../../src/wire/backend_messages.ts";
import {
  backend,
  join,
  MessageSplitter,
  type RawMessage,
  readCstrings,
  readValues,
  textOf,
} from "../../support/messages.ts";

/** Whole messages; asserts by the splitter's count that nothing is left over. */
export function messagesIn(bytes: Uint8Array): RawMessage[] {
  const splitter = new MessageSplitter();
  splitter.add(bytes);
  const messages: RawMessage[] = [];
  for (let next = splitter.next(); next !== undefined; next = splitter.next()) messages.push(next);
  if (splitter.heldCount > 0) throw new Error(`${splitter.heldCount} bytes are left over`);
  return messages;
}

/** A table as it is sent. */
export function bytesOf({ columns, rows }: ShownTable): Uint8Array {
  return join(rowDescription(columns), ...[...rows].map(textRow), backend.complete("SHOW"));
}

/** The answer to a SHOW, read. */
export interface ReadResult {
  /** `name:oid:size` of each column. */
  readonly columns: readonly string[];
  readonly rows: readonly Readonly<Record<string, string | null>>[];
  readonly tag: string;
}

/** Reads RowDescription, rows and CommandComplete, of a table as it is sent. */
export function readResult(shown: ShownTable | Uint8Array): ReadResult {
  const bytes = shown instanceof Uint8Array ? shown : bytesOf(shown);
  const [description, ...rest] = messagesIn(bytes);
  const complete = rest.pop();
  if (description?.type !== "T" || complete?.type !== "C") throw new Error("This is no result");
  const columns = readColumns(description.body);
  const names = columns.map((column) => column.split(":")[0]!);
  const rows = rest.map(({ body }) => {
    const values = readValues(body);
    return Object.fromEntries(names.map((name, i) => [name, values[i] ?? null]));
  });
  return { columns, rows, tag: readCstrings(complete.body)[0]! };
}

function readColumns(body: Uint8Array): string[] {
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const columns: string[] = [];
  let at = 2;
  for (let count = view.getInt16(0); count > 0; count--) {
    const zero = body.indexOf(0, at);
    const name = textOf(body.subarray(at, zero));
    // After the name: table 4, column 2, type 4, size 2, modifier 4, format 2.
    columns.push(`${name}:${view.getInt32(zero + 7)}:${view.getInt16(zero + 11)}`);
    at = zero + 19;
  }
  return columns;
}
