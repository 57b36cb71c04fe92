import assert from "node:assert/strict";
import v8 from "node:v8";
import vm from "node:vm";
import { int4, table } from "../../../src/admin/result_set.ts";
import { ALL_ROWS, rowsInSteps } from "../../../src/admin/selection.ts";
import { versionText } from "../../../src/admin/version.ts";
import { AssertionError } from "../../../src/base/assert.ts";
import { PgError, ProtocolError } from "../../../src/wire/pg_error.ts";
import { eventTurn } from "../../support/event_turn.ts";
import {
  backend,
  cstring,
  frontend,
  int16,
  int32,
  join,
  message,
  readValues,
} from "../../support/messages.ts";
import { messagesIn } from "./console_fixture.ts";
import { openSession } from "./open_session.ts";

const VERSION = join(
  backend.rowDescription(["version"]),
  backend.dataRow([versionText()]),
  backend.complete("SHOW"),
  backend.ready(),
);

/** Frees what nothing holds any more, so that the rest can be measured. */
function collectGarbage(): void {
  v8.setFlagsFromString("--expose-gc");
  vm.runInNewContext("gc")();
}

Deno.test("ConsoleSession answers a SHOW with its rows, its tag and ReadyForQuery", async () => {
  const { send, stream } = await openSession();
  await send(frontend.query("SHOW VERSION"));
  assert.deepEqual(stream.takeSent(), VERSION);
});

Deno.test("ConsoleSession reads messages cut at any offset", async () => {
  const { send, stream } = await openSession();
  const both = join(frontend.query("SHOW VERSION;"), frontend.query("show version"));
  for (let at = 0; at <= both.length; at++) {
    await send(both.subarray(0, at));
    await send(both.subarray(at));
    assert.deepEqual(stream.takeSent(), join(VERSION, VERSION));
  }
  for (const byte of both) await send(new Uint8Array([byte]));
  assert.deepEqual(stream.takeSent(), join(VERSION, VERSION));
});

Deno.test("ConsoleSession runs the commands of one chunk in order, one at a time", async () => {
  const { answers, fixture, send } = await openSession();
  const { promise, resolve } = Promise.withResolvers<void>();
  fixture.reloading = promise;
  const running = send(
    frontend.query("SHOW VERSION"),
    frontend.query("RELOAD"),
    frontend.query("SHUTDOWN WAIT_FOR_CLIENTS"),
  );
  await eventTurn();
  assert.deepEqual(answers(), ["T", "D", "C SHOW", "Z"]);
  assert.deepEqual(fixture.shutdowns, []);
  resolve();
  await running;
  assert.deepEqual(answers(), ["C RELOAD", "Z", "C SHUTDOWN", "Z"]);
});

Deno.test("ConsoleSession looks at the next command once the last answer was taken", async () => {
  const { fixture, send, stream } = await openSession();
  const { promise, resolve } = Promise.withResolvers<void>();
  stream.slowness = promise;
  let isDone = false;
  const running = send(frontend.query("SHOW VERSION"), frontend.query("RELOAD"))
    .then(() => isDone = true);
  await eventTurn();
  assert.equal(fixture.reloadCount, 0);
  assert.equal(isDone, false);
  stream.slowness = undefined;
  resolve();
  await running;
  assert.equal(fixture.reloadCount, 1);
});

Deno.test("ConsoleSession answers an empty query as such", async () => {
  const { send, stream } = await openSession();
  await send(frontend.query(""), frontend.query(" ; -- nothing"));
  const one = join(backend.empty(), backend.ready());
  assert.deepEqual(stream.takeSent(), join(one, one));
});

Deno.test("ConsoleSession quotes what is no command, and the client lives", async () => {
  const { client, report, send } = await openSession();
  for (const text of ["PAUSE NOW PLEASE", "SELECT 1", "SHOW LISTSS;", "SET pool_mode session"]) {
    await send(frontend.query(text));
    assert.deepEqual(report(), {
      severity: "ERROR",
      sqlstate: "42601",
      message: `invalid command '${text}', use SHOW HELP;`,
      types: "EZ",
    });
  }
  assert.ok(client.isOpen);
});

Deno.test("ConsoleSession quotes no more than the beginning of a long text", async () => {
  const { report, send } = await openSession();
  await send(frontend.query("x".repeat(60_000)));
  assert.equal(report().message, `invalid command '${"x".repeat(128)}', use SHOW HELP;`);
});

