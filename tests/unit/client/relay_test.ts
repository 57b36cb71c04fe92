/** When a link begins and when it ends, in the three modes. */

import assert from "node:assert/strict";
import { backend as say, frontend, readReport, utf8 } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import type { TestClient } from "../../support/test_client.ts";
import { suspend } from "../app/operations_fixture.ts";

/** A world with one server for all. */
function oneServer(mode: string, lines = ""): Promise<PoolerWorld> {
  return PoolerWorld.open({ pooler: `pool_mode = "${mode}"\ndefault_pool_size = 1\n${lines}` });
}

/** How many servers are linked after the client has sent this and everything has come to rest. */
async function linkedAfter(
  world: PoolerWorld,
  client: TestClient,
  ...messages: readonly Uint8Array[]
): Promise<number> {
  await client.send(...messages);
  await world.settle();
  world.check();
  return world.pool().servers.active.size;
}

const SELECT = frontend.query("select 1");

/** Longer than what is held to be looked at. */
const LONG_SELECT = frontend.query(`select '${"x".repeat(9_000)}'`);

Deno.test("Relay in transaction mode gives the server back when a query outside a transaction is done", async () => {
  await using world = await oneServer("transaction");
  const client = await world.login();
  assert.equal(await linkedAfter(world, client, SELECT), 0);
  assert.equal(client.status, "I");
  client.close();
});

Deno.test("Relay in transaction mode keeps the server to the end of the transaction", async () => {
  await using world = await oneServer("transaction");
  const client = await world.login();
  assert.equal(await linkedAfter(world, client, frontend.query("begin")), 1);
  assert.equal(await linkedAfter(world, client, SELECT), 1);
  assert.equal(await linkedAfter(world, client, frontend.query("error 22012")), 1);
  assert.equal(await linkedAfter(world, client, frontend.query("rollback")), 0);
  client.close();
});

Deno.test("Relay in session mode keeps the server to the end of the session, then resets it", async () => {
  await using world = await oneServer("session");
  const client = await world.login();
  assert.equal(world.pool().servers.active.size, 0);
  assert.equal(await linkedAfter(world, client, SELECT), 1);
  await client.terminate();
  await world.settle();
  assert.deepEqual([world.pool().servers.active.size, world.pool().servers.idle.length], [0, 1]);
  assert.deepEqual(world.postgres.ran.map(({ sql }) => sql), ["select 1", "DISCARD ALL"]);
});

Deno.test("Relay in statement mode gives the server back after each statement", async () => {
  await using world = await oneServer("statement");
  const client = await world.login();
  assert.equal(await linkedAfter(world, client, SELECT), 0);
  client.close();
});

for (
  const [what, answer, messages] of [
    ["BEGIN", "C", [frontend.query("begin")]],
    ["BEGIN in a list of statements", "TDCC", [frontend.query("select 1; begin")]],
    ["BEGIN behind another query", "TDCZC", [SELECT, frontend.query("begin")]],
    [
      "BEGIN in the extended protocol",
      "12C",
      [frontend.parse("begin"), frontend.bind(), frontend.execute(), frontend.sync()],
    ],
  ] as const
) {
  Deno.test(`Relay in statement mode refuses ${what} in place of its ReadyForQuery, and closes both`, async () => {
    await using world = await oneServer("statement");
    const client = await world.login();
    assert.equal(await linkedAfter(world, client, ...messages), 0);
    const messagesReceived = await client.receiveUntilEnd();
    const last = messagesReceived.at(-1)!;
    const { message, severity, sqlstate } = readReport(last.body);
    assert.deepEqual([severity, sqlstate, message], [
      "FATAL",
      "0A000",
      "transaction blocks not allowed in statement pooling mode",
    ]);
    const types = messagesReceived.map(({ type }) => type).join("");
    assert.equal(types, `${answer}E`, "what was answered is told, however it was cut");
    assert.equal(world.postgres.live.length, 0);
    client.close();
  });
}

