/** What a StartupMessage asks for, judged against what is supported. Pure. */

import { ParameterCache, type TrackedParameters } from "../link/parameter_cache.ts";
import type { Endpoint } from "../net/byte_stream.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { readStartupOptions } from "../wire/startup_options.ts";

/** Longest name of a user or a database, in characters; PgBouncer's limit. */
const MAX_NAME_LENGTH = 127;

/** Prefix of protocol options, which are negotiated rather than refused. */
const PROTOCOL_OPTION_PREFIX = "_pq_.";

/** Values of `replication` that mean an ordinary session. */
const NO_REPLICATION: readonly string[] = ["false", "off", "no", "0"];

/** Longest application_name; PostgreSQL's (`NAMEDATALEN - 1`), which cuts off what is beyond. */
const MAX_APPLICATION_NAME_BYTES = 63;

/** Stands for the name of a client that has none; PgBouncer's. */
const NAMELESS = "app";

/** What a client wants to be. */
export interface ClientIntent {
  readonly user: string;
  readonly database: string;
  /** The session parameters it asks for. */
  readonly parameters: ParameterCache;
  /** The tracked parameters that were asked for, as they were spelled. */
  readonly asked: ReadonlyMap<string, string>;
  /** Protocol options that are not known. */
  readonly protocolOptions: readonly string[];
}

/** What may be asked for. */
export interface StartupRules {
  readonly tracked: TrackedParameters;
  /** Names to be dropped without a word (`ignore_startup_parameters`). */
  readonly ignored: readonly string[];
}

/**
 * Reads the parameters of a StartupMessage.
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
  const reader = new ParameterReader(rules);
  for (const [name, value] of startup) reader.read(name, value);
  const { asked, parameters, protocolOptions } = reader;
  return { user, database, parameters, asked, protocolOptions };
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
  readonly asked = new Map<string, string>();
  readonly protocolOptions: string[] = [];
  readonly #rules: StartupRules;

  constructor(rules: StartupRules) {
    this.#rules = rules;
    this.parameters = new ParameterCache(rules.tracked);
  }

  read(name: string, value: string): void {
    switch (name) {
      case "user":
      case "database":
        return;
      case "options":
        return this.#readOptions(value);
      case "replication":
        if (NO_REPLICATION.includes(value.toLowerCase())) return;
        return this.#readOther(name, value, "unsupported startup parameter");
    }
    if (name.startsWith(PROTOCOL_OPTION_PREFIX)) this.protocolOptions.push(name);
    else this.#readOther(name, value, "unsupported startup parameter");
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
    this.asked.set(name, value);
  }

  #isIgnored(name: string): boolean {
    return this.#rules.ignored.some((ignored) => ignored.toLowerCase() === name.toLowerCase());
  }
}
