/** Which servers of a pool have had their time. Closes nothing: a pool and the clock go in. */

import type { ServerPool } from "../client/relay.ts";
import { NOT_READY } from "../server/recovery.ts";
import type { ServerSession } from "../server/server_session.ts";

/** How long the recovery of a server may take that has lost its client. */
export const RECOVERY_LIMIT_MS = 10_000;

/** The limits of one pool's servers; 0 means none, as in the settings. */
export interface ServerExpiryRules {
  readonly connectTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly lifetimeMs: number;
  /** Idle time after which a server is checked before use; undefined if none is. */
  readonly checkDelayMs: number | undefined;
}

/** What is to be done with a server. */
export type ServerVerdict =
  | { readonly kind: "expire_login"; readonly server: ServerSession }
  | { readonly kind: "retire"; readonly server: ServerSession }
  | { readonly kind: "discard"; readonly server: ServerSession; readonly reason: string };

/**
 * Judges every server that no client has; those in reset or check by the time for a connect, those
 * that recover by a limit of their own.
 */
export function judgeServers(
  pool: ServerPool,
  rules: ServerExpiryRules,
  nowMs: number,
): ServerVerdict[] {
  const verdicts: ServerVerdict[] = [];
  for (const server of pool.servers.login) {
    const ageMs = nowMs - server.createdAtMs;
    if (rules.connectTimeoutMs > 0 && ageMs > rules.connectTimeoutMs) {
      verdicts.push({ kind: "expire_login", server });
    }
  }
  for (const server of pool.servers.tested) {
    // A server that does not even answer us; while it is waited for, it keeps its place in the pool.
    const testMs = nowMs - server.enteredAtMs;
    if (rules.connectTimeoutMs > 0 && testMs > rules.connectTimeoutMs) {
      verdicts.push({ kind: "discard", server, reason: "test query timed out" });
    }
  }
  for (const server of pool.servers.recovering) {
    if (nowMs - server.enteredAtMs <= RECOVERY_LIMIT_MS) continue;
    verdicts.push({ kind: "discard", server, reason: `${NOT_READY}: recovery timed out` });
  }
  const judge = new FreeServerJudge(pool, rules, nowMs);
  for (const server of pool.servers.used) judge.judge(server);
  for (const server of pool.servers.idle) judge.judge(server);
  return verdicts.concat(judge.verdicts);
}

/** The free servers, oldest idle first; what goes counts at once, so that enough are left. */
class FreeServerJudge {
  readonly verdicts: ServerVerdict[] = [];
  readonly #pool: ServerPool;
  readonly #rules: ServerExpiryRules;
  readonly #nowMs: number;
  #count: number;

  constructor(pool: ServerPool, rules: ServerExpiryRules, nowMs: number) {
    this.#pool = pool;
    this.#rules = rules;
    this.#nowMs = nowMs;
    this.#count = pool.servers.count;
  }

  judge(server: ServerSession): void {
    const reason = this.#reasonToClose(server);
    if (reason !== undefined) {
      this.#count -= 1;
      this.verdicts.push({ kind: "discard", server, reason });
    } else if (this.#isDueForCheck(server)) {
      this.verdicts.push({ kind: "retire", server });
    }
  }

  #reasonToClose(server: ServerSession): string | undefined {
    const { minPoolSize, poolSize, reservePoolSize } = this.#pool.rules;
    const { idleTimeoutMs, lifetimeMs } = this.#rules;
    if (this.#count > poolSize + reservePoolSize) return "too many servers in the pool";
    const idleMs = this.#nowMs - server.enteredAtMs;
    if (idleTimeoutMs > 0 && idleMs > idleTimeoutMs && this.#count > minPoolSize) {
      return "server idle timeout";
    }
    const isOld = lifetimeMs > 0 && this.#nowMs - server.createdAtMs > lifetimeMs;
    return isOld && this.#pool.takeLifetimeTurn(lifetimeMs) ? "server lifetime over" : undefined;
  }

  #isDueForCheck(server: ServerSession): boolean {
    const { checkDelayMs } = this.#rules;
    return server.state.kind === "idle" && checkDelayMs !== undefined &&
      this.#nowMs - server.enteredAtMs > checkDelayMs;
  }
}