Deno.test("Relay takes statement mode's error for a message of its own, wherever the reply is cut", async () => {
  await using world = await oneServer("statement");
  for (const chunking of ["bytes", "random"] as const) {
    world.network.rules.chunking = chunking;
    for (let i = 0; i < 10; i++) {
      const client = await world.login();
      await client.send(frontend.query("rows 3 'abc'; begin"));
      const types = (await client.receiveUntilEnd()).map(({ type }) => type).join("");
      assert.equal(types, "TDDDCCE");
      assert.equal(client.isMidMessage, false);
      client.close();
    }
  }
});

// --- what holds a server ---

/** Each is something after which the server must be kept, and what then ends the link. */
const HELD: readonly (readonly [string, readonly Uint8Array[], readonly Uint8Array[]])[] = [
  ["Parse without Sync", [frontend.parse("select 1")], [frontend.sync()]],
  [
    "Parse and Flush",
    [frontend.parse("select 1"), frontend.flush()],
    [frontend.sync()],
  ],
  [
    "a whole query with Flush",
    [frontend.parse("select 1"), frontend.bind(), frontend.execute(), frontend.flush()],
    [frontend.sync()],
  ],
  [
    "Parse behind a Sync",
    [frontend.sync(), frontend.parse("select 1")],
    [frontend.sync()],
  ],
  ["Close without Sync", [frontend.close("S", "x")], [frontend.sync()]],
  ["Describe that fails without Sync", [frontend.describe("S", "x")], [frontend.sync()]],
  ["COPY from the client", [frontend.query("copy t from stdin")], [frontend.copyDone()]],
  ["a running query", [frontend.query("select pg_sleep(1)")], []],
  [
    "a running query with another one behind it",
    [frontend.query("select pg_sleep(1)"), SELECT],
    [],
  ],
  ["a running function", [frontend.query("select pg_sleep(1)"), frontend.functionCall(1)], []],
  ["BEGIN", [frontend.query("begin")], [frontend.query("commit")]],
  ["a query that was not sent to its end", [LONG_SELECT.subarray(0, 5_000)], [
    LONG_SELECT.subarray(5_000),
  ]],
];

for (const [what, first, last] of HELD) {
  Deno.test(`Relay keeps the server for ${what}`, async () => {
    await using world = await oneServer("transaction");
    const client = await world.login();
    assert.equal(await linkedAfter(world, client, ...first), 1);
    const other = await world.login();
    assert.equal(await linkedAfter(world, other, SELECT), 1);
    assert.equal(world.pool().waiting.size, 1);
    world.postgres.wakeAll();
    assert.equal(await linkedAfter(world, client, ...last), 0);
    assert.deepEqual((await other.result()).rows, [["1"]]);
    client.close();
    other.close();
  });

  Deno.test(`Relay closes the server of a client that vanishes after ${what}, if told so`, async () => {
    await using world = await oneServer("transaction", 'on_client_loss = "close"');
    const client = await world.login();
    await linkedAfter(world, client, ...first);
    client.close();
    await world.settle();
    world.check();
    assert.equal(world.pool().servers.count, 0);
    world.postgres.wakeAll();
    await world.settle();
    assert.ok(world.hasLogged("client disconnect while server was not ready"));
    const other = await world.login();
    assert.deepEqual((await other.query("select session id")).rows[0]?.[0], "1002");
    other.close();
  });
}

/** None of these needs an answer, so none may make a client without a server wait for one. */
for (
  const [what, message] of [
    ["Flush", frontend.flush()],
    ["CopyData", frontend.copyData("late")],
    ["CopyDone", frontend.copyDone()],
    ["CopyFail", frontend.copyFail("late")],
  ] as const
) {
  Deno.test(`Relay drops ${what} of a client that has no server`, async () => {
    await using world = await oneServer("transaction");
    const client = await world.login();
    assert.equal(await linkedAfter(world, client, message), 0);
    assert.equal(world.clients[0]?.state.kind, "idle");
    const result = await client.query("select 1");
    assert.equal(result.types, "TDCZ");
    assert.equal(world.postgres.backends[0]?.received, "Q");
    client.close();
  });
}

Deno.test("Relay drops late CopyData however it is cut", async () => {
  await using world = await oneServer("transaction");
  const client = await world.login();
  const data = frontend.copyData("late ".repeat(20));
  for (let cut = 0; cut < data.length; cut += 7) {
    await linkedAfter(world, client, data.subarray(0, cut));
    assert.equal(await linkedAfter(world, client, data.subarray(cut)), 0);
  }
  assert.equal((await client.query("select 1")).types, "TDCZ");
  client.close();
});

