/**
 * Results of SHOW: a table of columns says for each its name, its type and how its value is read
 * from whatever a row is made of. All values are sent as text.
 */

import {
  commandComplete,
  dataRow,
  type ResultColumn,
  rowDescription,
} from "../wire/backend_messages.ts";
import { MessageWriter } from "../wire/message_writer.ts";

/** What a row may hold; undefined is shown as NULL. Numbers are whole. */
export type ShownValue = string | number | undefined;

/** A column and how to fill it. */
export interface ShowColumn<Row> extends ResultColumn {
  /** The value for one row. */
  readonly read: (row: Row) => ShownValue;
}

// Type OIDs and sizes. Source: PostgreSQL, pg_type.dat.

/** A column of type text. */
export function text<Row>(name: string, read: (row: Row) => ShownValue): ShowColumn<Row> {
  return { name, oid: 25, sizeBytes: -1, read };
}

/** A column of type int4. */
export function int4<Row>(name: string, read: (row: Row) => ShownValue): ShowColumn<Row> {
  return { name, oid: 23, sizeBytes: 4, read };
}

/** A column of type numeric. */
export function numeric<Row>(name: string, read: (row: Row) => ShownValue): ShowColumn<Row> {
  return { name, oid: 1700, sizeBytes: -1, read };
}

/** What a SHOW shows. Rows are read while they are sent. */
export interface ShownTable {
  readonly columns: readonly ResultColumn[];
  readonly rows: Iterable<readonly ShownValue[]>;
}

/** A table of whatever its columns can read. */
export function table<Row>(
  columns: readonly ShowColumn<Row>[],
  rows: Iterable<Row>,
): ShownTable {
  return { columns, rows: rowValues(columns, rows) };
}

function* rowValues<Row>(
  columns: readonly ShowColumn<Row>[],
  rows: Iterable<Row>,
): Generator<ShownValue[], void, void> {
  for (const row of rows) yield columns.map(({ read }) => read(row));
}

/** Builds the whole answer of a SHOW but for the last ReadyForQuery. */
export function resultSet({ columns, rows }: ShownTable): Uint8Array {
  const writer = new MessageWriter(1024).bytes(rowDescription(columns));
  for (const row of rows) writer.bytes(dataRow(row.map(shown)));
  return writer.bytes(commandComplete("SHOW")).take();
}

function shown(value: ShownValue): string | null {
  return value === undefined ? null : String(value);
}
