/**
 * The session parameters that follow a client from server to server: what each side has, and the
 * SQL that brings a server to what the client expects. Pure.
 *
 * A value is undefined where nothing is known of it: on a server that does not report the
 * parameter, until a client sets it through us; in a client that never asked for one. There,
 * undefined stands for the server's default.
 */

import { ProtocolError } from "../wire/pg_error.ts";

/** Those that a client may ask for at startup whatever the settings say, as with PgBouncer. */
const USUAL: readonly string[] = [
  "client_encoding",
  "DateStyle",
  "TimeZone",
  "standard_conforming_strings",
  "application_name",
];

/** The others that PostgreSQL reports and that any session may set. */
const REPORTED: readonly string[] = [
  // Reported since PostgreSQL 18; before, only what was given at startup can be followed.
  "search_path",
  "IntervalStyle",
  "default_transaction_read_only",
  // There since PostgreSQL 16, reported since 18.
  "scram_iterations",
];

/** Reported, but not for a session to set, or not by SET: clients are shown them and no more. */
const ONLY_SHOWN: readonly string[] = [
  "server_version",
  "server_encoding",
  "integer_datetimes",
  "in_hot_standby",
  "is_superuser",
  "session_authorization",
];

/** Those by which a server reads what stands in a text: letters, escapes, dates, times. */
const READ_BY: readonly string[] = [
  ...["client_encoding", "standard_conforming_strings", "DateStyle", "TimeZone", "IntervalStyle"],
];

/** Names that can stand in SQL as they are; PostgreSQL lets a session set no others. */
const PLAIN_NAME = /^[a-z_][\w$]*(?:\.[a-z_][\w$]*)*$/i;

/** More than any PostgreSQL reports with all its extensions; a server must not fill the memory. */
const MAX_LEARNED_COUNT = 100;

/** What nothing is known of. */
const NOTHING: readonly undefined[] = [];

const NEVER: readonly boolean[] = [];

/**
 * Lists of quoted names: in SET a quoted text would be taken as one name, so their value has to go
 * through `set_config()`. Source: GUC_LIST_QUOTE in PostgreSQL's src/backend/utils/misc/guc_tables.c.
 */
const QUOTED_LISTS: readonly string[] = [
  "search_path",
  "temp_tablespaces",
  "local_preload_libraries",
  "session_preload_libraries",
];

/**
 * The parameters that one pooler tracks: those it knows from the start, and whatever else a server
 * turns out to report. Their indexes stay; later ones are added at the end, and a cache that is
 * older than they are knows nothing of them.
 */
export class TrackedParameters {
  /** How many were known from the start. The later ones may be such as not everybody may set. */
  readonly knownCount: number;
  readonly #names: string[] = [];
  readonly #indexes = new Map<string, number>();
  /** In lower case. */
  readonly #usual: ReadonlySet<string>;
  /** The values that a client and a server were last found to have in common. */
  shared: readonly (string | undefined)[] = NOTHING;

  /** `extra` as in `track_extra_parameters`. */
  constructor(extra: readonly string[]) {
    for (const name of [...USUAL, ...REPORTED, ...extra]) if (!isOnlyShown(name)) this.#add(name);
    this.#usual = new Set([...USUAL, ...extra].map((name) => name.toLowerCase()));
    this.knownCount = this.#names.length;
  }

  /** As PostgreSQL writes them. */
  get names(): readonly string[] {
    return this.#names;
  }

  /** Where the values of a parameter stand, or undefined if it is not tracked. Any case. */
  indexOf(name: string): number | undefined {
    return this.#indexes.get(name) ?? this.#indexes.get(name.toLowerCase());
  }

  /**
   * Whether a client may ask for it in its StartupMessage: this must not depend on what some server
   * happens to have reported before.
   */
  mayBeAsked(name: string): boolean {
    const index = this.indexOf(name);
    return index !== undefined && index < this.knownCount;
  }

