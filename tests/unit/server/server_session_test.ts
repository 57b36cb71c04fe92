import assert from "node:assert/strict";
import { eventTurn } from "../../support/event_turn.ts";
import {
  backend as say,
  frontend,
  join,
  message,
  readInt32,
  utf8,
} from "../../support/messages.ts";
import { type Peer, RecordingTaker, ServerBench } from "./server_bench.ts";
import { serverLabel } from "../../../src/server/server_session.ts";

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
  assert.deepEqual([reason, kind], ["exec_on_connect query failed", "refused"]);
  assert.deepEqual([error.sqlstate, error.message], ["42601", "syntax error"]);
});

Deno.test("ServerSession that leaves connect_query in a transaction is refused", async () => {
  await using bench = await ServerBench.open({ connectQuery: "begin" });
  const peer = await bench.logIn();
  await peer.send(say.complete("BEGIN"), say.ready("T"));
  await bench.ended();
  assert.equal(bench.end().kind, "refused");
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

// --- idle ---

/** What an idle server may say, and what closes it. */
const UNASKED: readonly (readonly [what: string, bytes: Uint8Array, reason: string | undefined])[] =
  [
    ["ParameterStatus", say.parameterStatus("TimeZone", "UTC"), undefined],
    ["NotificationResponse", say.notification("news", "hear"), undefined],
    [
      "ErrorResponse",
      say.error("57P01", "going down", "FATAL"),
      "idle server got dirty: going down",
    ],
    ["NoticeResponse", say.notice("by the way"), "idle server got dirty"],
    ["DataRow", say.dataRow(["1"]), "idle server got dirty"],
    ["ReadyForQuery", say.ready(), "idle server got dirty"],
    ["a message of an unknown type", message("~", utf8("?")), "idle server got dirty"],
    [
      "a length that cannot be",
      new Uint8Array([0x41, 0, 0, 0, 0]),
      "bad packet header: '4100000000'",
    ],
  ];

for (const [what, bytes, reason] of UNASKED) {
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
      else assert.equal(bench.end().reason, reason);
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

Deno.test("ServerSession that reports more parameters than it may remember is closed", async () => {
  await using bench = await ServerBench.open();
  const peer = await bench.logIn();
  await peer.send(
    ...Array.from({ length: 200 }, (_, i) => say.parameterStatus(`ext.p${i}`, "x")),
  );
  await bench.settle();
  assert.equal(bench.end().reason, "too many parameters reported");
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
  assert.equal(bench.end().reason, "idle server got dirty");
});

Deno.test("ServerSession.retire() keeps the moment since which the server is idle", async () => {
  await using bench = await ServerBench.open();
  await bench.logIn();
  const { sinceMs } = bench.server.state;
  bench.clock.advance(5_000);
  bench.server.retire();
  assert.equal(bench.server.state.sinceMs, sinceMs);
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