Deno.test("ConsoleSession answers a Sync alone, and no Flush", async () => {
  const { answers, send } = await openSession();
  await send(frontend.flush(), frontend.sync());
  assert.deepEqual(answers(), ["Z"]);
});

Deno.test("ConsoleSession refuses other messages, and the client lives", async () => {
  const { client, report, send } = await openSession();
  await send(frontend.functionCall(1));
  assert.deepEqual(report(), {
    severity: "ERROR",
    sqlstate: "08P01",
    message: "unsupported packet type for admin console: 70",
    types: "EZ",
  });
  assert.ok(client.isOpen);
});

Deno.test("ConsoleSession ends at Terminate and runs nothing after it", async () => {
  const { client, fixture, send, stream } = await openSession();
  await send(frontend.terminate(), frontend.query("RELOAD"));
  assert.equal(client.isOpen, false);
  assert.equal(fixture.reloadCount, 0);
  assert.deepEqual(stream.takeSent(), new Uint8Array());
  assert.match(fixture.logLines.join(""), /closing because: client close request/);
});

Deno.test("ConsoleSession does not answer a client that left meanwhile", async () => {
  const { client, fixture, send, stream } = await openSession();
  const { promise, resolve } = Promise.withResolvers<void>();
  fixture.reloading = promise;
  const running = send(frontend.query("RELOAD"), frontend.query("RELOAD"));
  client.end("client unexpected eof");
  resolve();
  await running;
  assert.equal(fixture.reloadCount, 1);
  assert.deepEqual(stream.takeSent(), new Uint8Array());
});

Deno.test("ConsoleSession says nothing after the error that ended its client", async () => {
  const { answers, client, fixture, send } = await openSession();
  const { promise, resolve } = Promise.withResolvers<void>();
  fixture.reloading = promise;
  const running = send(frontend.query("RELOAD"));
  client.end("pooler is shutting down", new PgError("57P01", "pooler is shutting down"));
  resolve();
  await running;
  assert.deepEqual(answers(), ["E 57P01"]);
});

Deno.test("ConsoleSession throws on messages that are too long or not what they should be", async () => {
  const bad = [
    frontend.query("x".repeat(65_536)),
    message("Q"),
    message("Q", new TextEncoder().encode("SHOW VERSION")),
    message("Q", cstring("SHOW VERSION"), cstring("more")),
    new Uint8Array([0x51, 0, 0, 0, 3, 0]),
  ];
  for (const bytes of bad) {
    const { send } = await openSession();
    await assert.rejects(send(bytes), ProtocolError);
  }
});

Deno.test("ConsoleSession holds a message of the greatest length", async () => {
  const { answers, send } = await openSession();
  const text = `SHOW VERSION${" ".repeat(65_536 - 5 - 1 - 12)}`;
  await send(frontend.query(text));
  assert.deepEqual(answers(), ["T", "D", "C SHOW", "Z"]);
});

Deno.test("RELOAD answers when the configuration is in force", async () => {
  const { answers, fixture, send } = await openSession();
  await send(frontend.query("reload;"));
  assert.equal(fixture.reloadCount, 1);
  assert.deepEqual(answers(), ["C RELOAD", "Z"]);
});

Deno.test("RELOAD of a bad configuration says so without its text", async () => {
  const { client, fixture, report, send } = await openSession();
  fixture.reloading = Promise.reject(new Error("config.toml:3: something private"));
  await send(frontend.query("RELOAD"));
  assert.deepEqual(report(), {
    severity: "ERROR",
    sqlstate: "F0000",
    message: "RELOAD failed, see logs for additional details",
    types: "EZ",
  });
  assert.ok(client.isOpen);
});

Deno.test("RELOAD does not hide a mistake of our own", async () => {
  const { fixture, send } = await openSession();
  fixture.reloading = Promise.reject(new AssertionError("broken"));
  await assert.rejects(send(frontend.query("RELOAD")), AssertionError);
});

Deno.test("SHUTDOWN is not answered", async () => {
  const { answers, fixture, send } = await openSession();
  await send(frontend.query("SHUTDOWN"));
  assert.deepEqual(fixture.shutdowns, ["immediate"]);
  assert.deepEqual(answers(), []);
});

