/**
 * Which rows of a SHOW are wanted, and in which order: WHERE, ORDER BY and LIMIT, that much of SQL
 * and no more. Pure.
 */

import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { OID, type ShownRow, type ShownTable, type ShownValue } from "./result_set.ts";
import type { Token } from "./tokens.ts";

/** What stands behind a SHOW. */
export interface Selection {
  /** All of them have to hold. */
  readonly conditions: readonly Condition[];
  /** The first column counts most. */
  readonly order: readonly SortKey[];
  /** Most rows; undefined for all. */
  readonly limit: number | undefined;
}

/** A column compared with a text; without one, with NULL. */
export interface Condition {
  readonly column: string;
  readonly isNegated: boolean;
  readonly value: string | undefined;
}

/** A column to sort by. */
export interface SortKey {
  readonly column: string;
  readonly isDescending: boolean;
}

/** No WHERE, no ORDER BY, no LIMIT. */
export const ALL_ROWS: Selection = { conditions: [], order: [], limit: undefined };

/** Rows that are made in one go: some milliseconds of work at most. */
const STEP_ROWS = 200;

/** Rows of sorted steps that are merged in one go, which is far less work for each. */
const MERGED_ROWS = 2_000;

const NUMBER_OIDS: readonly number[] = [OID.int4, OID.int8, OID.numeric];

/** Reads the clauses, in this order; undefined if they are something else. */
export function readSelection(tokens: readonly Token[]): Selection | undefined {
  const reader = new SelectionReader(tokens);
  return reader.read();
}

/**
 * The rows that are wanted, in the order that is wanted, a few at a time. `turn` is awaited between
 * two steps, so that nothing else has to wait for a long table.
 * @throws {PgError} Of a column that there is not; at once, before the first row.
 */
export function rowsInSteps(
  table: ShownTable,
  selection: Selection,
  turn: () => Promise<void>,
): AsyncGenerator<readonly ShownRow[], void, void> {
  const tests = selection.conditions.map((condition) => testOf(table, condition));
  const keys = sortKeys(table, selection);
  const matching = matchingInSteps(table, tests, turn);
  const ordered = keys.length === 0
    ? matching
    : sortedSteps(matching, comparing(table, keys), turn);
  return selection.limit === undefined ? ordered : limitedSteps(ordered, selection.limit);
}

/** Each column once: where it comes again it decides nothing any more. */
function sortKeys(
  table: ShownTable,
  { order }: Selection,
): readonly (SortKey & { readonly at: number })[] {
  const keys = new Map<number, SortKey & { readonly at: number }>();
  for (const key of order) {
    const at = columnAt(table, key.column);
    if (!keys.has(at)) keys.set(at, { ...key, at });
  }
  return [...keys.values()];
}

async function* matchingInSteps(
  { rows }: ShownTable,
  tests: readonly ((row: ShownRow) => boolean)[],
  turn: () => Promise<void>,
): AsyncGenerator<readonly ShownRow[], void, void> {
  let step: ShownRow[] = [];
  let seenCount = 0;
  for (const row of rows) {
    if (seenCount === STEP_ROWS) {
      yield step;
      await turn();
      step = [];
      seenCount = 0;
    }
    seenCount += 1;
    if (tests.every((test) => test(row))) step.push(row);
  }
  yield step;
}

async function* sortedSteps(
  steps: AsyncIterable<readonly ShownRow[]>,
  compare: (a: ShownRow, b: ShownRow) => number,
  turn: () => Promise<void>,
): AsyncGenerator<readonly ShownRow[], void, void> {
  let runs: (readonly ShownRow[])[] = [];
  for await (const step of steps) runs.push([...step].sort(compare));
  while (runs.length > 1) runs = await mergedPairs(runs, compare, turn);
  const all = runs[0] ?? [];
  for (let at = 0; at < all.length; at += STEP_ROWS) {
    if (at > 0) await turn();
    yield all.slice(at, at + STEP_ROWS);
  }
}

/** Half as many runs, each twice as long: one pass of a merge sort. */
async function mergedPairs(
  runs: readonly (readonly ShownRow[])[],
  compare: (a: ShownRow, b: ShownRow) => number,
  turn: () => Promise<void>,
): Promise<(readonly ShownRow[])[]> {
  const merged: (readonly ShownRow[])[] = [];
  let leftCount = MERGED_ROWS;
  for (let at = 0; at < runs.length; at += 2) {
    const [a, b = []] = runs.slice(at, at + 2) as [readonly ShownRow[], (readonly ShownRow[])?];
    const run: ShownRow[] = [];
    let [i, j] = [0, 0];
    while (i < a.length || j < b.length) {
      if (leftCount-- === 0) {
        await turn();
        leftCount = MERGED_ROWS;
      }
      // Of equal ones the first stays the first.
      const isFromA = j === b.length || i < a.length && compare(a[i]!, b[j]!) <= 0;
      run.push(isFromA ? a[i++]! : b[j++]!);
    }
    merged.push(run);
  }
  return merged;
}

