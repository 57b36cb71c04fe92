/** What a StartupMessage asks for, judged against what is supported. Pure. */

import { ParameterCache, type TrackedParameters } from "../link/parameter_cache.ts";
import type { Endpoint } from "../net/byte_stream.ts";
import { PgError } from "../wire/pg_error.ts";
import { readReplication, type Replication } from "../wire/replication.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { readStartupOptions } from "../wire/startup_options.ts";

/** Longest name of a user or a database, in characters; PgBouncer's limit. */
const MAX_NAME_LENGTH = 127;

/** Prefix of protocol options, which are negotiated rather than refused. */
const PROTOCOL_OPTION_PREFIX = "_pq_.";

/** Parameters that say who asks for what, and are not the session's. */
const ADDRESS: readonly string[] = ["user", "database"];

/** Longest application_name; PostgreSQL's (`NAMEDATALEN - 1`), which cuts off what is beyond. */
const MAX_APPLICATION_NAME_BYTES = 63;

/** Stands for the name of a client that has none; PgBouncer's. */
const NAMELESS = "app";

const NOTHING: ReadonlyMap<string, string> = new Map();

/** What a client wants to be. */
export interface ClientIntent {
  readonly user: string;
  readonly database: string;
  /** The session parameters it asks for. */
  readonly parameters: ParameterCache;
  /** Protocol options that are not known. */
  readonly protocolOptions: readonly string[];
  readonly replication: Replication;
  /** With replication: all that the client's own server is given at login, as it was sent. */
  readonly passed: ReadonlyMap<string, string>;
}

/** What may be asked for. */
export interface StartupRules {
  readonly tracked: TrackedParameters;
  /** Names to be dropped without a word (`ignore_startup_parameters`). */
  readonly ignored: readonly string[];
}

/**
 * Reads the parameters of a StartupMessage. For replication all are taken: the server is the
 * client's own, and judges them itself.
 * @throws {PgError} If something is asked for that is not supported.
 */
export function readIntent(
  startup: ReadonlyMap<string, string>,
  rules: StartupRules,
): ClientIntent {
  const user = startup.get("user") ?? "";
  if (user === "") {
    throw new PgError(SQLSTATE.invalidAuthorizationSpecification, "no username supplied");
  }
  const database = startup.get("database") || user;
  if (user.length > MAX_NAME_LENGTH) {
    throw new PgError(SQLSTATE.invalidAuthorizationSpecification, "username too long");
  }
  if (database.length > MAX_NAME_LENGTH) {
    throw new PgError(SQLSTATE.invalidCatalogName, "database name too long");
  }
  const replication = readReplication(startup.get("replication"));
  const reader = new ParameterReader(rules, replication !== "none");
  for (const [name, value] of startup) reader.read(name, value);
  const { parameters, passed, protocolOptions } = reader;
  return { user, database, parameters, protocolOptions, replication, passed };
}

/**
 * The `application_name` of a client with its address appended (`application_name_add_host`):
 * `psql - 10.0.0.7:53412`, `app - unix:6432`. As long as PostgreSQL keeps it: what is cut is the
 * name, since the address is what is asked for. What is not printable ASCII is written as
 * PostgreSQL would (`\xc3\xa9`, since 16), or it would come to more than fits after all.
 */
export function nameWithHost(name: string | undefined, { host, port }: Endpoint): string {
  const suffix = ` - ${host.includes(":") ? `[${host}]` : host}:${port}`;
  let shown = "";
  for (const byte of new TextEncoder().encode(name || NAMELESS)) {
    const next = byte < 0x20 || byte > 0x7e
      ? `\\x${byte.toString(16).padStart(2, "0")}`
      : String.fromCharCode(byte);
    if (shown.length + next.length + suffix.length > MAX_APPLICATION_NAME_BYTES) break;
    shown += next;
  }
  return shown + suffix;
}

class ParameterReader {
  readonly parameters: ParameterCache;
  readonly protocolOptions: string[] = [];
  /** There if something is passed on, as in few logins. */
  #passed: Map<string, string> | undefined;
  readonly #rules: StartupRules;
  readonly #isPassing: boolean;

  constructor(rules: StartupRules, isPassing: boolean) {
    this.#rules = rules;
    this.#isPassing = isPassing;
    this.parameters = new ParameterCache(rules.tracked);
  }

  get passed(): ReadonlyMap<string, string> {
    return this.#passed ?? NOTHING;
  }

  read(name: string, value: string): void {
    if (ADDRESS.includes(name)) return;
    if (name.startsWith(PROTOCOL_OPTION_PREFIX)) this.protocolOptions.push(name);
    else if (this.#isPassing) this.#pass(name, value);
    else if (name === "options") this.#readOptions(value);
    else if (name !== "replication") {
      this.#readOther(name, value, "unsupported startup parameter");
    }
  }

  #pass(name: string, value: string): void {
    this.#passed ??= new Map();
    this.#passed.set(name, value);
    this.parameters.set(name, value);
  }

  #readOptions(options: string): void {
    if (this.#isIgnored("options")) return;
    for (const [name, value] of readStartupOptions(options)) {
      this.#readOther(name, value, "unsupported startup parameter in options");
    }
  }

  #readOther(name: string, value: string, complaint: string): void {
    const { tracked } = this.#rules;
    if (this.#isIgnored(name) && !tracked.isUsual(name)) return;
    if (!tracked.mayBeAsked(name)) {
      throw new PgError(SQLSTATE.undefinedObject, `${complaint}: ${name}`);
    }
    this.parameters.set(name, value);
  }

  #isIgnored(name: string): boolean {
    return this.#rules.ignored.some((ignored) => ignored.toLowerCase() === name.toLowerCase());
  }
}
