/**
 * Every parameter that PostgreSQL reports and a session may set follows its client, on each version
 * that is at hand; and nobody is left as somebody else.
 */

import assert from "node:assert/strict";
// @ts-types="@types/pg"
import pg from "pg";
import { startPostgres } from "../../scripts/postgres_fixture.ts";
import { isMissing } from "../support/requirements.ts";
import { answeredRole, ROLE_QUERY } from "../../src/server/server_role.ts";
import type { TestClient } from "../support/test_client.ts";
import { runProgram, type Section, shown, startWorld, type World } from "./support/world.ts";

/** Values as they are asked for, two for each parameter, neither the default. */
const SAMPLES: Readonly<Record<string, readonly [string, string]>> = {
  application_name: [`it's "a" \\ back\\slash €🐘`, "x".repeat(1_000)],
  client_encoding: ["sql_ascii", "WIN1252"],
  DateStyle: ["ISO, DMY", "german, ymd"],
  default_transaction_read_only: ["on", "yes"],
  IntervalStyle: ["iso_8601", "SQL_Standard"],
  scram_iterations: ["5000", "6000"],
  search_path: [`"A b", "it's", public`, `"q""q", pg_catalog`],
  standard_conforming_strings: ["off", "0"],
  TimeZone: ["<+03:30>-03:30", "europe/paris"],
};

/** Reported, but not for a session to set by SET. */
const ONLY_SHOWN: readonly string[] = [
  ...["in_hot_standby", "integer_datetimes", "is_superuser", "server_encoding", "server_version"],
  "session_authorization",
];

/** What a client has told PostgreSQL to set, so that nothing depends on the quoting of the client. */
function setting(name: string, value: string): string {
  const hex = [...new TextEncoder().encode(value)]
    .map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `select set_config('${name}', convert_from(decode('${hex}', 'hex'), 'UTF8'), false)`;
}

/** Sets a parameter and returns what PostgreSQL made of it. */
async function set(client: TestClient, name: string, value: string): Promise<string> {
  const { errors } = await client.query(setting(name, value));
  assert.deepEqual(errors, [], name);
  return (await shown(client, name))!;
}

const VERSIONS = [
  { version: 18, flavour: "embedded", ignore: false },
  { version: 15, flavour: "debian", ignore: isMissing("postgresql-15") },
] as const;

