import assert from "node:assert/strict";
import type { ClientSession } from "../../../src/client/client_session.ts";
import type { ClientStateKind } from "../../../src/client/client_state.ts";
import { type ClientTimeouts, judgeClient } from "../../../src/maintenance/client_expiry.ts";

const NOW_MS = 1_000_000;

const NO_LIMITS: ClientTimeouts = {
  loginMs: 0,
  idleMs: 0,
  queryMs: 0,
  queryWaitMs: 0,
  queryWaitNotifyMs: 0,
  idleTransactionMs: 0,
  transactionMs: 0,
};

/** A client; every time says how long ago. */
interface Fake {
  readonly kind: ClientStateKind;
  readonly sinceMs?: number;
  readonly connectedMs?: number;
  readonly waitingMs?: number;
  readonly queryMs?: number;
  readonly transactionMs?: number;
  readonly readyMs?: number;
  readonly hasWaitNotice?: boolean;
  /** Why the pool's last login failed. */
  readonly failure?: string;
  /** A client of the console has none. */
  readonly hasRelay?: boolean;
  readonly replication?: ClientSession["replication"];
}

function ago(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : NOW_MS - ms;
}

/** The verdict in words: "end SQLSTATE message (detail)", or its kind. */
function verdict(fake: Fake, timeouts: Partial<ClientTimeouts>): string {
  const { connectedMs = 0, failure, hasRelay = true, hasWaitNotice = false, kind } = fake;
  const { replication = "none" } = fake;
  const relay = {
    waitingSinceMs: ago(fake.waitingMs),
    queryStartMs: ago(fake.queryMs),
    transactionStartMs: ago(fake.transactionMs),
    lastReadyMs: NOW_MS - (fake.readyMs ?? 0),
  };
  const client = {
    state: { kind },
    enteredAtMs: NOW_MS - (fake.sinceMs ?? 0),
    connectedAtMs: NOW_MS - connectedMs,
    relay: hasRelay ? relay : undefined,
    pool: failure === undefined ? {} : { failure: { error: { message: failure } } },
    hasWaitNotice,
    replication,
  } as unknown as ClientSession;
  const found = judgeClient(client, { ...NO_LIMITS, ...timeouts }, NOW_MS);
  if (found.kind !== "end") return found.kind;
  const { detail, message, sqlstate } = found.error;
  return `end ${sqlstate} ${message}${detail === undefined ? "" : ` (${detail})`}`;
}

/** What a limit of 5 s does to a client that has reached it, and to one that is over it. */
function atAndOver(
  fake: (ms: number) => Fake,
  timeouts: Partial<ClientTimeouts>,
): readonly [string, string] {
  return [verdict(fake(5_000), timeouts), verdict(fake(5_001), timeouts)];
}

Deno.test("judgeClient() keeps everybody where there are no limits", () => {
  for (const kind of ["startup", "login", "idle", "waiting", "active", "closed"] as const) {
    const ms = 900_000;
    const ancient = {
      ...{ kind, sinceMs: ms, connectedMs: ms, waitingMs: ms, queryMs: ms },
      ...{ transactionMs: ms, readyMs: ms },
    };
    assert.equal(verdict(ancient, {}), "keep", kind);
  }
});

for (const kind of ["startup", "login"] as const) {
  Deno.test(`judgeClient() ends a client in ${kind} by the time since it connected`, () => {
    assert.deepEqual(
      atAndOver((ms) => ({ kind, connectedMs: ms, sinceMs: 0 }), { loginMs: 5_000 }),
      ["keep", "end 57014 client_login_timeout"],
    );
  });
}

Deno.test("judgeClient() tells a client that logs in why there is no server", () => {
  assert.equal(
    verdict({ kind: "login", connectedMs: 6_000, failure: "connect failed" }, { loginMs: 5_000 }),
    "end 08006 client_login_timeout (server down) (connect failed)",
  );
});

Deno.test("judgeClient() ends an idle client by client_idle_timeout", () => {
  assert.deepEqual(atAndOver((ms) => ({ kind: "idle", sinceMs: ms }), { idleMs: 5_000 }), [
    "keep",
    "end 57P05 client_idle_timeout",
  ]);
  const otherLimits = {
    loginMs: 1,
    queryMs: 1,
    queryWaitMs: 1,
    transactionMs: 1,
    idleTransactionMs: 1,
  };
  assert.equal(
    verdict({ kind: "idle", sinceMs: 6_000, connectedMs: 6_000, readyMs: 6_000 }, otherLimits),
    "keep",
  );
});

Deno.test("judgeClient() ends a client that waits too long by query_wait_timeout, with the reason there is", () => {
  const waiting = (ms: number): Fake => ({ kind: "waiting", waitingMs: ms });
  assert.deepEqual(atAndOver(waiting, { queryWaitMs: 5_000 }), [
    "keep",
    "end 53300 query_wait_timeout",
  ]);
  assert.equal(
    verdict({ ...waiting(6_000), failure: "connect failed" }, { queryWaitMs: 5_000 }),
    "end 53300 query_wait_timeout (connect failed)",
  );
});

