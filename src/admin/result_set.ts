/**
 * Results of SHOW: a table of columns says for each its name, its type and how its value is read
 * from whatever a row is made of.
 */

import { dataRow, type ResultColumn } from "../wire/backend_messages.ts";

/** Type OIDs. Source: PostgreSQL, pg_type.dat; also for the sizes below. */
export const OID = {
  unknown: 0,
  int8: 20,
  int2: 21,
  int4: 23,
  text: 25,
  numeric: 1700,
  varchar: 1043,
} as const;

/** What a row may hold; undefined is shown as NULL. Numbers are whole. */
export type ShownValue = string | number | undefined;

/** The values of one row, in the order of the columns. */
export type ShownRow = readonly ShownValue[];

/** A column and how to fill it. */
export interface ShowColumn<Row> extends ResultColumn {
  /** The value for one row. */
  readonly read: (row: Row) => ShownValue;
}

/** A column of type text. */
export function text<Row>(name: string, read: (row: Row) => ShownValue): ShowColumn<Row> {
  return { name, oid: OID.text, sizeBytes: -1, read };
}

/** A column of type int4. */
export function int4<Row>(name: string, read: (row: Row) => ShownValue): ShowColumn<Row> {
  return { name, oid: OID.int4, sizeBytes: 4, read };
}

/** A column of type int8. */
export function int8<Row>(name: string, read: (row: Row) => ShownValue): ShowColumn<Row> {
  return { name, oid: OID.int8, sizeBytes: 8, read };
}

/** A column of type numeric. */
export function numeric<Row>(name: string, read: (row: Row) => ShownValue): ShowColumn<Row> {
  return { name, oid: OID.numeric, sizeBytes: -1, read };
}

/** What a SHOW shows. Rows are read while they are sent. */
export interface ShownTable {
  readonly columns: readonly ResultColumn[];
  readonly rows: Iterable<ShownRow>;
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

/** A row as it is sent, in text. */
export function textRow(row: ShownRow): Uint8Array {
  return dataRow(row.map((value) => value === undefined ? null : String(value)));
}
