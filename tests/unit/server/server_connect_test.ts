/** A server's way from the dial to where it is free: connection, versions, login, `connect_query`. */

import assert from "node:assert/strict";
import { eventTurn } from "../../support/event_turn.ts";
import { backend as say, readInt32, utf8 } from "../../support/messages.ts";
import { ServerBench } from "./server_bench.ts";

Deno.test("ServerSession goes from login to idle, and shows what the server reported", async () => {
  await using bench = await ServerBench.open();
  const peer = await bench.connect();
  assert.equal(bench.server.state.kind, "login");
  await peer.send(
    say.authentication(0),
    say.parameterStatus("TimeZone", "UTC"),
    say.parameterStatus("server_version", "18.0"),
    say.keyData(17, 4711),
    say.ready(),
  );
  await bench.settle();
  assert.deepEqual(bench.states, ["idle"]);
  assert.deepEqual([...bench.server.reported], [["TimeZone", "UTC"], ["server_version", "18.0"]]);
  assert.equal(bench.server.parameters.get("timezone"), "UTC");
  assert.equal(bench.server.cancelKey?.length, 8);
});

Deno.test("ServerSession takes what a server says right after its login, cut or whole", async () => {
  const report = say.parameterStatus("TimeZone", "Europe/Berlin");
  for (let cut = 0; cut <= report.length; cut++) {
    await using bench = await ServerBench.open();
    const peer = await bench.connect();
    await peer.send(say.authentication(0), say.ready(), report.subarray(0, cut));
    await bench.settle();
    await peer.send(report.subarray(cut));
    await bench.settle();
    assert.deepEqual(bench.states, ["idle"], `cut at ${cut}`);
    assert.equal(bench.server.parameters.get("TimeZone"), "Europe/Berlin");
  }
});

Deno.test("ServerSession does not become idle when a server goes down right after its login", async () => {
  await using bench = await ServerBench.open();
  const peer = await bench.connect();
  const farewell = say.error("57P01", "going down", "FATAL");
  await peer.send(say.authentication(0), say.ready(), farewell);
  await bench.ended();
  assert.deepEqual(bench.states, ["closed"]);
  assert.equal(bench.end().reason, "idle server got dirty: going down");
});

Deno.test("ServerSession runs connect_query before it is idle", async () => {
  await using bench = await ServerBench.open({ connectQuery: "set work_mem = '1GB'" });
  const peer = await bench.logIn();
  assert.equal(bench.server.state.kind, "login");
  assert.equal(await peer.receiveText(), "Q set work_mem = '1GB'");
  await peer.send(say.complete("SET"), say.ready());
  await bench.settle();
  assert.equal(bench.server.state.kind, "idle");
});

Deno.test("ServerSession is refused when connect_query fails", async () => {
  await using bench = await ServerBench.open({ connectQuery: "nonsense" });
  const peer = await bench.logIn();
  await peer.send(say.error("42601", "syntax error"), say.ready());
  await bench.ended();
  const { error, kind, reason } = bench.end();
  assert.deepEqual([reason, kind], ["exec_on_connect query failed: syntax error", "refused"]);
  assert.deepEqual([error.sqlstate, error.message], ["42601", "syntax error"]);
});

Deno.test("ServerSession that leaves connect_query in a transaction is refused", async () => {
  await using bench = await ServerBench.open({ connectQuery: "begin" });
  const peer = await bench.logIn();
  await peer.send(say.complete("BEGIN"), say.ready("T"));
  await bench.ended();
  const { error, kind, reason } = bench.end();
  const told = "connect_query left a transaction open";
  assert.deepEqual([reason, kind], [`exec_on_connect query failed: ${told}`, "refused"]);
  assert.equal(error.message, told);
});

Deno.test("ServerSession that cannot connect is unreachable, and says where", async () => {
  await using bench = await ServerBench.open();
  bench.network.obstruct(bench.server.address, "refused");
  bench.run();
  await bench.ended();
  const { error, kind, reason } = bench.end();
  assert.deepEqual([reason, kind], ["connect failed (connection refused)", "unreachable"]);
  assert.deepEqual([error.sqlstate, error.message], ["08001", "connect failed"]);
  assert.deepEqual(bench.unreachable, [bench.server.address]);
});

