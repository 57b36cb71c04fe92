import assert from "node:assert/strict";
import type { ServerPool } from "../../../src/client/relay.ts";
import { judgeServers, type ServerExpiryRules } from "../../../src/maintenance/server_expiry.ts";
import type { ServerSession } from "../../../src/server/server_session.ts";
import type { ServerStateKind } from "../../../src/server/server_state.ts";

const NOW_MS = 1_000_000;

const NO_LIMITS: ServerExpiryRules = {
  connectTimeoutMs: 0,
  idleTimeoutMs: 0,
  lifetimeMs: 0,
  checkDelayMs: undefined,
};

/** A server: how old it is, and for how long it has been in its state. */
interface Fake {
  readonly name: string;
  readonly kind: ServerStateKind;
  readonly ageMs?: number;
  readonly sinceMs?: number;
}

interface PoolSizes {
  readonly poolSize?: number;
  readonly minPoolSize?: number;
  readonly reservePoolSize?: number;
  /** How many may be closed for their age. */
  readonly turns?: number;
}

/** The verdicts on servers, each as "kind name", with the reason of a discard. */
function verdicts(
  fakes: readonly Fake[],
  rules: Partial<ServerExpiryRules>,
  { minPoolSize = 0, poolSize = 10, reservePoolSize = 0, turns = Infinity }: PoolSizes = {},
): string[] {
  const names = new Map<ServerSession, string>();
  const ofKind = (kind: ServerStateKind) =>
    fakes.filter((fake) => fake.kind === kind).map(({ ageMs = 0, name, sinceMs = 0 }) => {
      const server = {
        state: { kind },
        enteredAtMs: NOW_MS - sinceMs,
        createdAtMs: NOW_MS - ageMs,
      } as unknown as ServerSession;
      names.set(server, name);
      return server;
    });
  let turnsLeft = turns;
  const pool = {
    rules: { poolSize, minPoolSize, reservePoolSize },
    servers: {
      count: fakes.length,
      login: new Set(ofKind("login")),
      tested: new Set(ofKind("tested")),
      recovering: new Set(ofKind("recovering")),
      used: ofKind("used"),
      idle: ofKind("idle"),
    },
    takeLifetimeTurn: () => turnsLeft-- > 0,
  } as unknown as ServerPool;
  return judgeServers(pool, { ...NO_LIMITS, ...rules }, NOW_MS).map((verdict) => {
    const reason = verdict.kind === "discard" ? `: ${verdict.reason}` : "";
    return `${verdict.kind} ${names.get(verdict.server)}${reason}`;
  });
}

function idle(...sinceMs: readonly number[]): Fake[] {
  return sinceMs.map((each, at) => ({ name: `s${at}`, kind: "idle", sinceMs: each, ageMs: each }));
}

Deno.test("judgeServers() leaves everything alone where there are no limits", () => {
  const kinds = ["login", "tested", "used", "idle", "active", "being_canceled"] as const;
  const ancient = kinds.map((kind) => ({ name: kind, kind, ageMs: 900_000, sinceMs: 900_000 }));
  assert.deepEqual(verdicts(ancient, {}), []);
});

Deno.test("judgeServers() gives up a login that takes longer than server_connect_timeout", () => {
  const logins: Fake[] = [
    { name: "new", kind: "login", ageMs: 5_000 },
    { name: "slow", kind: "login", ageMs: 5_001 },
  ];
  assert.deepEqual(verdicts(logins, { connectTimeoutMs: 5_000 }), ["expire_login slow"]);
});

Deno.test("judgeServers() closes a server that does not answer its test, by the time it has been in it", () => {
  const tested: Fake[] = [
    { name: "old", kind: "tested", ageMs: 900_000, sinceMs: 5_000 },
    { name: "mute", kind: "tested", ageMs: 6_000, sinceMs: 5_001 },
  ];
  assert.deepEqual(verdicts(tested, { connectTimeoutMs: 5_000 }), [
    "discard mute: test query timed out",
  ]);
});