Deno.test("SHUTDOWN WAIT_FOR_… is answered before it may end the console too", async () => {
  for (const mode of ["wait_for_servers", "wait_for_clients"] as const) {
    const { answers, client, fixture, send } = await openSession();
    let answered: string[] = [];
    fixture.shutdown = (asked) => {
      answered = [asked, ...answers()];
      client.end("pooler is shutting down");
    };
    await send(frontend.query(`shutdown ${mode}`), frontend.query("RELOAD"));
    assert.deepEqual(answered, [mode, "C SHUTDOWN", "Z"]);
    assert.equal(fixture.reloadCount, 0);
  }
});

Deno.test("SHUTDOWN begins though the answer is not taken", async () => {
  const { fixture, send, stream } = await openSession();
  const { promise, resolve } = Promise.withResolvers<void>();
  stream.slowness = promise;
  const running = send(frontend.query("SHUTDOWN WAIT_FOR_CLIENTS"));
  await eventTurn();
  assert.deepEqual(fixture.shutdowns, ["wait_for_clients"]);
  resolve();
  await running;
});

Deno.test("who may only look may SHOW everything, and neither RELOAD nor SHUTDOWN", async () => {
  const { answers, fixture, report, send } = await openSession({ rights: "stats" });
  const things = ["CONFIG", "DATABASES", "POOLS", "CLIENTS", "SERVERS", "USERS", "STATS", "HELP"];
  for (const thing of things) {
    await send(frontend.query(`SHOW ${thing}`));
    assert.deepEqual(answers().slice(-2), ["C SHOW", "Z"], thing);
  }
  for (const text of ["RELOAD", "SHUTDOWN", "SHUTDOWN WAIT_FOR_SERVERS"]) {
    await send(frontend.query(text));
    assert.deepEqual(report(), {
      severity: "ERROR",
      sqlstate: "42501",
      message: "admin access needed",
      types: "EZ",
    });
  }
  assert.equal(fixture.reloadCount, 0);
  assert.deepEqual(fixture.shutdowns, []);
});

Deno.test("SET of what drivers set is answered with a notice and the tag SET", async () => {
  const { send, stream } = await openSession();
  await send(frontend.query("SET datestyle = ISO"));
  const fields = ["SNOTICE", "VNOTICE", "C00000", "MSET ignored"].map(cstring);
  const notice = message("N", ...fields, new Uint8Array(1));
  assert.deepEqual(stream.takeSent(), join(notice, backend.complete("SET"), backend.ready()));
});

// --- what operators do ---

Deno.test("each command does one thing and answers with its tag", async () => {
  const { answers, fixture, send } = await openSession();
  const cases: readonly (readonly [string, readonly unknown[], string?])[] = [
    ["PAUSE", ["pause", undefined]],
    ["pause shop", ["pause", "shop"]],
    ["RESUME shop", ["resume", "shop"]],
    ["DISABLE shop", ["disable", "shop"]],
    ["ENABLE shop", ["enable", "shop"]],
    ["RECONNECT", ["reconnect", undefined]],
    ["KILL shop", ["kill", "shop"]],
    ["KILL_CLIENT 7", ["killClient", 7]],
    ["SUSPEND", ["suspend"]],
    ["WAIT_CLOSE shop", ["waitClose", "shop"]],
    ["set query_timeout to '5'", ["set", "query_timeout", "5"], "SET query_timeout=5"],
  ];
  for (const [text, call, tag = text.split(" ")[0]!.toUpperCase()] of cases) {
    await send(frontend.query(text));
    assert.deepEqual(fixture.operations.calls.splice(0), [call], text);
    assert.deepEqual(answers(), [`C ${tag}`, "Z"], text);
  }
});

Deno.test("what is refused is told as an error, and the client lives", async () => {
  const { client, fixture, report, send } = await openSession();
  fixture.operations.failure = new PgError("55000", "already suspended/paused", {
    severity: "ERROR",
  });
  for (const text of ["PAUSE", "RESUME", "SUSPEND", "SET query_timeout = 5"]) {
    await send(frontend.query(text));
    assert.deepEqual([report().sqlstate, client.isOpen], ["55000", true], text);
  }
});

Deno.test("who may only look may do none of it", async () => {
  const { fixture, report, send } = await openSession({ rights: "stats" });
  const texts = ["PAUSE", "RESUME", "DISABLE a", "ENABLE a", "RECONNECT", "KILL", "KILL_CLIENT 1"]
    .concat("SUSPEND", "WAIT_CLOSE", "SET query_timeout = 1", "RELOAD DRY")
    .concat("SHUTDOWN WAIT_FOR_TRANSACTIONS");
  for (const text of texts) {
    await send(frontend.query(text));
    assert.equal(report().sqlstate, "42501", text);
  }
  assert.deepEqual(fixture.operations.calls, []);
});