for (const { flavour, ignore, version } of VERSIONS) {
  const server = ignore ? undefined : await startPostgres({ auth: "trust", flavour });
  Deno.test.afterAll(() => server?.[Symbol.asyncDispose]());

  /** All clients take turns on so many servers. */
  const sharedWorld = async (poolSize: number, pooler: Section = {}): Promise<World> => {
    assert.ok(server);
    return await startWorld(server, {
      pooler: {
        pool_mode: "transaction",
        default_pool_size: poolSize,
        server_round_robin: true,
        admin_users: "watcher",
        ...pooler,
      },
    });
  };

  const test = (name: string, fn: () => Promise<void>) =>
    Deno.test({ name: `PostgreSQL ${version}: ${name}`, ignore, fn });

  test("all that is reported and may be set follows its client over three servers and a RELOAD", async () => {
    await using world = await sharedWorld(3);
    const clients = [await world.connect(), await world.connect()];
    const plain = await world.connect();
    const reported = [...plain.parameters.keys()].filter((name) => !ONLY_SHOWN.includes(name));
    const usual = new Map(plain.parameters);
    const expected = clients.map(() => new Map<string, string>());
    for (const name of reported) {
      const samples = SAMPLES[name];
      assert.ok(samples, `PostgreSQL ${version} reports ${name}: a sample is missing`);
      for (const [i, client] of clients.entries()) {
        expected[i]!.set(name, await set(client, name, samples[i as 0 | 1]));
      }
    }
    const check = async () => {
      for (const name of reported) {
        for (const [i, client] of clients.entries()) {
          const value = expected[i]!.get(name);
          assert.equal(await shown(client, name), value, `${name} of client ${i}`);
          assert.equal(client.parameters.get(name), value, `${name} as client ${i} was told`);
        }
        assert.equal(await shown(plain, name), usual.get(name), `${name} of a third`);
        assert.equal(plain.parameters.get(name), usual.get(name), `${name} as a third was told`);
      }
    };
    for (let round = 0; round < 3; round++) await check();
    const console = await world.driver({ user: "watcher", database: "pgbouncer" });
    await console.query("reload");
    await check();
    await world.openServers(3);
    assert.equal((await world.backends()).length, 3);
    for (let round = 0; round < 3; round++) await check();
  });

  test("all that may be asked for at startup follows its client from one server to the next", async () => {
    await using world = await sharedWorld(1);
    const plain = await world.connect();
    const usual = new Map(plain.parameters);
    const names = Object.keys(SAMPLES).filter((name) => usual.has(name));
    for (const name of names) {
      const client = await world.connect({ parameters: { [name]: SAMPLES[name]![0] } });
      const first = await shown(client, name);
      for (let round = 0; round < 2; round++) {
        assert.equal(await shown(plain, name), usual.get(name), name);
        assert.equal(await shown(client, name), first, name);
      }
      assert.notEqual(first, usual.get(name), name);
      assert.equal(client.parameters.get(name), first, name);
    }
  });

  test("SET LOCAL and a SET that is rolled back are over with their transaction, and clients are told", async () => {
    await using world = await sharedWorld(1);
    const [client, other] = await world.connectMany(2);
    await client!.query("set intervalstyle = 'iso_8601'");
    for (const end of ["commit", "rollback"]) {
      await client!.query("begin");
      await client!.query("set local intervalstyle = 'sql_standard'");
      assert.equal(client!.parameters.get("IntervalStyle"), "sql_standard");
      await client!.query(end);
      assert.equal(client!.parameters.get("IntervalStyle"), "iso_8601", end);
      assert.equal(await shown(other!, "intervalstyle"), "postgres");
      assert.equal(await shown(client!, "intervalstyle"), "iso_8601");
    }
    await client!.query("begin; set intervalstyle = 'sql_standard'");
    const { parameters } = await client!.query("rollback");
    assert.equal(parameters.get("IntervalStyle"), "iso_8601");
    assert.equal(await shown(other!, "intervalstyle"), "postgres");
    assert.equal(await shown(client!, "intervalstyle"), "iso_8601");
  });

  test("a SET in a transaction that has failed, and one that fails, change nothing", async () => {
    await using world = await sharedWorld(1);
    const [client, other] = await world.connectMany(2);
    await client!.query("begin; set intervalstyle = 'iso_8601'");
    await client!.query("select 1/0");
    assert.equal((await client!.query("set timezone = 'Asia/Tokyo'")).errors.length, 1);
    await client!.query("commit");
    const { errors } = await client!.query("set datestyle = 'german'; set timezone = 'Nowhere'");
    assert.equal(errors.length, 1);
    for (const each of [client!, other!, client!]) {
      assert.equal(await shown(each, "intervalstyle"), "postgres");
      assert.equal(await shown(each, "datestyle"), "ISO, MDY");
      assert.equal(each.parameters.get("IntervalStyle"), "postgres");
    }
  });

  test("a client that is read only by default does not make anybody else so", async () => {
    await using world = await sharedWorld(1);
    const [client, other] = await world.connectMany(2);
    await other!.query("create table written (x int)");
    await client!.query("set default_transaction_read_only = on");
    for (let round = 0; round < 2; round++) {
      assert.deepEqual((await other!.query("insert into written values (1)")).errors, []);
      const { errors } = await client!.query("insert into written values (2)");
      assert.equal(errors[0]?.sqlstate, "25006");
    }
  });

  test("ROLE_QUERY tells what new sessions of a server are, whatever the present one has set", async () => {
    assert.ok(server);
    const { host, port, superuser: user } = server;
    const role = async (options: string, sql: string) => {
      const client = new pg.Client({ host, port, user, database: "postgres", options });
      await client.connect();
      await client.query(sql);
      const { command, rowCount } = await client.query(ROLE_QUERY);
      await client.end();
      return answeredRole(`${command} ${rowCount}`);
    };
    const equalsNothing = `create function pg_temp.never(text, text) returns bool
      language sql as 'select false';
      create schema bad;
      create operator bad.= (leftarg = text, rightarg = text, function = pg_temp.never);
      set search_path = bad, pg_catalog`;
    assert.equal(await role("", "set default_transaction_read_only = on"), "read_write_primary");
    const readOnly = "-c default_transaction_read_only=on";
    assert.equal(await role(readOnly, "select 1"), "read_only_primary");
    const writing = `set transaction_read_only = off; begin read write; ${equalsNothing}`;
    assert.equal(
      await role(readOnly, writing),
      "read_only_primary",
      "operators of another's making",
    );
  });

  test("a client that makes itself somebody else never leaves the next client so", async () => {
    for (const mode of ["transaction", "session"]) {
      await using world = await sharedWorld(1, { pool_mode: mode, server_reset_query: "" });
      const { user } = world;
      await world.direct(`alter role ${user} superuser; create role ${user}_other`);
      const client = await world.connect();
      const { parameters } = await client.query(`set session authorization ${user}_other`);
      assert.equal(parameters.get("session_authorization"), `${user}_other`);
      if (mode === "session") await client.terminate();
      const other = await world.connect();
      const { rows } = await other.query("select session_user, current_user");
      assert.deepEqual(rows, [[user, user]], mode);
      assert.equal(other.parameters.get("session_authorization"), user);
      assert.equal(other.parameters.get("is_superuser"), "on");
      assert.equal((await world.backends()).length, 1, "It was put back, not closed");
    }
  });

  test("who made itself somebody else in a transaction that failed is put back too", async () => {
    await using world = await sharedWorld(1);
    const { user } = world;
    await world.direct(`alter role ${user} superuser; create role ${user}_other`);
    const [client, other] = await world.connectMany(2);
    await client!.query(`begin; set local session authorization ${user}_other`);
    await client!.query("select 1/0");
    await client!.query("rollback");
    await client!.query(`begin; set session authorization ${user}_other; select 1; commit`);
    const { rows } = await other!.query("select session_user, current_user");
    assert.deepEqual(rows, [[user, user]]);
  });

  test("psql and node-postgres keep their own beside each other", async () => {
    await using world = await sharedWorld(1);
    const driver = await world.driver();
    await driver.query("set intervalstyle = 'iso_8601'; set timezone = 'Asia/Tokyo'");
    const sql = ["set intervalstyle = 'sql_standard'", "set application_name = 'it''s psql'"];
    const { stdout, stderr } = await runProgram("psql", {
      args: ["-X", "-A", "-t", "-q", ...sql.flatMap((text) => ["-c", text])].concat(
        ["-c", "show intervalstyle", "-c", "show timezone", "-c", "show application_name"],
      ),
      env: world.libpqEnv,
    });
    assert.equal(stderr, "");
    assert.deepEqual(stdout.trim().split("\n"), ["sql_standard", "UTC", "it's psql"]);
    const { rows } = await driver.query(
      "select current_setting('intervalstyle') as style, current_setting('timezone') as zone",
    );
    assert.deepEqual(rows, [{ style: "iso_8601", zone: "Asia/Tokyo" }]);
  });
}