async function* limitedSteps(
  steps: AsyncIterable<readonly ShownRow[]>,
  limit: number,
): AsyncGenerator<readonly ShownRow[], void, void> {
  let left = limit;
  for await (const step of steps) {
    if (left === 0) return;
    yield step.slice(0, left);
    left -= Math.min(left, step.length);
  }
}

function comparing(
  { columns }: ShownTable,
  keys: readonly (SortKey & { readonly at: number })[],
): (a: ShownRow, b: ShownRow) => number {
  return (a, b) => {
    for (const { at, isDescending } of keys) {
      const isNumber = NUMBER_OIDS.includes(columns[at]!.oid);
      const difference = compareValues(a[at], b[at], isNumber);
      if (difference !== 0) return isDescending ? -difference : difference;
    }
    return 0;
  };
}

function testOf(
  table: ShownTable,
  { column, isNegated, value }: Condition,
): (row: ShownRow) => boolean {
  const at = columnAt(table, column);
  return (row) => {
    const shown = row[at];
    if (value === undefined) return (shown === undefined) !== isNegated;
    // As in SQL: of NULL nothing can be said.
    return shown !== undefined && (String(shown) === value) !== isNegated;
  };
}

function columnAt({ columns }: ShownTable, name: string): number {
  const at = columns.findIndex((column) => column.name === name);
  if (at >= 0) return at;
  throw new PgError(SQLSTATE.undefinedColumn, `column "${name}" does not exist`, {
    severity: "ERROR",
  });
}

/** NULL comes last, as PostgreSQL sorts it. */
function compareValues(a: ShownValue, b: ShownValue, isNumber: boolean): number {
  if (a === undefined || b === undefined) {
    return Number(a === undefined) - Number(b === undefined);
  }
  if (isNumber) return Number(a) - Number(b);
  const [left, right] = [String(a), String(b)];
  return left < right ? -1 : left > right ? 1 : 0;
}

/** Walks the clauses. */
class SelectionReader {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  read(): Selection | undefined {
    const conditions = this.#take("where") ? this.#list(() => this.#condition(), "and") : [];
    const order = this.#take("order") ? this.#order() : [];
    const isLimited = this.#take("limit");
    const limit = isLimited ? this.#count() : undefined;
    if (conditions === undefined || order === undefined) return undefined;
    if (isLimited && limit === undefined) return undefined;
    return this.#at === this.#tokens.length ? { conditions, order, limit } : undefined;
  }

  #order(): SortKey[] | undefined {
    return this.#take("by") ? this.#list(() => this.#sortKey(), ",") : undefined;
  }

  /** One or more; undefined if one of them is something else. */
  #list<T>(read: () => T | undefined, separator: string): T[] | undefined {
    const items: T[] = [];
    do {
      const item = read();
      if (item === undefined) return undefined;
      items.push(item);
    } while (this.#take(separator));
    return items;
  }

  #condition(): Condition | undefined {
    const column = this.#column();
    if (column === undefined) return undefined;
    if (this.#take("is")) {
      const isNegated = this.#take("not");
      return this.#take("null") ? { column, isNegated, value: undefined } : undefined;
    }
    const isNegated = this.#take("<>") || this.#take("!=");
    if (!isNegated && !this.#take("=")) return undefined;
    const value = this.#next();
    const isValue = value?.kind === "text" ||
      value?.kind === "word" && /^\d+(\.\d+)?$/.test(value.value);
    return isValue ? { column, isNegated, value: value.value } : undefined;
  }

  #sortKey(): SortKey | undefined {
    const column = this.#column();
    if (column === undefined) return undefined;
    const isDescending = this.#take("desc");
    if (!isDescending) this.#take("asc");
    return { column, isDescending };
  }

  #column(): string | undefined {
    const token = this.#next();
    if (token?.kind === "name") return token.value;
    return token?.kind === "word" ? token.value.toLowerCase() : undefined;
  }

  #count(): number | undefined {
    const token = this.#next();
    const isCount = token?.kind === "word" || token?.kind === "text";
    return isCount && /^\d{1,9}$/.test(token.value) ? Number(token.value) : undefined;
  }

  #next(): Token | undefined {
    const token = this.#tokens[this.#at];
    this.#at += 1;
    return token;
  }

  /** Whether a keyword or sign comes next, which is then behind us. */
  #take(word: string): boolean {
    const token = this.#tokens[this.#at];
    const isHere = (token?.kind === "word" || token?.kind === "sign") &&
      token.value.toLowerCase() === word;
    if (isHere) this.#at += 1;
    return isHere;
  }
}