Deno.test("SHUTDOWN WAIT_FOR_TRANSACTIONS hands its limit on", async () => {
  const { answers, fixture, send } = await openSession();
  await send(frontend.query("SHUTDOWN WAIT_FOR_TRANSACTIONS 1.5"));
  assert.deepEqual([fixture.shutdowns, fixture.shutdownLimits], [["wait_for_transactions"], [
    1_500,
  ]]);
  assert.deepEqual(answers(), ["C SHUTDOWN", "Z"]);
});

Deno.test("a command that waits is ended by a cancel request, and the session goes on", async () => {
  const { answers, client, fixture, send } = await openSession();
  fixture.operations.waiting = new Promise(() => {});
  assert.equal(client.cancelService(), false, "nothing is waited for");
  const running = send(frontend.query("PAUSE"), frontend.query("SHOW VERSION"));
  await eventTurn();
  assert.equal(client.cancelService(), true);
  await running;
  assert.deepEqual(answers(), ["E 57014", "Z", "T", "D", "C SHOW", "Z"]);
  assert.equal(client.cancelService(), false);
});

Deno.test("a client that leaves while its command waits ends neither, and is sent nothing", async () => {
  const { client, fixture, send, stream } = await openSession();
  const { promise, resolve } = Promise.withResolvers<void>();
  fixture.operations.waiting = promise;
  let isAborted = false;
  const { pause } = fixture.operations;
  fixture.operations.pause = (database, signal) => {
    signal.addEventListener("abort", () => isAborted = true);
    return pause.call(fixture.operations, database, signal);
  };
  const running = send(frontend.query("PAUSE"), frontend.query("RELOAD"));
  await eventTurn();
  client.end("client unexpected eof");
  await running;
  resolve();
  await eventTurn();
  assert.deepEqual([isAborted, fixture.reloadCount], [false, 0]);
  assert.deepEqual(stream.takeSent(), new Uint8Array());
});

Deno.test("RELOAD DRY shows each change and makes none", async () => {
  const { fixture, send, stream } = await openSession();
  fixture.reloadChanges = [{
    kind: "setting",
    name: "query_timeout",
    before: "0",
    after: "5",
    effect: "at once",
  }];
  await send(frontend.query("RELOAD DRY"));
  const expected = join(
    backend.rowDescription(["kind", "name", "before", "after", "effect"]),
    backend.dataRow(["setting", "query_timeout", "0", "5", "at once"]),
    backend.complete("RELOAD"),
    backend.ready(),
  );
  assert.deepEqual(stream.takeSent(), expected);
  assert.equal(fixture.reloadCount, 0);
});

// --- WHERE, ORDER BY, LIMIT ---

/** A session with three pools. */
async function openWithPools() {
  const session = await openSession();
  for (const [database, user] of [["shop", "anna"], ["archive", "otto"], ["shop", "otto"]]) {
    session.fixture.addPool({ database: database!, user: user! });
  }
  const shown = async (text: string) => {
    await session.send(frontend.query(text));
    const rows = messagesIn(session.stream.takeSent()).filter(({ type }) => type === "D");
    return rows.map(({ body }) => readValues(body).slice(0, 2).join("/"));
  };
  return { ...session, shown };
}

Deno.test("WHERE, ORDER BY and LIMIT choose and sort the rows of any SHOW", async () => {
  const { shown } = await openWithPools();
  assert.deepEqual(await shown("SHOW POOLS WHERE database = 'shop'"), ["shop/anna", "shop/otto"]);
  assert.deepEqual(await shown("SHOW POOLS WHERE user = 'otto' AND database <> 'shop'"), [
    "archive/otto",
  ]);
  assert.deepEqual(await shown("SHOW POOLS ORDER BY user DESC, database"), [
    "pgbouncer/pgbouncer",
    "archive/otto",
    "shop/otto",
    "shop/anna",
  ]);
  assert.deepEqual(await shown("SHOW POOLS ORDER BY database DESC LIMIT 1"), ["shop/anna"]);
  assert.deepEqual(await shown("SHOW POOLS LIMIT 0"), []);
  assert.deepEqual(await shown("SHOW POOLS WHERE cl_active = 0 AND user = 'anna'"), ["shop/anna"]);
});