Deno.test("ServerSession that the server refuses keeps the server's own words", async () => {
  await using bench = await ServerBench.open();
  const peer = await bench.connect();
  await peer.send(say.error("53300", "sorry, too many clients already", "FATAL"));
  await bench.ended();
  const { error, kind, reason } = bench.end();
  assert.equal(kind, "refused");
  assert.deepEqual([error.sqlstate, error.message], ["53300", "sorry, too many clients already"]);
  assert.equal(reason, "server login failed: FATAL sorry, too many clients already");
});

for (
  const [what, bytes, sqlstate] of [
    ["closes", new Uint8Array(), "08006"],
    ["talks nonsense", utf8("220 smtp ready\r\n"), "08P01"],
  ] as const
) {
  Deno.test(`ServerSession whose server ${what} during the login is unreachable`, async () => {
    await using bench = await ServerBench.open();
    const peer = await bench.connect();
    await peer.send(bytes);
    peer.close();
    await bench.ended();
    const { error, kind } = bench.end();
    assert.equal(kind, "unreachable");
    assert.equal(error.sqlstate, sqlstate);
  });
}

const NOT_UNDERSTOOD = say.error("0A000", "unsupported frontend protocol 3.2", "FATAL");

Deno.test("ServerSession hangs up on who refuses 3.2, and logs in with 3.0", async () => {
  const old: string[] = [];
  await using bench = await ServerBench.open({
    protocolMinor: 2,
    onOldProtocol: ({ kind }) => old.push(kind),
  });
  const first = await bench.connect();
  await first.send(NOT_UNDERSTOOD);
  const second = await bench.accept();
  assert.equal(await first.receive(), undefined);
  assert.equal(readInt32(await second.startup()), 3 << 16);
  await second.send(say.authentication(0), say.keyData(17, 4711), say.ready());
  await bench.settle();
  assert.deepEqual([bench.states, old], [["idle"], ["tcp"]]);
});

Deno.test("ServerSession that has ended tries no other version", async () => {
  await using bench = await ServerBench.open({ protocolMinor: 2 });
  await bench.connect();
  bench.server.expireLogin();
  await bench.ended();
  assert.equal(bench.network.connections.length, 1);
  assert.equal(bench.end().reason, "connect timeout");
});

Deno.test("ServerSession reports the second answer when both versions come to nothing", async () => {
  const old: string[] = [];
  await using bench = await ServerBench.open({
    protocolMinor: 2,
    onOldProtocol: ({ kind }) => old.push(kind),
  });
  await (await bench.connect()).send(NOT_UNDERSTOOD);
  const second = await bench.accept();
  await second.startup();
  await second.send(say.error("53300", "sorry, too many clients already", "FATAL"));
  await bench.ended();
  const { error, kind } = bench.end();
  assert.deepEqual([kind, error.sqlstate, old], ["refused", "53300", []]);
});

Deno.test("ServerSession.expireLogin() gives up a login, also before there is a connection", async () => {
  for (const isConnected of [false, true]) {
    await using bench = await ServerBench.open();
    if (isConnected) await bench.connect();
    else {
      bench.network.obstruct(bench.server.address, "black hole");
      bench.run();
      await eventTurn();
    }
    bench.server.expireLogin();
    const { error, kind, reason } = bench.end();
    assert.deepEqual([reason, kind, error.sqlstate], ["connect timeout", "unreachable", "08001"]);
    bench.network.obstruct(bench.server.address, undefined);
    await bench.settle();
    if (isConnected) await bench.ended();
  }
});

Deno.test("ServerSession that was discarded while it dialed calls that off", async () => {
  await using bench = await ServerBench.open();
  bench.run();
  bench.server.discard("pool closed");
  await bench.ended();
  await bench.settle();
  assert.equal(bench.server.stream, undefined);
  assert.deepEqual(bench.states, ["closed"]);
});
