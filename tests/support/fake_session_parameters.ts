/** The session parameters of a backend of the fake PostgreSQL, with transactions and reports. */

/** What is wrong with a value. */
export class BadParameter extends Error {
  override readonly name = "BadParameter";
  readonly sqlstate: string;

  constructor(sqlstate: string, message: string) {
    super(message);
    this.sqlstate = sqlstate;
  }
}

/** Parameters as a server that was just installed has them. */
const DEFAULTS: readonly (readonly [string, string])[] = [
  ["server_version", "18.0"],
  ["server_encoding", "UTF8"],
  ["client_encoding", "UTF8"],
  ["application_name", ""],
  ["DateStyle", "ISO, MDY"],
  ["IntervalStyle", "postgres"],
  ["TimeZone", "Etc/UTC"],
  ["integer_datetimes", "on"],
  ["in_hot_standby", "off"],
  ["is_superuser", "off"],
  ["standard_conforming_strings", "on"],
  ["default_transaction_read_only", "off"],
  ["scram_iterations", "4096"],
  ["search_path", '"$user", public'],
  ["work_mem", "4MB"],
];

/** Never reported. */
const UNREPORTED: readonly string[] = ["work_mem"];

/** Reported only since PostgreSQL 18. */
const REPORTED_SINCE_18: readonly string[] = ["search_path", "scram_iterations"];

/** Reported only since PostgreSQL 14. */
const REPORTED_SINCE_14: readonly string[] = ["in_hot_standby", "default_transaction_read_only"];

/** What no session can set. */
const FIXED: readonly string[] = [
  ...["server_version", "server_encoding", "integer_datetimes", "in_hot_standby", "is_superuser"],
];

/** The only superuser: `SET SESSION AUTHORIZATION` to it gives its rights. */
const SUPERUSER = "root";

/** What the parameters of a session are made of. */
export interface FakeSessionOptions {
  readonly user: string;
  readonly isOld: boolean;
  /** Whether it does not even report what was reported since PostgreSQL 14. */
  readonly isVeryOld?: boolean;
  /** What the server's configuration says, in place of the defaults. */
  readonly configured?: Iterable<readonly [string, string]> | undefined;
  /** Reported parameters of an extension, which only the superuser may set. */
  readonly extension?: Readonly<Record<string, string>>;
}

/** One session's parameters. */
export class FakeSessionParameters {
  readonly #unreported: ReadonlySet<string>;
  readonly #names = new Map<string, string>();
  readonly #startup: Map<string, string>;
  /** As the server's configuration has them. */
  readonly #server: Map<string, string>;
  /** What the StartupMessage has set, which goes before the server's configuration. */
  readonly #asked = new Set<string>();
  readonly #restricted: readonly string[];
  #values: Map<string, string>;
  #saved: Map<string, string> | undefined;
  /** As last reported to the client. */
  #told = new Map<string, string>();