Deno.test("numbers are sorted as such, and NULL comes last", async () => {
  const { columns, rows } = { columns: [int4<number | undefined>("n", (n) => n)], rows: [10, 9] };
  const sorted = async (isDescending: boolean) => {
    const order = [{ column: "n", isDescending }];
    const steps = rowsInSteps(
      table(columns, [...rows, undefined, 100]),
      { ...ALL_ROWS, order },
      () => Promise.resolve(),
    );
    return (await Array.fromAsync(steps)).flat(2);
  };
  assert.deepEqual(await sorted(false), [9, 10, 100, undefined]);
  assert.deepEqual(await sorted(true), [undefined, 100, 10, 9]);
});

Deno.test("a column that there is not is an error, and nothing of the result comes before it", async () => {
  const { report, send } = await openSession();
  for (const clause of ["WHERE nil = '1'", "ORDER BY nil"]) {
    await send(frontend.query(`SHOW POOLS ${clause}`));
    const { message, sqlstate, types } = report();
    assert.deepEqual([sqlstate, message, types], ["42703", 'column "nil" does not exist', "EZ"]);
  }
});

Deno.test("a long table is sent in steps with turns for others between them", async () => {
  const { answers, fixture, send } = await openSession();
  for (let i = 0; i < 450; i++) fixture.addClient({ user: "anna", database: "shop" });
  const running = send(frontend.query("SHOW CLIENTS"));
  await eventTurn();
  assert.equal(answers().length, 201, "the columns and two hundred rows");
  fixture.clock.advance(1);
  await eventTurn();
  assert.equal(answers().length, 200);
  fixture.clock.advance(1);
  await running;
  assert.deepEqual(answers().slice(-3), ["D", "C SHOW", "Z"]);
});

Deno.test("a sorted table is sent in steps too, once all of it has been made", async () => {
  const { answers, fixture, send } = await openSession();
  for (let i = 0; i < 250; i++) fixture.addClient({ user: "anna", database: "shop" });
  let turnCount = 0;
  const running = send(frontend.query("SHOW CLIENTS ORDER BY id DESC"));
  let isDone = false;
  void running.then(() => isDone = true);
  for (; !isDone; turnCount++) {
    await eventTurn();
    fixture.clock.advance(1);
  }
  assert.equal(answers().length, 1 + 251 + 2);
  assert.ok(turnCount > 2, "a turn while the rows are made, and one while they are sent");
});

Deno.test("others have their turns between commands that are sent all at once", async () => {
  const { answers, fixture, send } = await openSession({ rights: "stats" });
  const running = send(...Array.from({ length: 25 }, () => frontend.query("SHOW VERSION")));
  const counts: number[] = [];
  for (let i = 0; i < 3; i++) {
    await eventTurn();
    counts.push(answers().filter((answer) => answer === "C SHOW").length);
    fixture.clock.advance(1);
  }
  await running;
  assert.deepEqual(counts, [10, 10, 5]);
});

Deno.test("a column by which rows are sorted already is not looked at again", async () => {
  const { send, stream } = await openSession({ rights: "stats" });
  let lookCount = 0;
  const column = {
    ...int4<object>("wait", () => 1),
    get oid() {
      lookCount += 1;
      return 23;
    },
  };
  const order = Array.from({ length: 50 }, () => ({ column: "wait", isDescending: true }));
  const rows = rowsInSteps(
    table([column], [{}, {}]),
    { ...ALL_ROWS, order },
    () => Promise.resolve(),
  );
  await rows.next();
  assert.equal(lookCount, 1);
  await send(frontend.query("SHOW CLIENTS ORDER BY wait, user, wait DESC"));
  assert.equal(messagesIn(stream.takeSent()).at(-2)?.type, "C");
});

Deno.test("of a long table nobody makes the rest for a client that has left", async () => {
  const { client, fixture, send, stream } = await openSession();
  for (let i = 0; i < 450; i++) fixture.addClient({ user: "anna", database: "shop" });
  const running = send(frontend.query("SHOW CLIENTS"));
  await eventTurn();
  stream.takeSent();
  client.end("client unexpected eof");
  fixture.clock.advance(1);
  await running;
  assert.deepEqual(stream.takeSent(), new Uint8Array());
  assert.equal(fixture.clock.timerCount, 0);
});

