/** What a simulated run asserts beyond what holds of any pooler. */

import assert from "node:assert/strict";
import type { ServerPool } from "../../src/client/relay.ts";
import { readInt32 } from "../support/messages.ts";
import type { FakeBackend } from "../support/fake_postgres.ts";
import type { PoolerWorld } from "../support/pooler_world.ts";
import type { SimPlan } from "./sim_plan.ts";
import type { SimActor, SimSession } from "./sim_session.ts";

/** A timeout is kept to a round of the janitor, and one that is late comes a bit later still. */
const SLACK_MS = 2_500;

/** What a run knows that is looked at. */
export interface CheckedRun {
  readonly world: PoolerWorld;
  readonly plan: SimPlan;
  readonly clients: readonly SimActor[];
}

/** Asks all that can be asked between two steps. */
export function checkRun(run: CheckedRun): void {
  for (const { mixUps } of run.world.postgres.backends) assert.equal(mixUps[0], undefined);
  checkWaiting(run);
  checkCancels(run);
}

/** Who waits is served, refused or timed out in time. */
function checkWaiting({ world: { awake, pooler } }: CheckedRun): void {
  const { queryWaitTimeoutMs } = pooler.live.settings;
  if (queryWaitTimeoutMs === 0) return;
  const nowMs = awake.nowMs();
  for (const { id, relay } of pooler.clients.all()) {
    const waitedMs = nowMs - (relay?.waitingSinceMs ?? nowMs);
    const isInTime = waitedMs <= queryWaitTimeoutMs + SLACK_MS;
    assert.ok(isInTime, `Client ${id} waits for ${waitedMs} ms, ${queryWaitTimeoutMs} allowed`);
  }
}

/**
 * A cancel request hits nobody who did not ask for it. In runs with trouble the pooler itself
 * cancels what nobody waits for any more; there, an error that was not asked for would tell.
 */
function checkCancels({ clients, plan: { isCalm }, world: { postgres } }: CheckedRun): void {
  if (postgres.canceled.length === 0) return;
  for (const { sender } of postgres.canceled.splice(0)) {
    const isAsked = clients.some(({ cancelable }) => cancelable.has(sender ?? ""));
    assert.ok(isAsked || !isCalm, `${sender} was canceled unasked`);
  }
}

/** A cancel request arrives at a server that is nobody's, or that of a client that has asked for one. */
export function checkCancel(
  { clients, plan: { isCalm }, world: { pooler } }: CheckedRun,
  { processId }: FakeBackend,
): void {
  if (!isCalm) return;
  for (const { relay, remote } of pooler.clients.all()) {
    const key = relay?.server?.cancelKey;
    if (key === undefined || readInt32(key) !== processId) continue;
    const client = clients.find(({ stream }) => stream?.local.port === remote.port);
    const isAsked = client === undefined || client.cancelCount > 0 || client.hasBrokenOff;
    assert.ok(isAsked, `A cancel request hits the server of ${client?.name}, who has not asked`);
  }
}

/** A server that runs a client's statement has that client's session parameters. */
export function checkParameters(
  { parameters, processId, status, user }: FakeBackend,
  { sender, session }: { sender: string; session: SimSession | undefined },
): void {
  // In a transaction a client may have set what it does not count as its own.
  if (session === undefined || status !== "I") return;
  for (const [name, value] of session.parameters) {
    if (!session.isTold(name)) continue;
    const actual = parameters.get(name);
    const at = `${name} when backend ${processId} of ${user} runs ${sender}`;
    assert.equal(actual, value, at);
  }
}

/** What was counted is what servers served and clients had. */
export function checkCounts(run: CheckedRun): void {
  const { clients, plan: { hazards, isCalm, mode }, world: { clock, pooler, postgres } } = run;
  const app = [...pooler.stats.databases(clock.nowMs())].find(({ database }) => database === "app");
  const totals = app?.totals;
  const sum = (of: (client: SimActor) => number) =>
    clients.reduce((total, client) => total + of(client), 0);
  const logins = sum(({ loginCount }) => loginCount);
  if (totals === undefined) return assert.equal(logins, 0, "Logins are counted");
  const served = servedBy(postgres.backends);
  assert.ok(totals.clientLoginCount >= logins, "Logins are counted");
  assert.ok(totals.queryCount <= served.readies, "No query is counted that none served");
  assert.ok(totals.xactCount <= served.idleReadies, "No transaction is counted that none served");
  if (!isCalm || !hazards.isTidy) return;
  assert.deepEqual(
    {
      logins: totals.clientLoginCount,
      queries: totals.queryCount,
      transactions: totals.xactCount,
      serverParses: totals.serverParseCount,
      clientParses: totals.clientParseCount,
      binds: totals.bindCount,
    },
    {
      logins,
      queries: served.readies,
      transactions: served.idleReadies,
      // Of a session's own statements the pooler knows nothing.
      serverParses: mode === "session" ? 0 : served.parses,
      clientParses: sum(({ sent }) => sent.parses),
      binds: sum(({ sent }) => sent.binds),
    },
    "Statistics are what servers and clients counted",
  );
  // A goodbye may be lost in what follows it at once.
  const sentBytes = sum(({ sent }) => sent.bytes);
  assert.ok(totals.bytesReceived <= sentBytes, "Bytes of clients were sent");
  assert.ok(
    totals.bytesReceived >= sentBytes - sum(({ sent }) => sent.goodbyeBytes),
    "Bytes of clients are counted",
  );
  assert.ok(totals.bytesSent <= sum(({ receivedBytes }) => receivedBytes), "Bytes were received");
  assert.ok(
    totals.bytesSent >= sum(({ receivedBytes, reportBytes }) => receivedBytes - reportBytes),
    "Bytes to clients are counted",
  );
}

function servedBy(backends: readonly FakeBackend[]): FakeBackend["served"] {
  const total = { readies: 0, idleReadies: 0, parses: 0 };
  for (const { served } of backends) {
    total.readies += served.readies;
    total.idleReadies += served.idleReadies;
    total.parses += served.parses;
  }
  return total;
}

/** Whether a pool has nobody and does nothing. */
export function isAtRest({ clientCount, loggingIn, servers, waiting }: ServerPool): boolean {
  const { active, beingCanceled, login, recovering, tested } = servers;
  const busy = [active, beingCanceled, login, recovering, tested];
  return clientCount === 0 && loggingIn.size === 0 && waiting.size === 0 &&
    busy.every(({ size }) => size === 0);
}
