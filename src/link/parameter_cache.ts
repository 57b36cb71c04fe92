/**
 * The session parameters that follow a client from server to server: what each side has, and the
 * SQL that brings a server to what the client expects. Pure.
 *
 * A value is undefined where nothing is known of it: on a server that does not report the
 * parameter, until a client sets it through us; in a client that never asked for one. There,
 * undefined stands for the server's default.
 */

/** Those every server reports and every client may set at startup. */
const ALWAYS_TRACKED = [
  "client_encoding",
  "DateStyle",
  "TimeZone",
  "standard_conforming_strings",
  "application_name",
  // Reported since PostgreSQL 18; before, only what was given at startup can be followed.
  "search_path",
] as const;

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

/** The parameters that one pooler tracks, fixed while it runs. */
export class TrackedParameters {
  /** As PostgreSQL writes them. */
  readonly names: readonly string[];
  readonly #indexes: ReadonlyMap<string, number>;

  /** `extra` as in `track_extra_parameters`. */
  constructor(extra: readonly string[]) {
    const names: string[] = [];
    const indexes = new Map<string, number>();
    for (const name of [...ALWAYS_TRACKED, ...extra]) {
      if (indexes.has(name.toLowerCase())) continue;
      indexes.set(name.toLowerCase(), names.length);
      // As servers and most clients spell it, so that it is found at once.
      indexes.set(name, names.length);
      names.push(name);
    }
    this.names = names;
    this.#indexes = indexes;
  }

  /** Where the values of a parameter stand, or undefined if it is not tracked. Any case. */
  indexOf(name: string): number | undefined {
    return this.#indexes.get(name) ?? this.#indexes.get(name.toLowerCase());
  }
}

/** The values of one client or one server. */
export class ParameterCache {
  readonly #tracked: TrackedParameters;
  /**
   * Shared with every cache that was found to hold the same, so that those need not be compared
   * again; therefore never changed, but replaced.
   */
  #values: readonly (string | undefined)[];
  /** Whether the server reports changes of the parameter. */
  readonly #isReported: boolean[];
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

  constructor(tracked: TrackedParameters) {
    this.#tracked = tracked;
    this.#values = tracked.names.map(() => undefined);
    this.#isReported = tracked.names.map(() => false);
  }

  /** The value of a parameter. */
  get(name: string): string | undefined {
    const index = this.#tracked.indexOf(name);
    return index === undefined ? undefined : this.#values[index];
  }

  /** Sets what is tracked. Returns whether it is. */
  set(name: string, value: string): boolean {
    const index = this.#tracked.indexOf(name);
    if (index !== undefined) this.#put(index, value);
    return index !== undefined;
  }

  /** Takes over a server's values of all that is not set. */
  adopt(reported: ReadonlyMap<string, string>): void {
    const values = [...this.#values];
    for (const [name, value] of reported) {
      const index = this.#tracked.indexOf(name);
      if (index !== undefined) values[index] ??= value;
    }
    this.#values = values;
    this.#isAllReported = undefined;
  }

  /** Takes over what a server reported in ParameterStatus. Returns whether it is tracked. */
  report(name: string, value: string): boolean {
    const index = this.#tracked.indexOf(name);
    if (index === undefined) return false;
    this.#put(index, value);
    this.#isReported[index] = true;
    this.#isAllReported = undefined;
    return true;
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

  /** Whether a server with these values can serve `client` as it is. HOT: asked at every link. */
  isFitFor(client: ParameterCache): boolean {
    const mine = this.#values;
    const theirs = client.#values;
    this.#isAllReported ??= !this.hasUnreported;
    if (mine === theirs && this.#isAllReported) return true;
    let isSame = true;
    for (let i = 0; i < mine.length; i++) {
      if (mine[i] !== theirs[i]) {
        if (theirs[i] !== undefined || !this.#isReported[i]) return false;
        isSame = false;
      } else if (theirs[i] !== undefined && !this.#isReported[i] && this.#setFor !== client) {
        return false;
      }
    }
    if (isSame) client.#values = mine;
    return true;
  }

  #put(index: number, value: string | undefined): void {
    if (this.#values[index] !== value) this.#values = this.#values.with(index, value);
    this.#isAllReported = undefined;
  }

  /** The SQL that makes a server with these values fit for `client`. */
  statementsFor(client: ParameterCache): string {
    const statements: string[] = [];
    for (const [i, name] of this.#tracked.names.entries()) {
      const wanted = client.#values[i];
      if (wanted === undefined) {
        const isOver = this.#values[i] !== undefined && !this.#isReported[i];
        if (isOver) statements.push(`RESET ${name}`);
      } else if (wanted !== this.#values[i] || !this.#isReported[i]) {
        statements.push(setStatement(name, wanted));
      }
    }
    return statements.join(";");
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
      if (mine === client.#values[i]) continue;
      if (mine === undefined || !this.#isReported[i]) {
        this.#put(i, client.#values[i]);
      } else if (client.#values[i] !== undefined) {
        client.#put(i, mine);
        news.push([name, mine]);
      }
    }
    return news;
  }
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