Deno.test("judgeServers() closes a server whose recovery takes too long, whatever the settings", () => {
  const recovering: Fake[] = [
    { name: "soon done", kind: "recovering", ageMs: 900_000, sinceMs: 10_000 },
    { name: "stuck", kind: "recovering", ageMs: 11_000, sinceMs: 10_001 },
  ];
  assert.deepEqual(verdicts(recovering, {}), [
    "discard stuck: client disconnect while server was not ready: recovery timed out",
  ]);
});

Deno.test("judgeServers() closes nothing that a client has, or a cancel request", () => {
  const busy: Fake[] = [
    { name: "linked", kind: "active", ageMs: 900_000, sinceMs: 900_000 },
    { name: "canceled", kind: "being_canceled", ageMs: 900_000, sinceMs: 900_000 },
  ];
  const strict = { connectTimeoutMs: 1, idleTimeoutMs: 1, lifetimeMs: 1, checkDelayMs: 1 };
  assert.deepEqual(verdicts(busy, strict, { poolSize: 1 }), []);
});

Deno.test("judgeServers() closes what was idle for longer than server_idle_timeout, used or not", () => {
  const servers: Fake[] = [
    ...idle(10_000, 10_001),
    { name: "used", kind: "used", sinceMs: 20_000, ageMs: 20_000 },
  ];
  assert.deepEqual(verdicts(servers, { idleTimeoutMs: 10_000 }), [
    "discard used: server idle timeout",
    "discard s1: server idle timeout",
  ]);
});

Deno.test("judgeServers() leaves min_pool_size servers to idle on, the youngest", () => {
  assert.deepEqual(
    verdicts(idle(40_000, 30_000, 20_000), { idleTimeoutMs: 10_000 }, { minPoolSize: 2 }),
    ["discard s0: server idle timeout"],
  );
});

Deno.test("judgeServers() counts linked servers towards min_pool_size", () => {
  const servers: Fake[] = [...idle(20_000), { name: "linked", kind: "active" }];
  assert.equal(verdicts(servers, { idleTimeoutMs: 10_000 }, { minPoolSize: 1 }).length, 1);
});

Deno.test("judgeServers() closes what is older than server_lifetime, as turns allow, min_pool_size or not", () => {
  const rules = { lifetimeMs: 10_000 };
  assert.deepEqual(verdicts(idle(10_000, 10_001, 20_000), rules, { minPoolSize: 3 }), [
    "discard s1: server lifetime over",
    "discard s2: server lifetime over",
  ]);
  assert.deepEqual(verdicts(idle(20_000, 20_000), rules, { turns: 1 }), [
    "discard s0: server lifetime over",
  ]);
});

Deno.test("judgeServers() takes the age for the lifetime, and the rest for the idle time", () => {
  const fresh: Fake[] = [{ name: "s", kind: "idle", ageMs: 50_000, sinceMs: 0 }];
  assert.deepEqual(verdicts(fresh, { idleTimeoutMs: 10_000 }), []);
  assert.deepEqual(verdicts(fresh, { lifetimeMs: 60_000 }), []);
  assert.deepEqual(verdicts(fresh, { lifetimeMs: 40_000 }), ["discard s: server lifetime over"]);
});

Deno.test("judgeServers() closes free servers beyond pool_size and its reserve, and no more than those", () => {
  const sizes = { poolSize: 1, reservePoolSize: 1 };
  assert.deepEqual(verdicts(idle(3, 2, 1), {}, sizes), [
    "discard s0: too many servers in the pool",
  ]);
  const withLinked: Fake[] = [...idle(2, 1), { name: "linked", kind: "active" }];
  assert.deepEqual(verdicts(withLinked, {}, sizes), ["discard s0: too many servers in the pool"]);
});

Deno.test("judgeServers() retires what was idle for longer than server_check_delay, once", () => {
  const servers: Fake[] = [
    ...idle(5_000, 5_001),
    { name: "used", kind: "used", sinceMs: 9_000 },
  ];
  assert.deepEqual(verdicts(servers, { checkDelayMs: 5_000 }), ["retire s1"]);
  assert.deepEqual(verdicts(idle(1), { checkDelayMs: 0 }), ["retire s0"]);
});

Deno.test("judgeServers() closes rather than retires", () => {
  const rules = { checkDelayMs: 5_000, idleTimeoutMs: 5_000 };
  assert.deepEqual(verdicts(idle(6_000), rules), ["discard s0: server idle timeout"]);
});