// --- several requests ---

Deno.test("Relay waits for every ReadyForQuery that is due before it gives the server back", async () => {
  await using world = await oneServer("transaction");
  const client = await world.login();
  const requests = [
    frontend.query("select pg_sleep(1)"),
    SELECT,
    frontend.sync(),
    frontend.functionCall(1),
  ];
  assert.equal(await linkedAfter(world, client, ...requests), 1);
  world.postgres.wakeAll();
  await world.settle();
  assert.equal(world.pool().servers.active.size, 0);
  const types = [];
  for (let i = 0; i < 4; i++) types.push((await client.result()).types);
  assert.deepEqual(types, ["TDCZ", "TDCZ", "Z", "VZ"]);
  client.close();
});

Deno.test("Relay takes one ReadyForQuery for many results, none and an empty query", async () => {
  await using world = await oneServer("transaction");
  const client = await world.login();
  for (
    const [sql, types] of [["select 1; select 1", "TDCTDCZ"], ["", "IZ"], [";;", "IZ"]] as const
  ) {
    await client.send(frontend.query(sql));
    assert.equal((await client.result()).types, types);
    await world.settle();
    assert.equal(world.pool().servers.active.size, 0);
  }
  client.close();
});

Deno.test("Relay gives the server back after an error that skipped messages up to Sync", async () => {
  await using world = await oneServer("transaction");
  const client = await world.login();
  await client.send(
    ...[frontend.parse("error 22012"), frontend.bind(), frontend.execute()],
    ...[frontend.parse("select 1"), frontend.bind(), frontend.execute(), frontend.sync()],
    ...[frontend.parse("select 1"), frontend.bind(), frontend.execute(), frontend.sync()],
  );
  assert.equal((await client.result()).types, "12EZ");
  assert.equal((await client.result()).types, "12DCZ");
  await world.settle();
  assert.equal(world.pool().servers.active.size, 0);
  client.close();
});

Deno.test("Relay does not let the unnamed statement pass to another server before its Sync", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 2" });
  const [client, other] = [await world.login(), await world.login()];
  await client.send(frontend.parse("select 'mine'"), frontend.flush());
  assert.equal((await client.receive())?.type, "1");
  assert.equal((await other.extended("select 'other'")).rows[0]?.[0], "other");
  await client.send(frontend.bind(), frontend.execute(), frontend.sync());
  assert.deepEqual((await client.result()).rows, [["mine"]]);
  client.close();
  other.close();
});

Deno.test("Relay serves those who wait in the order in which they came", async () => {
  await using world = await oneServer("transaction");
  const holder = await world.login();
  await holder.query("begin");
  const waiting: TestClient[] = [];
  for (let i = 0; i < 5; i++) {
    const client = await world.login();
    await client.send(frontend.query(`select '${i}'`));
    await world.settle();
    waiting.push(client);
  }
  await holder.query("commit");
  for (const client of waiting) await client.result();
  const order = world.postgres.ran.map(({ sql }) => sql).filter((sql) => sql.startsWith("select"));
  assert.deepEqual(order, ["'0'", "'1'", "'2'", "'3'", "'4'"].map((text) => `select ${text}`));
  for (const client of [holder, ...waiting]) client.close();
});

// --- Terminate ---

Deno.test("Relay hands on a query that came in one breath with Terminate, and closes both", async () => {
  await using world = await oneServer("transaction");
  const client = await world.login();
  await client.send(frontend.query("select 'last words'"), frontend.terminate());
  await client.receiveUntilEnd();
  client.close();
  await world.settle();
  assert.equal(world.postgres.ran[0]?.sql, "select 'last words'");
  assert.equal(world.pooler.clients.count, 0);
  assert.equal(world.pool().servers.active.size, 0);
});

