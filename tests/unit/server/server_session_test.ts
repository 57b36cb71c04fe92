import assert from "node:assert/strict";
import { backend as say, frontend, join, message, utf8 } from "../../support/messages.ts";
import { serverLabel } from "../../../src/server/server_log.ts";
import { RecordingTaker, ServerBench } from "./server_bench.ts";

// --- idle ---

/** What an idle server may say, and what closes it: of a notice in pieces the words are missing. */
const UNASKED: readonly (readonly [
  what: string,
  bytes: Uint8Array,
  reason: string | undefined,
  reasonIfCut?: string,
])[] = [
  ["ParameterStatus", say.parameterStatus("TimeZone", "UTC"), undefined],
  ["NotificationResponse", say.notification("news", "hear"), undefined],
  [
    "ErrorResponse",
    say.error("57P01", "going down", "FATAL"),
    "idle server got dirty: going down",
  ],
  ["NoticeResponse", say.notice("crash"), "idle server got dirty: crash", "idle server got dirty"],
  ["DataRow", say.dataRow(["1"]), "idle server got dirty"],
  ["ReadyForQuery", say.ready(), "idle server got dirty"],
  ["a message of an unknown type", message("~", utf8("?")), "idle server got dirty"],
  [
    "a length that cannot be",
    new Uint8Array([0x41, 0, 0, 0, 0]),
    "bad packet header: '4100000000'",
  ],
];

for (const [what, bytes, reason, reasonIfCut = reason] of UNASKED) {
  const does = reason === undefined ? "stays idle" : "is closed";
  for (const isCut of [false, true]) {
    const how = isCut ? `${what}, byte by byte` : what;
    Deno.test(`ServerSession that is idle ${does} after ${how}`, async () => {
      await using bench = await ServerBench.open();
      const peer = await bench.logIn();
      bench.network.rules.chunking = isCut ? "bytes" : "whole";
      await peer.send(bytes);
      await bench.settle();
      if (reason === undefined) assert.equal(bench.server.state.kind, "idle");
      else assert.equal(bench.end().reason, isCut ? reasonIfCut : reason);
    });
  }
}

Deno.test("ServerSession that is idle takes over what the server reports", async () => {
  await using bench = await ServerBench.open();
  const peer = await bench.logIn();
  await peer.send(say.parameterStatus("TimeZone", "Europe/Berlin"));
  await bench.settle();
  assert.equal(bench.server.parameters.get("TimeZone"), "Europe/Berlin");
});

Deno.test("ServerSession that reports more parameters than it may remember is closed", async () => {
  await using bench = await ServerBench.open();
  const peer = await bench.logIn();
  await peer.send(
    ...Array.from({ length: 200 }, (_, i) => say.parameterStatus(`ext.p${i}`, "x")),
  );
  await bench.settle();
  assert.equal(bench.end().reason, "too many parameters reported");
});

Deno.test("ServerSession notices at once that an idle server has died", async () => {
  await using bench = await ServerBench.open();
  const peer = await bench.logIn();
  peer.close();
  await bench.ended();
  assert.equal(bench.end().reason, "server conn crashed?");
});

Deno.test("ServerSession closes an idle server that begins what it need not say at once", async () => {
  await using bench = await ServerBench.open();
  const peer = await bench.logIn();
  // More than is held: a client linked now would get the rest of it.
  const huge = say.notification("news", "x".repeat(100_000));
  await peer.send(huge.subarray(0, 70_000));
  await bench.settle();
  assert.equal(bench.end().reason, "idle server got dirty");
});

// --- linked ---

Deno.test("ServerSession hands a linked client all that comes, in pieces as it comes", async () => {
  await using bench = await ServerBench.open();
  const peer = await bench.logIn();
  const taker = bench.link();
  await peer.send(say.dataRow(["one"]), say.complete("SELECT 1"), say.ready());
  await bench.settle();
  assert.deepEqual(taker.received.map((piece) => piece[0]), ["D", "C", "Z"]);
  const row = say.dataRow(["two"]);
  await peer.send(row.subarray(0, 12));
  await bench.settle();
  await peer.send(row.subarray(12));
  await bench.settle();
  assert.equal(taker.received.length, 5);
  assert.match(taker.received[4]!, /^…/);
});

Deno.test("ServerSession reads no more while its client's write waits", async () => {
  await using bench = await ServerBench.open();
  const peer = await bench.logIn();
  const taker = bench.link();
  const gate = Promise.withResolvers<void>();
  taker.hold = gate.promise;
  await peer.send(say.dataRow(["one"]));
  await bench.settle();
  taker.hold = undefined;
  await peer.send(say.dataRow(["two"]));
  await bench.settle();
  assert.equal(taker.received.length, 1);
  gate.resolve();
  await bench.settle();
  assert.equal(taker.received.length, 2);
});

