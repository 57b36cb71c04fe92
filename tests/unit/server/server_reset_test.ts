/** What a server goes through before the next client may have it: put back, reset, checked. */

import assert from "node:assert/strict";
import { backend as say } from "../../support/messages.ts";
import { type Peer, ServerBench } from "./server_bench.ts";

// --- release ---

Deno.test("ServerSession.release() makes a server idle at once where no reset is due", async () => {
  await using bench = await ServerBench.open();
  await bench.logIn();
  bench.link();
  bench.server.release(true);
  assert.deepEqual(bench.states, ["idle", "active", "idle"]);
});

Deno.test("ServerSession.release() runs the reset query first, in state tested", async () => {
  await using bench = await ServerBench.open({ upkeep: { resetQuery: "DISCARD ALL" } });
  const peer = await bench.logIn();
  bench.link();
  bench.server.release(true);
  assert.equal(bench.server.state.kind, "tested");
  assert.equal(await peer.receiveText(), "Q DISCARD ALL");
  await peer.send(say.complete("DISCARD ALL"), say.ready());
  await bench.settle();
  assert.deepEqual(bench.states, ["idle", "active", "tested", "idle"]);
});

for (
  const [what, answer, reason] of [
    ["fails", [say.error("XX000", "no"), say.ready()], "reset query failed: no"],
    ["leaves a transaction open", [say.complete("BEGIN"), say.ready("T")], "reset query failed"],
    ["is answered by COPY", [say.copyIn()], "unknown pkt from server"],
  ] as const
) {
  Deno.test(`ServerSession is closed when the reset query ${what}`, async () => {
    await using bench = await ServerBench.open({ upkeep: { resetQuery: "DISCARD ALL" } });
    const peer = await bench.logIn();
    bench.link();
    bench.server.release(true);
    await peer.receive();
    await peer.send(...answer);
    await bench.ended();
    assert.equal(bench.end().reason, reason);
    assert.deepEqual(bench.states, ["idle", "active", "tested", "closed"]);
  });
}

/** Up to where a client has made the server run as eve, and the server is to be put back. */
async function leaveAsEve(bench: ServerBench): Promise<Peer> {
  const peer = await bench.connect();
  const login = [say.parameterStatus("session_authorization", "ada"), say.ready()];
  await peer.send(say.authentication(0), ...login);
  await bench.settle();
  bench.server.link({
    onServerChunk: (cursor) => {
      while (cursor.next()) bench.server.takeParameterStatus(cursor);
    },
    onServerClosed: () => {},
  });
  await peer.send(say.parameterStatus("session_authorization", "eve"));
  await bench.settle();
  bench.server.release(false);
  assert.equal(await peer.receiveText(), "Q ;RESET SESSION AUTHORIZATION");
  assert.equal(bench.server.state.kind, "tested");
  return peer;
}

Deno.test("ServerSession that a client made run as another user is put back before it is free", async () => {
  await using bench = await ServerBench.open();
  const peer = await leaveAsEve(bench);
  const answer = [say.complete("RESET"), say.parameterStatus("session_authorization", "ada")];
  await peer.send(...answer, say.ready());
  await bench.settle();
  assert.equal(bench.server.state.kind, "idle");
});

/** Answers to that, after which nobody knows as whom the server runs. */
const NOT_PUT_BACK: readonly (readonly [string, Uint8Array[]])[] = [
  ["does not report it", [say.complete("RESET"), say.ready()]],
  ["refuses", [say.error("42501", "permission denied"), say.ready()]],
  [
    "ends up as somebody else",
    [say.complete("RESET"), say.parameterStatus("session_authorization", "bob"), say.ready()],
  ],
];

for (const [what, answer] of NOT_PUT_BACK) {
  Deno.test(`ServerSession that a client made run as another user is closed when it ${what}`, async () => {
    await using bench = await ServerBench.open();
    const peer = await leaveAsEve(bench);
    await peer.send(...answer);
    await bench.settle();
    assert.match(bench.end().reason, /^session of another client could not be taken back/);
  });
}

Deno.test("ServerSession that is idle is closed when it says that it runs as another user", async () => {
  await using bench = await ServerBench.open();
  const peer = await bench.logIn();
  await peer.send(say.parameterStatus("session_authorization", "eve"));
  await bench.settle();
  assert.equal(bench.end().reason, "session of another client could not be taken back");
});

Deno.test("ServerSession is closed that becomes another user in one breath with the end of its login", async () => {
  await using bench = await ServerBench.open();
  const peer = await bench.connect();
  await peer.send(
    say.authentication(0),
    say.parameterStatus("session_authorization", "ada"),
    say.ready(),
    say.parameterStatus("session_authorization", "eve"),
  );
  await bench.settle();
  assert.equal(bench.end().reason, "session of another client could not be taken back");
  assert.deepEqual([...bench.server.reported], [["session_authorization", "ada"]]);
});