Deno.test("Relay ends a client that says Terminate, and keeps a clean server", async () => {
  await using world = await oneServer("transaction");
  const client = await world.login();
  await client.query("select 1");
  await client.send(frontend.terminate(), frontend.query("never"));
  await client.receiveUntilEnd();
  await world.settle();
  assert.ok(world.hasLogged("closing because: client close request"));
  assert.equal(world.pool().servers.idle.length, 1);
  assert.deepEqual(world.postgres.ran.map(({ sql }) => sql), ["select 1"]);
  client.close();
});

Deno.test("Relay closes the server of a client that says Terminate in a transaction, if told so", async () => {
  await using world = await oneServer("session", 'on_client_loss = "close"');
  const client = await world.login();
  await client.query("begin");
  await client.terminate();
  await world.settle();
  assert.equal(world.pool().servers.count, 0);
});

// --- bad clients ---

for (
  const [what, bytes, expected] of [
    ["an unknown message", utf8("!\0\0\0\x04"), /^unknown pkt: '!'$/],
    ["a password", frontend.password(utf8("x\0")), /^unknown pkt: 'p'$/],
    ["a length below four", utf8("Q\0\0\0\x03"), /^bad packet header: '5100000003'$/],
    ["a negative length", new Uint8Array([0x51, 255, 255, 255, 255]), /^bad packet header/],
    ["a startup packet", frontend.startup({ user: "ada" }), /^bad packet header|^unknown pkt/],
  ] as const
) {
  Deno.test(`Relay refuses ${what} from an idle client`, async () => {
    await using world = await oneServer("transaction");
    const client = await world.login();
    await client.send(bytes);
    const [told] = await client.receiveUntilEnd();
    const { message, severity, sqlstate } = readReport(told!.body);
    assert.deepEqual([severity, sqlstate], ["FATAL", "08P01"]);
    assert.match(message, expected);
    client.close();
    await world.settle();
    assert.equal(world.pool().servers.idle.length, 1);
  });

  Deno.test(`Relay refuses ${what} from a linked client and closes its server`, async () => {
    await using world = await oneServer("transaction");
    const client = await world.login();
    await client.query("begin");
    await client.send(bytes);
    const [told] = await client.receiveUntilEnd();
    assert.equal(readReport(told!.body).sqlstate, "08P01");
    client.close();
    await world.settle();
    assert.equal(world.pool().servers.count, 0);
  });
}

Deno.test("Relay refuses a message over max_packet_size, in either direction", async () => {
  await using world = await oneServer("transaction", "max_packet_size = 2048");
  const client = await world.login();
  await client.send(frontend.query(`select '${"x".repeat(2_500)}'`));
  const [told] = await client.receiveUntilEnd();
  const { message, severity, sqlstate } = readReport(told!.body);
  assert.deepEqual([severity, sqlstate], ["FATAL", "08P01"]);
  assert.match(message, /^bad packet header: .* \(2514 bytes, max_packet_size is 2048\)$/);
  client.close();
  assert.deepEqual(world.postgres.ran, [], "Nothing of it was sent on");
  const reader = await world.login();
  assert.equal((await reader.query(`select '${"x".repeat(1_900)}'`)).types, "TDCZ");
  await reader.query("begin");
  await world.postgres.backends[0]!.speak(say.dataRow(["x".repeat(2_500)]));
  const [answer] = await reader.receiveUntilEnd();
  const report = readReport(answer!.body);
  assert.deepEqual([report.severity, report.sqlstate], ["FATAL", "08P01"]);
  assert.match(report.message, /^server sent: bad packet header: .*max_packet_size is 2048/);
  await world.settle();
  assert.equal(world.pool().servers.count, 0);
  reader.close();
});

Deno.test("Relay gives a client half of a message, and no error behind it, when the next one is too long", async () => {
  await using world = await oneServer("transaction", "max_packet_size = 2048");
  const client = await world.login();
  await client.query("begin");
  const [backend] = world.postgres.backends;
  const row = say.dataRow(["y".repeat(1_500)]);
  await backend!.speak(row.subarray(0, 700));
  await world.settle();
  await backend!.speak(row.subarray(700), say.dataRow(["x".repeat(2_500)]));
  assert.deepEqual(await client.receiveUntilEnd(), []);
  client.close();
});