Deno.test("ServerSession tells its client when the server is lost", async () => {
  await using bench = await ServerBench.open();
  const peer = await bench.logIn();
  const taker = bench.link();
  peer.close();
  await bench.ended();
  const [end] = taker.ends;
  assert.equal(end?.reason, "server conn crashed?");
  assert.equal(end?.error.sqlstate, "08006");
  assert.equal(end?.kind, "served");
});

Deno.test("ServerSession tells its client when the server breaks the protocol", async () => {
  await using bench = await ServerBench.open();
  const peer = await bench.logIn();
  const taker = bench.link();
  await peer.send(new Uint8Array([0x44, 0, 0, 0, 1, 0]));
  await bench.ended();
  const [end] = taker.ends;
  assert.equal(end?.error.sqlstate, "08P01");
  assert.match(end!.error.message, /^server sent: bad packet header/);
});

Deno.test("ServerSession.runOwnQuery() keeps the answer from the client, and no more than that", async () => {
  await using bench = await ServerBench.open();
  const peer = await bench.logIn();
  const taker = bench.link();
  let status: number | undefined;
  bench.server.runOwnQuery("set TimeZone = 'UTC'", (result) => {
    status = result.status;
  });
  assert.equal(await peer.receiveText(), "Q set TimeZone = 'UTC'");
  const answer = [say.complete("SET"), say.parameterStatus("TimeZone", "UTC"), say.ready()];
  // What follows in the same breath is the client's already.
  await peer.send(...answer, say.parameterStatus("is_superuser", "on"), say.notice("hear"));
  await bench.settle();
  assert.equal(status, 0x49);
  assert.deepEqual(taker.received.map((piece) => piece[0]), ["S", "N"]);
  assert.equal(bench.server.parameters.get("TimeZone"), "UTC");
});

Deno.test("ServerSession lets a client begin with an own query of its own after the reset", async () => {
  await using bench = await ServerBench.open({ upkeep: { resetQuery: "DISCARD ALL" } });
  const peer = await bench.logIn();
  const second = new RecordingTaker();
  let isSet = false;
  bench.onState = (server) => {
    if (server.state.kind !== "idle") return;
    server.link(second);
    server.runOwnQuery("set TimeZone = 'UTC'", () => {
      isSet = true;
    });
  };
  bench.link();
  bench.server.release(true);
  await peer.receive();
  await peer.send(say.complete("DISCARD ALL"), say.ready(), say.notification("news", "hear"));
  assert.equal(await peer.receiveText(), "Q set TimeZone = 'UTC'");
  await peer.send(say.complete("SET"), say.ready());
  await bench.settle();
  assert.equal(isSet, true);
  assert.deepEqual(second.received, []);
});

Deno.test("ServerSession does not begin a link in the middle of a notification", async () => {
  await using bench = await ServerBench.open();
  const peer = await bench.logIn();
  const notification = say.notification("news", "hear");
  await peer.send(notification.subarray(0, 9));
  await bench.settle();
  const taker = bench.link();
  await peer.send(notification.subarray(9), say.ready());
  await bench.settle();
  assert.deepEqual(taker.received.map((piece) => piece[0]), ["A", "Z"]);
});

// --- cancel and doom ---

Deno.test("ServerSession is kept from others until every cancel request has ended", async () => {
  await using bench = await ServerBench.open();
  await bench.logIn();
  bench.link();
  bench.server.beginCancel();
  bench.server.beginCancel();
  bench.server.release(true);
  assert.equal(bench.server.state.kind, "being_canceled");
  bench.server.endCancel();
  assert.equal(bench.server.state.kind, "being_canceled");
  bench.server.endCancel();
  assert.equal(bench.server.state.kind, "idle");
});

Deno.test("ServerSession runs the reset query only when the cancel requests have ended", async () => {
  await using bench = await ServerBench.open({ upkeep: { resetQuery: "DISCARD ALL" } });
  const peer = await bench.logIn();
  bench.link();
  bench.server.beginCancel();
  bench.server.release(true);
  assert.equal(bench.server.state.kind, "being_canceled");
  bench.server.endCancel();
  assert.equal(bench.server.state.kind, "tested");
  assert.equal(await peer.receiveText(), "Q DISCARD ALL");
});

Deno.test("ServerSession whose cancel request ends while it is linked stays linked", async () => {
  await using bench = await ServerBench.open();
  await bench.logIn();
  bench.link();
  bench.server.beginCancel();
  bench.server.endCancel();
  assert.equal(bench.server.state.kind, "active");
  bench.server.release(true);
  assert.equal(bench.server.state.kind, "idle");
});