Deno.test("ServerSession is closed when the reset query makes it another user than its login", async () => {
  await using bench = await ServerBench.open({ upkeep: { resetQuery: "DISCARD ALL" } });
  const peer = await bench.connect();
  const login = [say.parameterStatus("session_authorization", "app"), say.ready()];
  await peer.send(say.authentication(0), ...login);
  await bench.settle();
  bench.link();
  bench.server.release(true);
  assert.equal(await peer.receiveText(), "Q DISCARD ALL");
  const report = say.parameterStatus("session_authorization", "ada");
  await peer.send(say.complete("DISCARD ALL"), report, say.ready());
  await bench.settle();
  assert.equal(bench.end().reason, "session of another client could not be taken back");
});

Deno.test("ServerSession forgets unreported parameters after DISCARD ALL, not after another query", async () => {
  for (const [query, expected] of [["discard all", undefined], ["UNLISTEN *", "s"]] as const) {
    await using bench = await ServerBench.open({ upkeep: { resetQuery: query } });
    const peer = await bench.logIn();
    bench.link();
    bench.server.parameters.set("search_path", "s");
    bench.server.release(true);
    await peer.receive();
    await peer.send(say.complete("OK"), say.ready());
    await bench.settle();
    assert.equal(bench.server.parameters.get("search_path"), expected);
  }
});

Deno.test("ServerSession is obsolete when it is tagged, not when connect_query makes it close", async () => {
  await using bench = await ServerBench.open({ connectQuery: "select 1" });
  const peer = await bench.logIn();
  await peer.receive();
  await peer.send(say.complete("SELECT 1"), say.ready());
  await bench.settle();
  bench.link();
  const { server } = bench;
  server.parameters.set("search_path", "s");
  server.onParametersSet();
  assert.deepEqual([server.isDoomed, server.isObsolete], [true, false]);
  server.tag("connect string changed");
  assert.deepEqual([server.isDoomed, server.isObsolete], [true, true]);
  server.release(false);
  assert.equal(bench.end().reason, "connect_query would be undone");
});

Deno.test("ServerSession is closed after one client where its lifetime is 0", async () => {
  await using bench = await ServerBench.open({ upkeep: { isLifetimeOver: true } });
  await bench.logIn();
  bench.link();
  bench.server.release(true);
  assert.equal(bench.end().reason, "server lifetime over");
});

// --- check ---

Deno.test("ServerSession.check() brings a used server back when it answers", async () => {
  await using bench = await ServerBench.open({ upkeep: { checkQuery: "select 1" } });
  const peer = await bench.logIn();
  bench.server.retire();
  bench.server.check();
  assert.equal(await peer.receiveText(), "Q select 1");
  await peer.send(
    say.rowDescription(["a"]),
    say.dataRow(["1"]),
    say.complete("SELECT 1"),
    say.ready(),
  );
  await bench.settle();
  assert.deepEqual(bench.states, ["idle", "used", "tested", "idle"]);
});

Deno.test("ServerSession.check() closes a used server that does not answer as it should", async () => {
  await using bench = await ServerBench.open({ upkeep: { checkQuery: "select 1" } });
  const peer = await bench.logIn();
  bench.server.retire();
  bench.server.check();
  await peer.send(say.error("57P01", "gone", "FATAL"));
  peer.close();
  await bench.ended();
  assert.deepEqual(bench.states, ["idle", "used", "tested", "closed"]);
});

Deno.test("ServerSession.check() brings a used server back at once where no check is wanted", async () => {
  await using bench = await ServerBench.open();
  await bench.logIn();
  bench.server.retire();
  bench.server.check();
  assert.deepEqual(bench.states, ["idle", "used", "idle"]);
});

Deno.test("ServerSession that is used goes on being watched", async () => {
  await using bench = await ServerBench.open();
  const peer = await bench.logIn();
  bench.server.retire();
  await peer.send(say.notice("by the way"));
  await bench.settle();
  assert.equal(bench.end().reason, "idle server got dirty: by the way");
});

for (const how of ["retire", "doubtRole"] as const) {
  Deno.test(`ServerSession.${how}() leaves a private server idle, which its client is about to take`, async () => {
    const role = { recheckMs: () => 0, admit: () => undefined, recheck: () => undefined };
    await using bench = await ServerBench.open({ replication: "physical", role });
    await bench.logIn();
    bench.server[how]();
    assert.equal(bench.server.state.kind, "idle");
    assert.deepEqual(bench.link().ends, []);
  });
}

Deno.test("ServerSession.retire() keeps the moment since which the server is idle", async () => {
  await using bench = await ServerBench.open();
  await bench.logIn();
  const { enteredAtMs } = bench.server;
  bench.clock.advance(5_000);
  bench.server.retire();
  assert.equal(bench.server.enteredAtMs, enteredAtMs);
});