Deno.test("Relay with disable_pqexec serves the extended protocol and ends who sends a Query", async () => {
  await using world = await oneServer("transaction", "disable_pqexec = true");
  const client = await world.login();
  assert.equal((await client.extended("select 1")).types, "12TDCZ");
  const { received } = world.postgres.backends[0]!;
  await client.send(
    frontend.parse("", "select 1"),
    frontend.query("select 1"),
    frontend.query("select 2"),
  );
  const reports = (await client.receiveUntilEnd()).map(({ body }) => readReport(body));
  assert.deepEqual(
    reports.map(({ message, severity, sqlstate }) => [severity, sqlstate, message]),
    [
      ["FATAL", "0A000", "PQexec disallowed"],
    ],
  );
  assert.equal(world.postgres.backends[0]!.received, received, "Nothing of it was sent on");
  client.close();
});

Deno.test("Relay with disable_pqexec closes the server of who sends a Query in a transaction", async () => {
  await using world = await oneServer("transaction", "disable_pqexec = true");
  const client = await world.login();
  await client.extended("begin");
  await client.send(SELECT);
  assert.equal(await client.lastWords(), "FATAL 0A000 PQexec disallowed");
  await world.settle();
  assert.equal(world.pool().servers.count, 0);
});

Deno.test("Relay with disable_pqexec refuses a Query that was held by SUSPEND", async () => {
  await using world = await oneServer("transaction", "disable_pqexec = true");
  const client = await world.login();
  const { operations } = world.pooler;
  const suspending = suspend(operations);
  await world.settle();
  assert.equal(suspending.outcome, "done");
  await client.send(SELECT);
  await world.settle();
  operations.resume(undefined);
  assert.equal(await client.lastWords(), "FATAL 0A000 PQexec disallowed");
});

Deno.test("disable_pqexec leaves the console alone", async () => {
  await using world = await oneServer("transaction", 'disable_pqexec = true\nadmin_users = "ada"');
  const client = await world.login({ database: "pgbouncer" });
  assert.match((await client.query("show version")).types, /^TDCZ$/);
  client.close();
});

// --- bad servers ---

for (
  const [how, sqlstate, message] of [
    ["close", "08006", "server conn crashed?"],
    ["reset", "08006", "server conn crashed?"],
    ["garbage", "08P01", "server sent: bad packet header: '00ffffffff'"],
    ["bad_ready", "08P01", "server sent: bad ReadyForQuery"],
  ] as const
) {
  Deno.test(`Relay tells the client why when the server does this: ${how}`, async () => {
    await using world = await oneServer("transaction");
    const client = await world.login();
    await client.send(frontend.query(`misbehave ${how}`));
    const told = (await client.receiveUntilEnd()).at(-1)!;
    const fields = readReport(told.body);
    assert.deepEqual([fields.severity, fields.sqlstate, fields.message], [
      "FATAL",
      sqlstate,
      message,
    ]);
    client.close();
    await world.settle();
    assert.equal(world.pool().servers.count, 0);
  });
}

Deno.test("Relay leaves the last word to a server that says itself why it ends", async () => {
  await using world = await oneServer("transaction");
  const client = await world.login();
  await client.send(frontend.query("misbehave fatal"));
  const messages = await client.receiveUntilEnd();
  assert.deepEqual(messages.map(({ type }) => type), ["E"]);
  assert.equal(readReport(messages[0]!.body).sqlstate, "57P01");
  client.close();
});

Deno.test("Relay puts no error behind a message of which the client has a part only", async () => {
  await using world = await oneServer("transaction");
  const client = await world.login();
  await client.send(frontend.query("misbehave cut"));
  assert.deepEqual(await client.receiveUntilEnd(), []);
  assert.equal(client.isMidMessage, true);
  client.close();
});

Deno.test("Relay takes a second ReadyForQuery of a server for a reason not to pass it on", async () => {
  await using world = await oneServer("transaction");
  const client = await world.login();
  assert.equal((await client.query("misbehave second_ready")).types, "CZ");
  await world.settle();
  world.check();
  assert.equal(world.pool().servers.idle.length, 0);
  const other = await world.login();
  assert.deepEqual((await other.query("select session id")).rows[0]?.[0], "1002");
  client.close();
  other.close();
});

