/**
 * The ledger: transfers between accounts, each with an id of its own, and what their clients saw become of
 * them. At the end the database is held against it. Nothing here talks to anything.
 */

/** How many accounts there are; few enough for transfers to meet. */
export const ACCOUNT_COUNT = 500;

/** Statements that make the tables, as a superuser; `ledger` may use them. */
export const LEDGER_SCHEMA = `
  create table account (id int primary key, balance bigint not null);
  insert into account select id, 0 from generate_series(1, ${ACCOUNT_COUNT}) as id;
  -- Not unique: that a transfer is there twice is to be found, not prevented.
  create table transfer (id bigint not null, source int, target int, amount bigint);
  create table noise (line text);
  grant select, insert, update on account, transfer, noise to ledger;
`;

/** How the client means to end a transfer; `fail` has a statement that fails and then asks to commit. */
export type TransferEnd = "commit" | "rollback" | "fail";

/** One transfer. */
export interface Transfer {
  readonly id: number;
  readonly source: number;
  readonly target: number;
  readonly amount: number;
  readonly end: TransferEnd;
}

/** What a client saw of a transfer: that it is there, that it is not, or nothing that is certain. */
export type Outcome = "committed" | "rolled back" | "unknown";

/** One statement, with the row and the tag that only this client's answer can have. */
export interface Step {
  readonly sql: string;
  readonly values: readonly number[];
  readonly tag: string;
  /** The only value of the only row; undefined = no row. */
  readonly row?: string;
}

/** What of a transfer is done between BEGIN and the end of it. Locks are taken in order: no deadlocks. */
export function transferSteps({ amount, id, source, target }: Transfer): Step[] {
  const move = (account: number, by: number): Step => ({
    sql: "update account set balance = balance + $1::bigint where id = $2::int",
    values: [by, account],
    tag: "UPDATE 1",
  });
  const moves = [move(source, -amount), move(target, amount)];
  return [
    ...(source < target ? moves : moves.toReversed()),
    {
      sql: "insert into transfer values ($1::bigint, $2::int, $3::int, $4::bigint) returning id",
      values: [id, source, target, amount],
      tag: "INSERT 0 1",
      row: String(id),
    },
  ];
}

/** A statement that fails, and with it its transaction. */
export const FAILING_SQL = "select 1 / 0";

/** The statement with its numbers in their places, for the simple protocol. */
export function withLiterals({ sql, values }: Pick<Step, "sql" | "values">): string {
  return sql.replaceAll(/\$(\d+)/g, (_, place) => `(${values[Number(place) - 1]})`);
}

/** An answer that was meant for somebody else, or for nobody. */
export class ForeignAnswer extends Error {
  override readonly name = "ForeignAnswer";
}

/** What the clients saw, by the transfers' ids. */
export class LedgerBook {
  readonly #seen = new Map<number, Outcome>();
  readonly #faults: string[] = [];
  #lastId = 0;

  /** A new transfer, chosen at random, of which nothing is known yet. */
  begin(): Transfer {
    const id = ++this.#lastId;
    const source = 1 + Math.floor(Math.random() * ACCOUNT_COUNT);
    const target = 1 + (source + Math.floor(Math.random() * (ACCOUNT_COUNT - 1))) % ACCOUNT_COUNT;
    const luck = Math.random();
    this.#seen.set(id, "unknown");
    const end = luck < 0.9 ? "commit" : luck < 0.95 ? "rollback" : "fail";
    return { id, source, target, amount: 1 + Math.floor(Math.random() * 100), end };
  }

  /** Writes down what was seen of a transfer. */
  note(id: number, outcome: Outcome): void {
    this.#seen.set(id, outcome);
  }

  /** Writes down what no client may see. */
  noteFault(fault: string): void {
    this.#faults.push(fault);
  }

  /** What no client may see, and was seen. */
  get faults(): readonly string[] {
    return this.#faults;
  }

  /** By id. */
  get seen(): ReadonlyMap<number, Outcome> {
    return this.#seen;
  }

  /** How many transfers were seen to end so. */
  count(outcome: Outcome): number {
    let count = 0;
    for (const each of this.#seen.values()) if (each === outcome) count++;
    return count;
  }
}

/** What the database has at the end. */
export interface LedgerTables {
  /** Ids of the transfers that are there, as often as they are. */
  readonly ids: readonly number[];
  /** Sum of all balances. */
  readonly sum: number;
  /** Accounts whose balance is not what the transfers there make it. */
  readonly wrongAccounts: number;
  /** Rows of COPYs and transactions that nobody ended. */
  readonly noise: number;
}

/** Asks for the ids. */
export const IDS_SQL = "select id from transfer";

/** Asks for the rest of `LedgerTables`. */
export const SUMS_SQL = `
  select (select sum(balance)::text from account) as sum,
    (select count(*)::text from noise) as noise,
    (select count(*)::text from account where balance <> coalesce((
      select sum(case when account.id = target then amount else -amount end)
      from transfer where account.id in (source, target)), 0)) as wrong
`;

/** Holds the tables against what the clients saw; answers all that cannot be. */
export function judgeLedger(
  seen: ReadonlyMap<number, Outcome>,
  { ids, noise, sum, wrongAccounts }: LedgerTables,
): string[] {
  const times = new Map<number, number>();
  for (const id of ids) times.set(id, (times.get(id) ?? 0) + 1);
  const of = (isWrong: (id: number, outcome: Outcome, count: number) => boolean) =>
    [...seen].filter(([id, outcome]) => isWrong(id, outcome, times.get(id) ?? 0)).map(([id]) => id);
  const strangers = [...times.keys()].filter((id) => !seen.has(id));
  return [
    ...listed("seen committed and not there", of((_, o, n) => o === "committed" && n === 0)),
    ...listed("seen rolled back and there", of((_, o, n) => o === "rolled back" && n > 0)),
    ...listed("there more than once", of((_id, _outcome, n) => n > 1)),
    ...listed("there and of nobody", strangers),
    ...(sum === 0 ? [] : [`the sum of all balances is ${sum}, not 0`]),
    ...(wrongAccounts === 0 ? [] : [`${wrongAccounts} accounts are not what transfers made them`]),
    ...(noise === 0 ? [] : [`${noise} rows are there that nobody committed`]),
  ];
}

/** How many ids a fault names. */
const NAMED_IDS = 5;

function listed(what: string, ids: readonly number[]): string[] {
  if (ids.length === 0) return [];
  const more = ids.length > NAMED_IDS ? ", …" : "";
  return [`${ids.length} transfers ${what}: ${ids.slice(0, NAMED_IDS).join(", ")}${more}`];
}
