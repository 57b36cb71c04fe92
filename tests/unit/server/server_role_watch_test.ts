/** What a server session does about its role: when it is asked, and when it goes. */

import assert from "node:assert/strict";
import type { RoleDemand } from "../../../src/server/role_watch.ts";
import type { ServerRole } from "../../../src/server/server_role.ts";
import { PgError } from "../../../src/wire/pg_error.ts";
import { backend as say } from "../../support/messages.ts";
import { type Peer, ServerBench } from "./server_bench.ts";

/** Wants a primary, and notes what it is told. */
class PrimaryWanted implements RoleDemand {
  readonly judged: string[] = [];
  readonly recheckMs = () => 10_000;

  admit(role: ServerRole) {
    this.judged.push(`admit ${role}`);
    if (role !== "standby") return undefined;
    return {
      reason: "standby",
      error: new PgError("57P03", "standby"),
      kind: "elsewhere",
    } as const;
  }

  recheck(role: ServerRole): string | undefined {
    this.judged.push(`recheck ${role}`);
    return role === "standby" ? "it is a standby" : undefined;
  }
}

/** Logs in at a server that reports its role. */
async function report(peer: Peer, isStandby: boolean): Promise<void> {
  await peer.send(
    say.authentication(0),
    say.parameterStatus("in_hot_standby", isStandby ? "on" : "off"),
    say.parameterStatus("default_transaction_read_only", "off"),
    say.keyData(17, 4711),
    say.ready(),
  );
}

/** Answers the question for the role. */
async function answer(peer: Peer, count: number): Promise<void> {
  assert.match(await peer.receiveText() ?? "", /^Q SELECT 1 .*pg_is_in_recovery\(\)/);
  const rows = Array.from({ length: count }, () => say.dataRow(["1"]));
  await peer.send(say.rowDescription(["x"]), ...rows, say.complete(`SELECT ${count}`), say.ready());
}

Deno.test("ServerSession that does not suit ends before connect_query is sent", async () => {
  const role = new PrimaryWanted();
  await using bench = await ServerBench.open({ role, connectQuery: "select 1" });
  const peer = await bench.connect();
  await report(peer, true);
  assert.equal(await peer.receiveText(), undefined);
  assert.deepEqual([bench.end().kind, role.judged], ["elsewhere", ["admit standby"]]);
});

Deno.test("ServerSession asks who does not report, before anybody gets it", async () => {
  const role = new PrimaryWanted();
  await using bench = await ServerBench.open({ role });
  const peer = await bench.logIn();
  assert.equal(bench.server.state.kind, "login");
  await answer(peer, 0);
  await bench.settle();
  assert.equal(bench.server.state.kind, "idle");
  assert.deepEqual(role.judged, ["admit read_write_primary"]);
});

Deno.test("ServerSession that becomes another user when it is asked for its role is no good", async () => {
  const role = new PrimaryWanted();
  await using bench = await ServerBench.open({ role });
  const peer = await bench.connect();
  const login = [say.parameterStatus("session_authorization", "ada"), say.ready()];
  await peer.send(say.authentication(0), ...login);
  await bench.settle();
  await peer.send(say.parameterStatus("session_authorization", "eve"));
  await answer(peer, 0);
  await bench.settle();
  const { kind, reason } = bench.end();
  assert.deepEqual([kind, reason], [
    "unreachable",
    "session of another client could not be taken back",
  ]);
  assert.deepEqual([...bench.server.reported], [["session_authorization", "ada"]]);
});

Deno.test("ServerSession that is doubted while it logs in is asked before it is free", async () => {
  const role = new PrimaryWanted();
  await using bench = await ServerBench.open({ role });
  const peer = await bench.connect();
  bench.server.doubtRole();
  await report(peer, false);
  await bench.settle();
  assert.equal(bench.server.state.kind, "login");
  await answer(peer, 0);
  await bench.settle();
  assert.equal(bench.server.state.kind, "idle");
  assert.deepEqual(role.judged, ["admit read_write_primary", "recheck read_write_primary"]);
});

Deno.test("ServerSession that is free and doubted is asked when it is wanted, and goes if it has changed", async () => {
  const role = new PrimaryWanted();
  await using bench = await ServerBench.open({ role, upkeep: { checkQuery: undefined } });
  const peer = await bench.connect();
  await report(peer, false);
  await bench.settle();
  bench.server.doubtRole();
  assert.equal(bench.server.state.kind, "used");
  bench.server.check();
  await answer(peer, 2);
  await bench.settle();
  assert.deepEqual([bench.end().kind, bench.end().reason], ["served", "it is a standby"]);
});

Deno.test("ServerSession that answers no sensible role when it is asked again is closed", async () => {
  await using bench = await ServerBench.open({ role: new PrimaryWanted() });
  const peer = await bench.connect();
  await report(peer, false);
  await bench.settle();
  bench.link();
  bench.server.doubtRole();
  bench.server.release(false);
  await answer(peer, 3);
  await bench.settle();
  assert.equal(bench.end().reason, "role query failed: no sensible answer");
});

for (const replication of ["none", "physical"] as const) {
  const isKept = replication !== "none";
  const what = isKept ? "that replicates stays" : "goes";
  Deno.test(`ServerSession ${what} when it reports that it does not suit any more`, async () => {
    const role = new PrimaryWanted();
    await using bench = await ServerBench.open({ role, replication });
    const peer = await bench.connect();
    await report(peer, false);
    await bench.settle();
    await peer.send(say.parameterStatus("in_hot_standby", "on"));
    await bench.settle();
    assert.equal(bench.server.state.kind, isKept ? "idle" : "closed");
    assert.deepEqual(role.judged, ["admit read_write_primary", "recheck standby"]);
  });
}