/** Client encodings, and a schema that has a name in each. */
const ENCODED = [["LATIN1", "schéma"], ["WIN1251", "схема"], ["SJIS", "ソ"]] as const;

for (const [encoding, schema] of ENCODED) {
  Deno.test(`PostgreSQL 18: a search_path of a client with client_encoding = ${encoding} is followed`, async () => {
    await using postgres = await startPostgres({ auth: "trust" });
    await using world = await startWorld(postgres, {
      pooler: { pool_mode: "transaction", default_pool_size: 1 },
    });
    await world.direct(`create schema "${schema}"; create table "${schema}".here (x int);
      grant usage on schema "${schema}" to public; grant select on "${schema}".here to public`);
    const [client, other] = await world.connectMany(2);
    await client!.query(`set client_encoding = '${encoding}'`);
    await set(client!, "search_path", `"${schema}"`);
    for (let round = 0; round < 2; round++) {
      assert.equal(await shown(other!, "search_path"), '"$user", public');
      const got = await client!.query("select count(*) from here");
      assert.deepEqual([got.errors, got.rows], [[], [["0"]]]);
    }
  });
}

Deno.test(
  "PostgreSQL 15: who asks for what only newer servers know is told so, and nobody else is hurt",
  {
    ignore: isMissing("postgresql-15"),
  },
  async () => {
    await using old = await startPostgres({ auth: "trust", flavour: "debian" });
    await using world = await startWorld(old, { pooler: { pool_mode: "transaction" } });
    const client = await world.connect({ parameters: { scram_iterations: "5000" } });
    const { errors } = await client.query("select 1");
    assert.deepEqual(errors.map(({ message }) => message), ["invalid server parameter"]);
    assert.match(JSON.stringify(errors), /scram_iterations/);
    const other = await world.connect();
    assert.deepEqual((await other.query("select 1")).errors, []);
  },
);