  /**
   * `asked` is what the StartupMessage sets.
   * @throws {BadParameter} If it asks for what does not exist.
   */
  constructor(
    asked: Iterable<readonly [string, string]>,
    { configured = [], extension = {}, isOld, isVeryOld = false, user }: FakeSessionOptions,
  ) {
    this.#unreported = new Set([
      ...UNREPORTED,
      ...isOld || isVeryOld ? REPORTED_SINCE_18 : [],
      ...isVeryOld ? REPORTED_SINCE_14 : [],
    ]);
    this.#restricted = Object.keys(extension);
    this.#values = new Map([
      ...DEFAULTS,
      ...configured,
      ["session_authorization", user],
      ...Object.entries(extension),
    ]);
    for (const name of this.#values.keys()) this.#names.set(name.toLowerCase(), name);
    this.#server = new Map(this.#values);
    for (const [name, value] of asked) {
      this.set(name, value);
      this.#asked.add(this.#nameOf(name));
    }
    this.#startup = new Map(this.#values);
  }

  /** @throws {BadParameter} If there is no such parameter. */
  get(name: string): string {
    return this.#values.get(this.#nameOf(name))!;
  }

  /** @throws {BadParameter} If there is no such parameter, or it cannot be set so. */
  set(name: string, value: string): void {
    const real = this.#nameOf(name);
    this.#refuseWithoutRight(real);
    this.#values.set(real, canonical(real, value));
    if (real === "session_authorization") this.#values.set("is_superuser", onOff(value));
  }

  /** The server's configuration has changed: what the session has set for itself goes first. */
  configure(name: string, value: string): void {
    const real = this.#nameOf(name);
    this.#server.set(real, value);
    if (this.#asked.has(real)) return;
    if (this.#values.get(real) === this.#startup.get(real)) this.#values.set(real, value);
    this.#startup.set(real, value);
  }

  /** How many rows tell what the server is: none of one that is written to. */
  get roleRowCount(): number {
    if (this.#server.get("in_hot_standby") === "on") return 2;
    return this.#startup.get("default_transaction_read_only") === "on" ? 1 : 0;
  }

  /** @throws {BadParameter} If there is no such parameter, or the right to set it is missing. */
  reset(name: string): void {
    const real = this.#nameOf(name);
    this.#refuseWithoutRight(real);
    this.#values.set(real, this.#startup.get(real)!);
    if (real === "session_authorization") {
      this.#values.set("is_superuser", onOff(this.#startup.get(real)!));
    }
  }

  /** Back to what the session began with. */
  resetAll(): void {
    this.#values = new Map(this.#startup);
  }

  /** A transaction begins: what is set from now on may be taken back. */
  save(): void {
    this.#saved ??= new Map(this.#values);
  }

  /** The transaction is over. */
  settle(isCommitted: boolean): void {
    if (!isCommitted && this.#saved !== undefined) this.#values = this.#saved;
    this.#saved = undefined;
  }

  /** What has changed since the last call, of the parameters that are reported. */
  takeNews(): [name: string, value: string][] {
    const news: [string, string][] = [];
    for (const [name, value] of this.#values) {
      if (this.#unreported.has(name) || this.#told.get(name) === value) continue;
      this.#told.set(name, value);
      news.push([name, value]);
    }
    return news;
  }

  #refuseWithoutRight(name: string): void {
    if (FIXED.includes(name)) {
      throw new BadParameter("55P02", `parameter "${name}" cannot be changed`);
    }
    if (this.#restricted.includes(name) && this.#values.get("is_superuser") !== "on") {
      throw new BadParameter("42501", `permission denied to set parameter "${name}"`);
    }
  }

  #nameOf(name: string): string {
    const real = this.#names.get(name.toLowerCase());
    if (real !== undefined) return real;
    throw new BadParameter("42704", `unrecognized configuration parameter "${name}"`);
  }
}

/** The spelling in which a server keeps a value. */
function canonical(name: string, value: string): string {
  const bad = () => new BadParameter("22023", `invalid value for parameter "${name}": "${value}"`);
  switch (name) {
    case "DateStyle": {
      const match = /^(iso|german|sql|postgres)(?:, *(mdy|dmy|ymd))?$/i.exec(value);
      if (match === null) throw bad();
      const style = match[1]!.toLowerCase();
      const shown = style === "iso" || style === "sql" ? style.toUpperCase() : capital(style);
      return `${shown}, ${(match[2] ?? "mdy").toUpperCase()}`;
    }
    case "client_encoding":
      if (!/^(utf-?8|latin1|sql_ascii)$/i.test(value)) throw bad();
      return value.toUpperCase().replace("-", "");
    case "TimeZone":
      if (/^nowhere/i.test(value)) throw bad();
      return /^utc$/i.test(value) ? "UTC" : value;
    default:
      return value;
  }
}

function onOff(user: string): string {
  return user === SUPERUSER ? "on" : "off";
}

function capital(word: string): string {
  return word[0]!.toUpperCase() + word.slice(1);
}
