import assert from "node:assert/strict";
import type { ConsoleRights } from "../../../src/admin/console_context.ts";
import { ConsoleSession } from "../../../src/admin/console_session.ts";
import { versionText } from "../../../src/admin/version.ts";
import { AssertionError } from "../../../src/base/assert.ts";
import { PgError, ProtocolError } from "../../../src/wire/pg_error.ts";
import { eventTurn } from "../../support/event_turn.ts";
import {
  backend,
  cstring,
  frontend,
  join,
  message,
  readCstrings,
  readReport,
} from "../../support/messages.ts";
import { ConsoleFixture, messagesIn } from "./console_fixture.ts";

/** A client of the console, logged in. */
async function openSession({ rights = "admin" }: { rights?: ConsoleRights } = {}) {
  const fixture = await ConsoleFixture.from();
  const client = fixture.addClient({ user: "root", database: "pgbouncer" });
  const session = new ConsoleSession({ client, context: fixture, rights });
  client.setService(session);
  const stream = fixture.clientStreams.get(client)!;
  return {
    fixture,
    client,
    stream,
    send: (...pieces: Uint8Array[]) => {
      const chunk = join(...pieces);
      return session.onClientChunk(chunk, chunk.length);
    },
    /** The answers, each as one word: type, and tag or SQLSTATE. */
    answers: () =>
      messagesIn(stream.takeSent()).map(({ type, body }) => {
        if (type === "C") return `C ${readCstrings(body)[0]}`;
        return type === "E" || type === "N" ? `${type} ${readReport(body).sqlstate}` : type;
      }),
    /** The error in the next answer. */
    report: () => {
      const [error, ready] = messagesIn(stream.takeSent());
      return { ...readReport(error!.body), types: `${error!.type}${ready?.type}` };
    },
  };
}

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
  for (const text of ["PAUSE", "SELECT 1", "SHOW LISTS;", "SET pool_mode = session"]) {
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

Deno.test("ConsoleSession refuses the extended protocol once for each Sync", async () => {
  const { answers, client, send } = await openSession();
  await send(
    frontend.parse("SHOW VERSION"),
    frontend.bind(),
    frontend.describe("P"),
    frontend.execute(),
    frontend.flush(),
    frontend.query("SHOW VERSION"),
  );
  assert.deepEqual(answers(), ["E 0A000"]);
  await send(frontend.sync(), frontend.query("SHOW VERSION"));
  assert.deepEqual(answers(), ["Z", "T", "D", "C SHOW", "Z"]);
  await send(frontend.close("S"), frontend.sync());
  assert.deepEqual(answers(), ["E 0A000", "Z"]);
  assert.ok(client.isOpen);
});

Deno.test("ConsoleSession says why the extended protocol is refused", async () => {
  const { report, send } = await openSession();
  await send(frontend.parse("SELECT 1"), frontend.sync());
  assert.deepEqual(report(), {
    severity: "ERROR",
    sqlstate: "0A000",
    message: "extended query protocol not supported by admin console",
    types: "EZ",
  });
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