  /** Whether it is followed even where `ignore_startup_parameters` names it, as PgBouncer has it. */
  isUsual(name: string): boolean {
    return this.#usual.has(name.toLowerCase());
  }

  /**
   * As `indexOf()`, for what a server reports: that is tracked from now on, unless it is only shown.
   * @throws {ProtocolError} If servers report more than any honest one would.
   */
  learn(name: string): number | undefined {
    const index = this.indexOf(name);
    if (index !== undefined || isOnlyShown(name) || !PLAIN_NAME.test(name)) return index;
    if (this.#names.length - this.knownCount >= MAX_LEARNED_COUNT) {
      throw new ProtocolError("too many parameters reported");
    }
    this.#add(name);
    return this.#names.length - 1;
  }

  #add(name: string): void {
    if (this.#indexes.has(name.toLowerCase())) return;
    this.#indexes.set(name.toLowerCase(), this.#names.length);
    // As servers and most clients spell it, so that it is found at once.
    this.#indexes.set(name, this.#names.length);
    this.#names.push(name);
  }
}

/** What has to be done on a server before a client may have it. */
export interface ParameterChange {
  readonly index: number;
  readonly name: string;
  readonly sql: string;
  /** Whether the value is, and so reads the same in any encoding. */
  readonly isAscii: boolean;
  /**
   * Why: the client has asked for it itself (`asked`); the client was told so at its login, and the
   * server was set up otherwise (`adopted`); another client has left its own (`foreign`).
   */
  readonly cause: "asked" | "adopted" | "foreign";
}

/** The values of one client or one server. */
export class ParameterCache {
  readonly #tracked: TrackedParameters;
  /**
   * Shared with every cache that was found to hold the same, so that those need not be compared
   * again; therefore never changed, but replaced. Shorter than the tracked names where nothing is
   * known of the last ones; so are all the others here.
   */
  #values: readonly (string | undefined)[] = NOTHING;
  /** Of a client: what it set itself, in place of what it found at its login. */
  #isOwn: readonly boolean[] = NEVER;
  /** Of a server: whether it reports changes of the parameter. */
  #isReported: readonly boolean[] = NEVER;
  /** Of a server: what it has when no client has changed it, as far as it reports that. */
  #defaults: readonly (string | undefined)[] = NOTHING;
  /** Of a server: what it does not let be set. */
  #isRefused: readonly boolean[] = NEVER;
  /**
   * For whom values were set last. What a server does not report another client may have changed
   * since, unseen: it counts only for the same client.
   */
  #setFor: ParameterCache | undefined;
  /**
   * Whether every value is one that the server reports, so that it counts for every client;
   * undefined where it has to be found out anew.
   */
  #isAllReported: boolean | undefined;
  /** Made of `#readingValues`. */
  #reading = "";
  #readingValues: readonly (string | undefined)[] | undefined;

  constructor(tracked: TrackedParameters) {
    this.#tracked = tracked;
  }

  /** The value of a parameter. */
  get(name: string): string | undefined {
    const index = this.#tracked.indexOf(name);
    return index === undefined ? undefined : this.#values[index];
  }

  /**
   * By what a text is read: the same SQL means the same wherever this is the same. HOT: asked for
   * every chunk.
   */
  get reading(): string {
    if (this.#readingValues !== this.#values) this.#noteReading();
    return this.#reading;
  }

  #noteReading(): void {
    this.#readingValues = this.#values;
    this.#reading = READ_BY.map((name) => this.get(name) ?? "").join("\0");
  }

  /** The client has set it: takes what is tracked. Returns whether it is. */
  set(name: string, value: string): boolean {
    const index = this.#tracked.indexOf(name);
    if (index === undefined) return false;
    this.#put(index, value);
    this.#isOwn = withAt(this.#isOwn, index, true);
    return true;
  }

  /** The client has not set it after all: it is as before. */
  takeBack(name: string, value: string): void {
    const index = this.#tracked.indexOf(name);
    if (index === undefined) return;
    this.#put(index, value);
    this.#isOwn = withAt(this.#isOwn, index, false);
  }