Deno.test("nothing is kept of the answers of a session that goes on asking", async () => {
  const { send, stream } = await openSession();
  const ask = async (count: number) => {
    for (let i = 0; i < count; i++) {
      await send(frontend.query("SHOW CONFIG"));
      stream.takeSent();
    }
    collectGarbage();
    return Deno.memoryUsage().heapUsed;
  };
  await ask(500);
  const before = await ask(500);
  const growth = (await ask(500) - before) / 500;
  assert.ok(growth < 1_000, `${growth} bytes an answer`);
});

// --- the extended protocol ---

Deno.test("a SHOW runs by the extended protocol as by the simple one, with one ReadyForQuery at Sync", async () => {
  const { answers, send } = await openSession();
  await send(
    frontend.parse("SHOW VERSION"),
    frontend.bind(),
    frontend.describe("P"),
    frontend.execute(),
    frontend.sync(),
  );
  assert.deepEqual(answers(), ["1", "2", "T", "D", "C SHOW", "Z"]);
});

Deno.test("answers come at Flush too", async () => {
  const { answers, send } = await openSession();
  await send(frontend.parse("SHOW VERSION", "v"), frontend.describe("S", "v"), frontend.flush());
  assert.deepEqual(answers(), ["1", "t", "T"]);
  await send(frontend.sync());
  assert.deepEqual(answers(), ["Z"]);
});

Deno.test("a named statement serves again and again, until it is closed", async () => {
  const { answers, report, send } = await openSession();
  await send(frontend.parse("SHOW VERSION", "v"), frontend.sync());
  assert.deepEqual(answers(), ["1", "Z"]);
  for (let i = 0; i < 2; i++) {
    await send(frontend.bind({ statement: "v" }), frontend.execute(), frontend.sync());
    assert.deepEqual(answers(), ["2", "D", "C SHOW", "Z"]);
  }
  await send(frontend.parse("SHOW POOLS", "v"), frontend.sync());
  assert.deepEqual([report().sqlstate], ["42P05"]);
  await send(frontend.close("S", "v"), frontend.sync());
  assert.deepEqual(answers(), ["3", "Z"]);
  await send(frontend.bind({ statement: "v" }), frontend.sync());
  assert.deepEqual([report().sqlstate], ["26000"]);
});

Deno.test("commands without rows describe none and run once a portal", async () => {
  const { answers, fixture, send } = await openSession();
  await send(
    frontend.parse("PAUSE $1"),
    frontend.describe("S"),
    frontend.bind({ values: ["shop"] }),
    frontend.describe("P"),
    frontend.execute(),
    frontend.sync(),
  );
  assert.deepEqual(answers(), ["1", "t", "n", "2", "n", "C PAUSE", "Z"]);
  assert.deepEqual(fixture.operations.calls, [["pause", "shop"]]);
});

Deno.test("a portal of a command that does something is run once", async () => {
  const { answers, fixture, send } = await openSession();
  await send(
    frontend.parse("RECONNECT"),
    frontend.bind(),
    frontend.execute(),
    frontend.execute(),
    frontend.sync(),
  );
  assert.deepEqual(answers(), ["1", "2", "C RECONNECT", "E 55000", "Z"]);
  assert.deepEqual(fixture.operations.calls, [["reconnect", undefined]]);
});

Deno.test("an empty statement is answered as such", async () => {
  const { answers, send } = await openSession();
  await send(frontend.parse(""), frontend.bind(), frontend.execute(), frontend.sync());
  assert.deepEqual(answers(), ["1", "2", "I", "Z"]);
});

Deno.test("after an error everything up to Sync is dropped", async () => {
  const { answers, fixture, send } = await openSession();
  await send(
    frontend.parse("nonsense"),
    frontend.bind(),
    frontend.execute(),
    frontend.query("RELOAD"),
    frontend.sync(),
    frontend.query("SHOW VERSION"),
  );
  assert.deepEqual(answers(), ["E 42601", "Z", "T", "D", "C SHOW", "Z"]);
  assert.equal(fixture.reloadCount, 0);
});

Deno.test("Execute gives as many rows as are asked for, and goes on where it stopped", async () => {
  const { answers, send } = await openWithPools();
  await send(
    frontend.parse("SHOW POOLS"),
    frontend.bind(),
    frontend.execute("", 3),
    frontend.execute("", 3),
    frontend.execute("", 3),
    frontend.sync(),
  );
  const expected = ["1", "2", "D", "D", "D", "s", "D", "C SHOW", "C SHOW", "Z"];
  assert.deepEqual(answers(), expected);
});