Deno.test("judgeClient() counts a wait towards query_timeout, which goes first", () => {
  assert.deepEqual(
    atAndOver((ms) => ({ kind: "waiting", waitingMs: ms }), { queryMs: 5_000, queryWaitMs: 5_000 }),
    ["keep", "end 57014 query_timeout"],
  );
});

Deno.test("judgeClient() tells a client that waits once that it does", () => {
  const waiting = (ms: number): Fake => ({ kind: "waiting", waitingMs: ms });
  const limits = { queryWaitNotifyMs: 5_000, queryWaitMs: 9_000 };
  assert.deepEqual(atAndOver(waiting, limits), ["keep", "notify"]);
  assert.equal(verdict({ ...waiting(6_000), hasWaitNotice: true }, limits), "keep");
  assert.match(verdict(waiting(9_001), limits), /query_wait_timeout/);
});

Deno.test("judgeClient() ends a running query by query_timeout, in a transaction or not", () => {
  assert.deepEqual(
    atAndOver((ms) => ({ kind: "active", queryMs: ms, transactionMs: ms }), { queryMs: 5_000 }),
    ["keep", "end 57014 query timeout"],
  );
  const short: Fake = { kind: "active", queryMs: 10, transactionMs: 60_000 };
  assert.equal(verdict(short, { queryMs: 5_000 }), "keep", "the transaction does not count");
});

Deno.test("judgeClient() ends a client that idles in a transaction, by the time since the last answer", () => {
  const limits = { idleTransactionMs: 5_000 };
  assert.deepEqual(
    atAndOver((ms) => ({ kind: "active", transactionMs: 60_000, readyMs: ms }), limits),
    ["keep", "end 25P03 idle transaction timeout"],
  );
  const running: Fake = { kind: "active", transactionMs: 60_000, readyMs: 60_000, queryMs: 60_000 };
  assert.equal(verdict(running, limits), "keep", "a running query is not idling");
  assert.equal(verdict({ kind: "active", readyMs: 60_000 }, limits), "keep", "no transaction");
});

Deno.test("judgeClient() ends a transaction by transaction_timeout, whether a query runs or not", () => {
  const limits = { transactionMs: 5_000 };
  for (const queryMs of [undefined, 10]) {
    const fake = (ms: number): Fake => ({
      ...{ kind: "active", transactionMs: ms },
      ...(queryMs === undefined ? {} : { queryMs }),
    });
    assert.deepEqual(atAndOver(fake, limits), ["keep", "end 25P04 transaction timeout"]);
  }
});

Deno.test("judgeClient() takes a client linked for its session, with nothing going on, for idle", () => {
  const limits = { idleMs: 5_000, transactionMs: 1, queryMs: 1, idleTransactionMs: 1 };
  assert.deepEqual(
    atAndOver((ms) => ({ kind: "active", sinceMs: 60_000, readyMs: ms }), limits),
    ["keep", "end 57P05 client_idle_timeout"],
  );
  assert.deepEqual(
    atAndOver((ms) => ({ kind: "active", sinceMs: ms, readyMs: 60_000 }), limits),
    ["keep", "end 57P05 client_idle_timeout"],
    "the later of link and answer counts",
  );
  const busy: Fake = {
    kind: "active",
    sinceMs: 60_000,
    readyMs: 60_000,
    transactionMs: 1,
    queryMs: 1,
  };
  assert.equal(verdict(busy, { idleMs: 5_000 }), "keep");
});

Deno.test("judgeClient() hangs up on a client that does not go, after a second", () => {
  const limits = { loginMs: 1, idleMs: 1, queryMs: 1 };
  assert.equal(verdict({ kind: "closing", sinceMs: 1_000, connectedMs: 9_000 }, limits), "keep");
  assert.equal(verdict({ kind: "closing", sinceMs: 1_001 }, limits), "hang_up");
});

Deno.test("judgeClient() leaves what is closed, and the console's clients at work, alone", () => {
  const limits = { loginMs: 1, idleMs: 1, queryMs: 1 };
  assert.equal(verdict({ kind: "closed", sinceMs: 9_000, connectedMs: 9_000 }, limits), "keep");
  assert.equal(verdict({ kind: "active", sinceMs: 9_000, hasRelay: false }, limits), "keep");
});

Deno.test("judgeClient() lets one that replicates go on for ever, and not log in for ever", () => {
  const limits = { idleMs: 5, queryMs: 5, idleTransactionMs: 5, transactionMs: 5, loginMs: 5 };
  for (const replication of ["logical", "physical"] as const) {
    const old = { replication, sinceMs: 900_000, connectedMs: 900_000, readyMs: 900_000 };
    const active: Fake = { ...old, kind: "active" };
    assert.equal(verdict(active, limits), "keep");
    assert.equal(verdict({ ...active, transactionMs: 900_000 }, limits), "keep");
    assert.equal(verdict({ ...active, queryMs: 900_000, transactionMs: 9 }, limits), "keep");
    assert.equal(verdict({ ...old, kind: "login" }, limits), "end 57014 client_login_timeout");
  }
});