  /** Takes over a server's values of all that is not set. */
  adopt(reported: ReadonlyMap<string, string>): void {
    const values = this.#values.slice();
    // Not by for: that makes a pair of each name and value.
    reported.forEach((value, name) => {
      const index = this.#tracked.indexOf(name);
      if (index === undefined) return;
      while (values.length < index) values.push(undefined);
      values[index] ??= value;
    });
    this.#values = values;
    this.#isAllReported = undefined;
  }

  /**
   * Takes over what a server reported in ParameterStatus while a client had it. Returns whether it
   * is tracked.
   * @throws {ProtocolError} If servers report too many parameters.
   */
  report(name: string, value: string): boolean {
    const index = this.#tracked.learn(name);
    if (index === undefined) return false;
    this.#put(index, value);
    this.#isReported = withAt(this.#isReported, index, true);
    return true;
  }

  /** As `report()`, while no client had the server: so it was set up, or has been reset. */
  reportDefault(name: string, value: string): boolean {
    const isTracked = this.report(name, value);
    if (isTracked) this.#takeForDefault(this.#tracked.indexOf(name)!);
    return isTracked;
  }

  /** Whether a value was set through us that a server does not report. */
  get hasUnreported(): boolean {
    return this.#values.some((value, at) => value !== undefined && !this.#isReported[at]);
  }

