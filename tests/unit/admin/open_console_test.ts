import assert from "node:assert/strict";
import { openConsole } from "../../../src/admin/open_console.ts";
import { PgError } from "../../../src/wire/pg_error.ts";
import { eventTurn } from "../../support/event_turn.ts";
import { frontend, message, readCstrings, readReport } from "../../support/messages.ts";
import { ConsoleFixture } from "./console_fixture.ts";
import { messagesIn } from "./shown_result.ts";

const TOML = '[pooler]\nadmin_users = ["root"]\nstats_users = ["monitor", "root"]\n';

/** Whether a user may come in, and whether it may do more than look. */
async function rightsOf(
  user: string,
  { toml = TOML, isOwnProcess = false }: { toml?: string; isOwnProcess?: boolean } = {},
): Promise<"admin" | "stats" | "none"> {
  const fixture = await ConsoleFixture.from(toml);
  const client = fixture.addLogin({ user, database: "pgbouncer" });
  try {
    const { service } = openConsole(client, { context: fixture, isOwnProcess });
    const reload = frontend.query("RELOAD");
    await service.onClientChunk(reload, reload.length);
    return fixture.reloadCount === 1 ? "admin" : "stats";
  } catch (error) {
    assert.ok(error instanceof PgError);
    assert.deepEqual(
      [error.severity, error.sqlstate, error.message],
      ["FATAL", "42501", "not allowed"],
    );
    return "none";
  }
}

Deno.test("openConsole() gives admin_users all rights", async () => {
  assert.equal(await rightsOf("root"), "admin");
});

Deno.test("openConsole() lets stats_users look", async () => {
  assert.equal(await rightsOf("monitor"), "stats");
});

Deno.test("openConsole() turns everybody else away", async () => {
  assert.equal(await rightsOf("anna"), "none");
  assert.equal(await rightsOf("pgbouncer"), "none");
  assert.equal(await rightsOf("Root"), "none");
});

Deno.test("openConsole() lets everybody look where auth_type is any", async () => {
  const toml = `${TOML}auth_type = "any"\n`;
  assert.equal(await rightsOf("anna", { toml }), "stats");
  assert.equal(await rightsOf("root", { toml }), "admin");
});

Deno.test("openConsole() gives a process of our own user all rights", async () => {
  assert.equal(await rightsOf("pgbouncer", { isOwnProcess: true }), "admin");
});

Deno.test("openConsole() keeps the rights of the login until the client leaves", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  const client = fixture.addLogin({ user: "root", database: "pgbouncer" });
  const { service } = openConsole(client, { context: fixture, isOwnProcess: false });
  const changed = await ConsoleFixture.from();
  fixture.config = () => changed.config();
  const reload = frontend.query("RELOAD");
  await service.onClientChunk(reload, reload.length);
  assert.equal(fixture.reloadCount, 1);
});

Deno.test("a login to the console is welcomed with the parameters drivers look for", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  const stream = fixture.connect({ user: "pgbouncer", database: "pgbouncer" });
  await eventTurn();
  const welcome = messagesIn(stream.takeSent());
  assert.equal(welcome.map(({ type }) => type).join(""), "RSSSSSSSKZ");
  const announced = welcome.filter(({ type }) => type === "S").map(({ body }) => {
    return readCstrings(body).join("=");
  });
  assert.deepEqual(announced, [
    "server_version=1.26.0/bouncer",
    "client_encoding=UTF8",
    "server_encoding=UTF8",
    "DateStyle=ISO",
    "TimeZone=GMT",
    "standard_conforming_strings=on",
    "is_superuser=on",
  ]);
  stream.push(frontend.query("SHOW VERSION"));
  await eventTurn();
  assert.equal(messagesIn(stream.takeSent()).map(({ type }) => type).join(""), "TDCZ");
  stream.push(frontend.terminate());
  await fixture.end();
  assert.equal(fixture.clients.count, 0);
});

Deno.test("a message too long for the console ends its client with FATAL 08P01", async () => {
  const fixture = await ConsoleFixture.from(TOML);
  const stream = fixture.connect({ user: "pgbouncer", database: "pgbouncer" });
  await eventTurn();
  stream.takeSent();
  stream.push(message("Q", new Uint8Array(70_000)));
  await eventTurn();
  const [error] = messagesIn(stream.takeSent());
  const { severity, sqlstate } = readReport(error!.body);
  assert.deepEqual([error!.type, severity, sqlstate], ["E", "FATAL", "08P01"]);
  await fixture.end();
});

Deno.test("a user without rights is told so before anything else is said", async () => {
  const fixture = await ConsoleFixture.from(`${TOML}auth_type = "trust"\n`);
  fixture.secretHolders = ["anna"];
  const stream = fixture.connect({ user: "anna", database: "pgbouncer" });
  await eventTurn();
  const [error, ...more] = messagesIn(stream.takeSent());
  assert.deepEqual(readReport(error!.body), {
    severity: "FATAL",
    sqlstate: "42501",
    message: "not allowed",
  });
  assert.deepEqual(more, []);
  await fixture.end();
});
