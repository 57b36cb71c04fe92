/**
 * What a reader found in the file, before anybody asks whether it makes sense: names, values and
 * where they stand. Both readers make it, `validate.ts` and `convert.ts` use it.
 */

import type { ConfigError, Place } from "./config_error.ts";
import type { Dialect, RawValue } from "./values.ts";

/** `key = value`. */
export interface RawEntry extends Place {
  /** As written. */
  readonly key: string;
  /** As written; what stands elsewhere is already fetched. */
  readonly value: RawValue;
  /** Whether it was fetched, and so is a text whatever it means. */
  readonly isFetched?: boolean;
}

/** A database, user, server or peer. */
export interface RawSection extends Place {
  /** As written. */
  readonly name: string;
  /** Its keys, in the order of the file. */
  readonly entries: readonly RawEntry[];
}

/** A whole configuration with all it includes. */
export interface RawConfig {
  /** The notation, the same for all files. */
  readonly dialect: Dialect;
  /** `[pooler]`, or PgBouncer's `[pgbouncer]`. */
  readonly pooler: readonly RawEntry[];
  /** `[databases]` */
  readonly databases: readonly RawSection[];
  /** `[users]` */
  readonly users: readonly RawSection[];
  /** `[servers]` */
  readonly servers: readonly RawSection[];
  /** `[peers]` */
  readonly peers: readonly RawSection[];
  /** Every file that was read. */
  readonly files: readonly string[];
}

/** The parts of a file whose keys are names of the operator's own choice. */
export type NamedPart = "databases" | "users" | "servers" | "peers";

/** What was read, and all that is wrong with it. */
export interface RawResult {
  /** As far as it could be read. */
  readonly raw: RawConfig;
  /** In the order in which they were found. */
  readonly errors: readonly ConfigError[];
  /** If there are any, a part is missing in `raw`, and nothing else is worth saying. */
  readonly syntaxErrors: readonly ConfigError[];
}