  /** Forgets values that were set through us on a server that does not report them. */
  resetUnreported(): void {
    for (let i = 0; i < this.#values.length; i++) {
      if (!this.#isReported[i]) this.#put(i, undefined);
    }
  }

  /**
   * The SQL that takes back what a client has changed of parameters that another one may have no
   * right to set back; empty if nothing was. HOT: asked at every release.
   */
  get takingBack(): string {
    const values = this.#values;
    let sql = "";
    for (let i = this.#tracked.knownCount; i < values.length; i++) {
      if (!this.#isReported[i] || values[i] === this.#defaults[i]) continue;
      sql += `${sql === "" ? "" : ";"}RESET ${this.#tracked.names[i]}`;
    }
    return sql;
  }

  /** Whether a server with these values can serve `client` as it is. HOT: asked at every link. */
  isFitFor(client: ParameterCache): boolean {
    const mine = this.#values;
    const theirs = client.#values;
    this.#isAllReported ??= !this.hasUnreported;
    if (mine === theirs && this.#isAllReported) return true;
    let isSame = true;
    const count = Math.max(mine.length, theirs.length);
    for (let i = 0; i < count; i++) {
      if (mine[i] !== theirs[i]) {
        if (!this.#mayDiffer(i, client)) return false;
        isSame = false;
      } else if (theirs[i] !== undefined && !this.#isReported[i] && this.#setFor !== client) {
        return false;
      }
    }
    if (isSame) this.#unite(client);
    return true;
  }

  /** Has both share the values that others with the same have: so all come to share, and no more is compared. */
  #unite(client: ParameterCache): void {
    const tracked = this.#tracked;
    if (!areSame(tracked.shared, this.#values)) tracked.shared = this.#values;
    this.#values = tracked.shared;
    client.#values = tracked.shared;
  }

  /** Whether nothing has to be done, and nothing to be told, where the values differ. */
  #mayDiffer(index: number, client: ParameterCache): boolean {
    if (client.#values[index] !== undefined) {
      return !this.#isReported[index] && this.#isDispensable(index, client);
    }
    return this.#isReported[index] === true && this.#values[index] === this.#defaults[index];
  }

  /** Whether the client does without what the server has refused: it never asked for it. */
  #isDispensable(index: number, client: ParameterCache): boolean {
    return this.#isRefused[index] === true && !client.#isOwn[index] &&
      this.#values[index] === this.#defaults[index];
  }

  #put(index: number, value: string | undefined): void {
    if (this.#values[index] !== value) this.#values = withAt(this.#values, index, value);
    this.#isAllReported = undefined;
  }

  #takeForDefault(index: number): void {
    this.#defaults = withAt(this.#defaults, index, this.#values[index]);
  }

  /** What makes a server with these values fit for `client`; `client_encoding` comes first. */
  changesFor(client: ParameterCache): ParameterChange[] {
    const changes: ParameterChange[] = [];
    for (const [index, name] of this.#tracked.names.entries()) {
      const wanted = client.#values[index];
      const present = this.#values[index];
      const isReported = this.#isReported[index] === true;
      const isDefault = present === this.#defaults[index];
      if (wanted === undefined) {
        const isOver = present !== undefined && !(isReported && isDefault);
        const sql = `RESET ${name}`;
        if (isOver) changes.push({ index, name, sql, isAscii: true, cause: "foreign" });
      } else if (wanted !== present || !isReported) {
        if (this.#isDispensable(index, client)) continue;
        const cause = client.#isOwn[index] ? "asked" : isDefault ? "adopted" : "foreign";
        const isAscii = !/[\u0080-\u{10ffff}]/u.test(wanted);
        changes.push({ index, name, sql: setStatement(name, wanted), isAscii, cause });
      }
    }
    return changes;
  }

  /** A server has refused a change: the same is not tried again for who has not asked for it. */
  noteRefusal({ index }: ParameterChange): void {
    this.#isRefused = withAt(this.#isRefused, index, true);
  }

  /**
   * Settles both sides after the SQL above has run. A server that reports the parameter has told
   * its own spelling of the value (or has kept the one it had, when both mean the same): the client
   * takes it. Returns the parameters whose value the client does not know yet.
   */
  settleWith(client: ParameterCache): [name: string, value: string][] {
    const news: [string, string][] = [];
    this.#setFor = client;
    for (const [i, name] of this.#tracked.names.entries()) {
      const mine = this.#values[i];
      const theirs = client.#values[i];
      if (mine === theirs) continue;
      if (mine === undefined || !this.#isReported[i]) {
        if (!this.#isDispensable(i, client)) this.#put(i, theirs);
      } else if (theirs === undefined) {
        this.#takeForDefault(i);
      } else {
        client.#put(i, mine);
        news.push([name, mine]);
      }
    }
    return news;
  }
}

function isOnlyShown(name: string): boolean {
  return ONLY_SHOWN.includes(name.toLowerCase());
}

/** Whether values are the same; what is not there is not known. */
function areSame(
  some: readonly (string | undefined)[],
  others: readonly (string | undefined)[],
): boolean {
  const count = Math.max(some.length, others.length);
  for (let i = 0; i < count; i++) if (some[i] !== others[i]) return false;
  return true;
}

/** A copy with one entry changed; as long as that takes. */
function withAt<T>(list: readonly T[], index: number, value: T): readonly T[] {
  if (list[index] === value && index < list.length) return list;
  // Of its length from the beginning: one that grows is given room for more.
  const copy = new Array<T | undefined>(Math.max(list.length, index + 1));
  for (let i = 0; i < copy.length; i++) copy[i] = i === index ? value : list[i];
  return copy as T[];
}

function setStatement(name: string, value: string): string {
  if (QUOTED_LISTS.includes(name.toLowerCase())) {
    return `SELECT pg_catalog.set_config('${name}',${literal(value)},false)`;
  }
  return `SET ${name}=${literal(value)}`;
}

/**
 * An SQL literal that reads the same whatever standard_conforming_strings and client_encoding are
 * on the server just now: ASCII only, with escapes for all else.
 */
function literal(value: string): string {
  const quoted = value.replaceAll("'", "''");
  const escaped = quoted.replaceAll(/[\\\u0080-\u{10ffff}]/gu, escape);
  return escaped === quoted ? `'${quoted}'` : ` E'${escaped}'`;
}

function escape(character: string): string {
  if (character === "\\") return "\\\\";
  const code = character.codePointAt(0)!.toString(16);
  return code.length <= 4 ? `\\u${code.padStart(4, "0")}` : `\\U${code.padStart(8, "0")}`;
}
