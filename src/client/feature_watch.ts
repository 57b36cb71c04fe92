/**
 * Watches for what a session of PostgreSQL keeps and a client of transaction or statement pooling
 * loses with its server: counts it, and tells the client if that is wanted.
 *
 * HOT PATH: `look()`. Budget: a few bytes of each Query and Parse; no allocation but at a use.
 */

import type { PoolMode } from "../config/settings.ts";
import { featureUse, type SessionFeature } from "../link/session_features.ts";
import { noticeResponse } from "../wire/error_response.ts";
import { PgError } from "../wire/pg_error.ts";
import type { RangeWriter } from "../wire/range_writer.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";

/** What to do in place of each. */
const HINTS: Readonly<Record<SessionFeature, string>> = {
  "advisory lock": "Use pg_advisory_xact_lock(), or session pooling.",
  "cursor with hold":
    "Read the cursor in the transaction that declares it, or use session pooling.",
  "listen": "Listen on a connection with session pooling.",
  "load": "Set session_preload_libraries for the role, or use session pooling.",
  "prepare": "Prepare by the protocol, as drivers do, or use session pooling.",
  "set": "Use SET LOCAL in a transaction, ALTER ROLE … SET, or session pooling.",
  "set role": "Use SET LOCAL ROLE in a transaction, or session pooling.",
  "temporary table": "Create it ON COMMIT DROP in a transaction, or use session pooling.",
};

/** The pool of the watched client. */
export interface WatchedPool {
  readonly rules: { readonly poolMode: PoolMode };
  /** Uses by all its clients. */
  readonly featureUses: Map<string, number>;
  /** What its servers report. */
  readonly welcome: ReadonlyMap<string, string> | undefined;
}

/** The watch over one client. */
export class FeatureWatch {
  readonly #pool: WatchedPool;
  /** Whether clients are told (`warn_session_features`). */
  readonly #warns: () => boolean;
  #uses: Map<string, number> | undefined;
  /** What the client is still to be told of. */
  #untold: SessionFeature[] | undefined;

  constructor(pool: WatchedPool, warns: () => boolean) {
    this.#pool = pool;
    this.#warns = warns;
  }

  /** Uses by this client, by feature. */
  get uses(): ReadonlyMap<string, number> {
    return this.#uses ?? new Map<string, number>();
  }

  /** Looks at the SQL from `start` to `end`, or at as much of it as is there. */
  look(buffer: Uint8Array, start: number, end: number): void {
    if (this.#pool.rules.poolMode === "session") return;
    const use = featureUse(buffer, start, end);
    if (use !== undefined) this.#note(use.feature, use.parameter);
  }

  #note(feature: SessionFeature, parameter: string | undefined): void {
    const { featureUses, welcome } = this.#pool;
    // What is reported follows its client.
    if (parameter !== undefined && hasName(welcome, parameter)) return;
    this.#uses ??= new Map();
    count(this.#uses, feature);
    count(featureUses, feature);
    if (!this.#warns()) return;
    this.#untold ??= [];
    if (!this.#untold.includes(feature)) this.#untold.push(feature);
  }

  /** Tells the client; to be called where a message of ours may stand. */
  tell(toClient: RangeWriter): void {
    if (this.#untold === undefined) return;
    for (const feature of this.#untold) {
      const notice = noticeResponse(this.#warning(feature));
      toClient.append(notice, 0, notice.length);
    }
    this.#untold = undefined;
  }

  #warning(feature: SessionFeature): PgError {
    const mode = this.#pool.rules.poolMode;
    return new PgError(
      SQLSTATE.warning,
      `"${feature}" does not outlive the ${mode} in ${mode} pooling: the next may have another server`,
      { severity: "WARNING", hint: HINTS[feature] },
    );
  }
}

function count(uses: Map<string, number>, feature: string): void {
  uses.set(feature, (uses.get(feature) ?? 0) + 1);
}

/** Whether a parameter is among those given; `parameter` in lower case. */
function hasName(names: ReadonlyMap<string, string> | undefined, parameter: string): boolean {
  for (const name of names?.keys() ?? []) if (name.toLowerCase() === parameter) return true;
  return false;
}