/** What a server may add to its last answer, cut from it or in one piece. */
for (
  const [what, bytes, isKept] of [
    ["ParameterStatus", say.parameterStatus("in_hot_standby", "on"), true],
    ["NotificationResponse", say.notification("news", "hear"), true],
    ["ErrorResponse", say.error("57P01", "going down", "FATAL"), false],
    ["DataRow", say.dataRow(["stray"]), false],
  ] as const
) {
  const does = isKept ? "keeps" : "closes";
  Deno.test(`Relay ${does} a server that sends ${what} behind its last answer, wherever it is cut`, async () => {
    for (let cut = 0; cut <= bytes.length; cut++) {
      await using world = await oneServer("transaction");
      const client = await world.login();
      const [backend] = world.postgres.backends;
      backend!.postscript = bytes.subarray(0, cut);
      await client.send(frontend.query("select 1"));
      await world.settle();
      const other = await world.login();
      await backend!.speak(bytes.subarray(cut));
      await world.settle();
      world.check();
      assert.equal(world.pool().servers.idle.length, isKept ? 1 : 0, `cut at ${cut}`);
      const types = (await client.receiveUntilReady()).map(({ type }) => type).join("");
      assert.equal(types, "TDCZ");
      for (const each of [client, other]) {
        assert.match((await each.query("select 1")).types, /^[SA]?TDCZ$/, `cut at ${cut}`);
      }
      client.close();
      other.close();
    }
  });
}

Deno.test("Relay keeps the link while a notice behind the last answer is cut, and closes an idle server for one", async () => {
  const notice = say.notice("by the way");
  for (let cut = 0; cut <= notice.length; cut++) {
    await using world = await oneServer("transaction");
    const client = await world.login();
    world.postgres.backends[0]!.postscript = notice.subarray(0, cut);
    await client.send(frontend.query("select 1"));
    await world.settle();
    world.check();
    const isHeld = cut > 0 && cut < notice.length;
    assert.equal(world.pool().servers.active.size, isHeld ? 1 : 0, `cut at ${cut}`);
    await world.postgres.backends[0]!.speak(notice.subarray(cut));
    await world.settle();
    assert.equal(world.pool().servers.idle.length, cut > 0 ? 1 : 0, `cut at ${cut}`);
    assert.equal((await client.result()).types, "TDCZ");
    assert.match((await client.query("select 1")).types, /^N?TDCZ$/);
    client.close();
  }
});

Deno.test("Relay closes a server whose answers may be out of step with what was asked", async () => {
  await using world = await oneServer("transaction");
  const client = await world.login();
  // With the Parse, which fails, the Query is skipped: the Sync is the first to be answered.
  await client.send(frontend.parse("no sql"), frontend.query("select 1"), frontend.sync());
  assert.equal((await client.result()).types, "EZ");
  await world.advance(2_000);
  assert.equal(world.pool().servers.idle.length, 0);
  assert.equal((await client.query("select session id")).rows[0]?.[0], "1002");
  client.close();
});

Deno.test("Relay keeps a server that answers a Query in place of a Sync", async () => {
  await using world = await oneServer("transaction");
  const client = await world.login();
  await client.send(frontend.parse("select 1"), frontend.query("select 1"), frontend.sync());
  assert.equal((await client.result()).types, "1TDCZ");
  assert.equal((await client.result()).types, "Z");
  await world.settle();
  assert.equal(world.pool().servers.idle.length, 1);
  client.close();
});

Deno.test("Relay counts queries, transactions and bytes", async () => {
  await using world = await oneServer("transaction");
  const client = await world.login();
  for (const sql of ["begin", "select 1", "commit", "select 1"]) await client.query(sql);
  await client.extended("select $1", ["x"]);
  await world.settle();
  const { bindCount, bytesReceived, bytesSent, clientParseCount, queryCount, xactCount } =
    world.pool().stats;
  assert.deepEqual({ bindCount, clientParseCount, queryCount, xactCount }, {
    bindCount: 1,
    clientParseCount: 1,
    queryCount: 5,
    xactCount: 3,
  });
  assert.ok(bytesReceived > 50 && bytesSent > 50);
  client.close();
});
