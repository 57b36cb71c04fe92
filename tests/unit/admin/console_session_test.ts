/** A session of the console: what it answers, in which order, and what operators do with it. */

import assert from "node:assert/strict";
import { versionText } from "../../../src/admin/version.ts";
import { AssertionError } from "../../../src/base/assert.ts";
import { PgError, ProtocolError } from "../../../src/wire/pg_error.ts";
import { eventTurn } from "../../support/event_turn.ts";
import { backend, cstring, frontend, join, message } from "../../support/messages.ts";
import { openSession } from "./open_session.ts";

const VERSION = join(
  backend.rowDescription(["version"]),
  backend.dataRow([versionText()]),
  backend.complete("SHOW"),
  backend.ready(),
);

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

Deno.test("ConsoleSession has the log tell the errors that it answers", async () => {
  const { answers, fixture, send } = await openSession({ rights: "stats" });
  await send(frontend.query("SHOW VERSION"));
  assert.deepEqual(fixture.logLines, []);
  answers();
  await send(frontend.query("PAUSE"), frontend.query("nonsense"), message("F", cstring("")));
  assert.deepEqual(answers(), ["E 42501", "Z", "E 42601", "Z", "E 08P01", "Z"]);
  await send(frontend.bind({ statement: "lost" }), frontend.sync());
  assert.deepEqual(answers(), ["E 26000", "Z"]);
  const told = fixture.logLines.map((line) => /WARNING C-.*pooler error: (.*)/.exec(line)?.[1]);
  assert.deepEqual(told, [
    "admin access needed",
    "invalid command 'nonsense', use SHOW HELP;",
    "unsupported packet type for admin console: 70",
    'prepared statement "lost" does not exist',
  ]);
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