Deno.test("a portal is gone after Sync, and what has no name after a Query", async () => {
  const { answers, send } = await openSession();
  await send(
    frontend.parse("SHOW VERSION"),
    frontend.bind({ portal: "p" }),
    frontend.sync(),
    frontend.execute("p"),
    frontend.sync(),
  );
  assert.deepEqual(answers(), ["1", "2", "Z", "E 34000", "Z"]);
  await send(frontend.query("SHOW VERSION"), frontend.bind(), frontend.sync());
  assert.deepEqual(answers().slice(-2), ["E 26000", "Z"]);
});

Deno.test("values stand where a command takes one, in text or in binary", async () => {
  const { answers, fixture, send } = await openWithPools();
  const id = new Uint8Array([0, 0, 0, 17]);
  await send(
    message("P", cstring(""), cstring("KILL_CLIENT $1"), int16(1), int32(23)),
    message("B", cstring(""), cstring(""), int16(1), int16(1), int16(1), int32(4), id, int16(0)),
    frontend.execute(),
    frontend.sync(),
  );
  assert.deepEqual(answers(), ["1", "2", "C KILL_CLIENT", "Z"]);
  assert.deepEqual(fixture.operations.calls, [["killClient", 17]]);
  await send(
    frontend.parse("SHOW POOLS WHERE database = $2 LIMIT $1"),
    frontend.bind({ values: ["5", "shop"] }),
    frontend.execute(),
    frontend.sync(),
  );
  assert.deepEqual(answers(), ["1", "2", "D", "D", "C SHOW", "Z"]);
});

Deno.test("results come in binary where that is asked for", async () => {
  const { fixture, send, stream } = await openSession();
  fixture.stats.open("shop").xactCount = 12_345_678;
  await send(
    frontend.parse("SHOW STATS WHERE database = 'shop'"),
    message("B", cstring(""), cstring(""), int16(0), int16(0), int16(1), int16(1)),
    frontend.describe("P"),
    frontend.execute(),
    frontend.sync(),
  );
  const [, , description, row] = messagesIn(stream.takeSent());
  assert.equal(description!.body.at(-1), 1, "the format is described");
  const view = new DataView(row!.body.buffer, row!.body.byteOffset);
  // The database in text, then assignments and transactions: digits of base 10,000.
  const [assignments, transactions] = [2 + 4 + 4, 2 + 4 + 4 + 4 + 8];
  assert.deepEqual([view.getInt32(assignments), view.getInt16(assignments + 4)], [8, 0]);
  const digits = [0, 2, 4, 6, 8, 10].map((at) => view.getInt16(transactions + 4 + at));
  assert.deepEqual([view.getInt32(transactions), digits], [12, [2, 1, 0, 0, 1234, 5678]]);
});

Deno.test("what does not fit a statement is refused, and the client lives", async () => {
  const cases: readonly (readonly [string, ...Uint8Array[]])[] = [
    ["08P01", frontend.parse("PAUSE $1"), frontend.bind()],
    ["0A000", frontend.parse("PAUSE $1"), frontend.bind({ values: [null] })],
    ["22021", frontend.parse("PAUSE $1"), frontend.bind({ values: ["a\0b"] })],
    ["54000", frontend.parse("PAUSE $101")],
    ["34000", frontend.describe("P", "nil")],
    ["26000", frontend.describe("S", "nil")],
    ["34000", frontend.execute("nil")],
    ["42601", frontend.parse("SHOW POOLS LIMIT $1"), frontend.bind({ values: ["many"] })],
  ];
  for (const [sqlstate, ...messages] of cases) {
    const { answers, client, send } = await openSession();
    await send(...messages, frontend.sync());
    assert.deepEqual(answers().slice(-2), [`E ${sqlstate}`, "Z"]);
    assert.ok(client.isOpen);
  }
});

Deno.test("no more than a thousand statements are kept", async () => {
  const { answers, send } = await openSession();
  for (let i = 0; i < 1_000; i++) await send(frontend.parse("SHOW VERSION", `s${i}`));
  await send(frontend.sync(), frontend.parse("SHOW VERSION", "more"), frontend.sync());
  assert.deepEqual(answers().slice(-3), ["Z", "E 54000", "Z"]);
});