Deno.test("ServerSession that is lost while it is being cancelled stays closed", async () => {
  await using bench = await ServerBench.open();
  const peer = await bench.logIn();
  bench.link();
  bench.server.beginCancel();
  bench.server.release(true);
  peer.close();
  await bench.ended();
  bench.server.endCancel();
  assert.equal(bench.server.state.kind, "closed");
});

Deno.test("ServerSession.doom() closes a free server at once", async () => {
  for (const isUsed of [false, true]) {
    await using bench = await ServerBench.open();
    await bench.logIn();
    if (isUsed) bench.server.retire();
    bench.server.doom("connect string changed");
    assert.equal(bench.end().reason, "connect string changed");
  }
});

Deno.test("ServerSession.doom() closes a linked server when it is released", async () => {
  await using bench = await ServerBench.open();
  await bench.logIn();
  bench.link();
  bench.server.doom("connect string changed");
  assert.equal(bench.server.state.kind, "active");
  assert.equal(bench.server.isDoomed, true);
  bench.server.release(true);
  assert.equal(bench.end().reason, "connect string changed");
});

Deno.test("ServerSession.doom() closes a server when its login or its reset is done", async () => {
  await using during = await ServerBench.open();
  const peer = await during.connect();
  during.server.doom("connect string changed");
  await peer.send(say.authentication(0), say.ready());
  await during.settle();
  assert.equal(during.end().reason, "connect string changed");

  await using reset = await ServerBench.open({ upkeep: { resetQuery: "DISCARD ALL" } });
  const other = await reset.logIn();
  reset.link();
  reset.server.release(true);
  reset.server.doom("connect string changed");
  await other.receive();
  await other.send(say.complete("DISCARD ALL"), say.ready());
  await reset.settle();
  assert.equal(reset.end().reason, "connect string changed");
});

Deno.test("ServerSession gives the next client nothing of the one before, in the same chunk", async () => {
  await using bench = await ServerBench.open();
  const peer = await bench.logIn();
  const first = bench.link();
  const second = new RecordingTaker();
  bench.onState = (server) => {
    if (server.state.kind === "idle") server.link(second);
  };
  await peer.send(say.complete("SELECT 1"), say.ready());
  await bench.settle();
  bench.server.release(true);
  await peer.send(say.complete("SELECT 2"), say.ready());
  await bench.settle();
  assert.match(first.received[0]!, /SELECT 1/);
  assert.match(second.received[0]!, /SELECT 2/);
  assert.deepEqual([first.received.length, second.received.length], [2, 2]);
});

Deno.test("ServerSession takes a message that is cut at every byte as it takes it whole", async () => {
  const conversation = join(
    say.rowDescription(["a"]),
    say.dataRow(["1"]),
    say.parameterStatus("TimeZone", "UTC"),
    say.complete("SELECT 1"),
    say.ready(),
  );
  for (let cut = 0; cut <= conversation.length; cut++) {
    await using bench = await ServerBench.open();
    const peer = await bench.logIn();
    const taker = bench.link();
    await peer.send(conversation.subarray(0, cut));
    await bench.settle();
    await peer.send(conversation.subarray(cut));
    await bench.settle();
    const types = taker.received.filter((piece) => !piece.startsWith("…")).map(([type]) => type);
    assert.deepEqual(types.join(""), "TDSCZ", `cut at ${cut}`);
  }
});

Deno.test("ServerSession sends a client's bytes on as they are", async () => {
  await using bench = await ServerBench.open();
  const peer = await bench.logIn();
  bench.link();
  const bytes = frontend.query("select 1");
  await bench.server.write(bytes, 0, bytes.length);
  assert.equal(await peer.receiveText(), "Q select 1");
});

// --- the end ---

Deno.test("ServerSession says goodbye to a server that it leaves while it is free", async () => {
  await using bench = await ServerBench.open();
  const peer = await bench.logIn();
  bench.server.discard("server idle timeout");
  assert.equal((await peer.receive())?.type, "X");
  assert.equal(await peer.receive(), undefined);
  assert.equal(
    bench.log.at(-1)?.replace(/^.*?LOG /, ""),
    `${serverLabel(bench.server)} closing because: server idle timeout (age=0s)`,
  );
});

Deno.test("ServerSession that is closed twice is closed once", async () => {
  await using bench = await ServerBench.open();
  await bench.logIn();
  bench.server.discard("first");
  bench.server.discard("second");
  bench.server.expireLogin();
  assert.deepEqual(bench.states, ["idle", "closed"]);
  assert.equal(bench.end().reason, "first");
});
