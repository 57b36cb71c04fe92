/** The parameters of a StartupMessage: which are taken, in what form, and what becomes of the others. */

import assert from "node:assert/strict";
import { startPostgres } from "../../scripts/postgres_fixture.ts";
import { frontend, readCstrings, readInt32 } from "../support/messages.ts";
import { isMissing } from "../support/requirements.ts";
import type { LoginRefused } from "../support/test_client.ts";
import {
  runProgram,
  type Section,
  shown,
  startWorld,
  valueOf,
  type World,
} from "./support/world.ts";

const postgres = await startPostgres({ auth: "trust" });
Deno.test.afterAll(() => postgres[Symbol.asyncDispose]());

/** A world in which all clients take turns on one server. */
function sharedWorld(pooler: Section = {}): Promise<World> {
  return startWorld(postgres, {
    pooler: { pool_mode: "transaction", default_pool_size: 1, ...pooler },
  });
}

Deno.test("a canonical value is announced when PostgreSQL has told it, and once", async () => {
  await using world = await sharedWorld();
  const client = await world.connect({ parameters: { DateStyle: "german" } });
  const first = await client.query("select 1");
  assert.deepEqual([...first.parameters], [["DateStyle", "German, DMY"]]);
  assert.deepEqual([...(await client.query("select 1")).parameters], []);
});

Deno.test("a client is greeted with its own values and the server's for the rest", async () => {
  await using world = await sharedWorld();
  await (await world.connect()).query("set application_name = 'somebody'");
  const client = await world.connect({ parameters: { application_name: "me" } });
  assert.equal(client.parameters.get("application_name"), "me");
  assert.equal(client.parameters.get("TimeZone"), "UTC");
  assert.match(client.parameters.get("server_version") ?? "", /^18/);
  assert.equal(client.parameters.get("server_encoding"), "UTF8");
});

/** Ways to write `options`, all of which mean TimeZone = Asia/Tokyo, search_path = a b, public. */
const OPTIONS: readonly string[] = [
  '-c TimeZone=Asia/Tokyo -c search_path="a\\ b",public',
  '-cTimeZone=Asia/Tokyo -csearch_path="a\\ b",public',
  '--TimeZone=Asia/Tokyo --search_path="a\\ b",public',
  '  --timezone=asia/tokyo   --search-path="a\\ b",public  ',
];

for (const options of OPTIONS) {
  Deno.test(`options are taken as PostgreSQL takes them: ${options}`, async () => {
    await using world = await sharedWorld();
    const client = await world.connect({ parameters: { options } });
    const other = await world.connect();
    for (let round = 0; round < 2; round++) {
      assert.equal(await shown(client, "timezone"), "Asia/Tokyo");
      assert.deepEqual(
        (await client.query("select current_setting('search_path')")).rows.flat(),
        ['"a b",public'],
      );
      assert.equal(await shown(other, "timezone"), "UTC");
    }
  });
}

/** Startup parameters that are refused, and why. */
const REFUSED: readonly (readonly [
  parameters: Readonly<Record<string, string>>,
  sqlstate: string,
  message: string,
])[] = [
  [{ work_mem: "7MB" }, "42704", "unsupported startup parameter: work_mem"],
  [
    { options: "-c work_mem=7MB" },
    "42704",
    "unsupported startup parameter in options: work_mem",
  ],
  [
    { options: "-d 5" },
    "08P01",
    "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed",
  ],
  [{ replication: "maybe" }, "22023", 'invalid value for parameter "replication": "maybe"'],
];

for (const [parameters, sqlstate, message] of REFUSED) {
  Deno.test(`the startup parameters ${JSON.stringify(parameters)} are refused with ${sqlstate}`, async () => {
    await using world = await sharedWorld();
    await assert.rejects(world.connect({ parameters }), (error: LoginRefused) => {
      assert.deepEqual(error.report, { severity: "FATAL", sqlstate, message });
      return true;
    });
    assert.equal((await world.backends()).length, 0);
  });
}

Deno.test("ignore_startup_parameters drops what it names, in options too, and nothing else", async () => {
  await using world = await sharedWorld({
    ignore_startup_parameters: "extra_float_digits, Work_Mem",
  });
  const client = await world.connect({
    parameters: {
      extra_float_digits: "1",
      work_mem: "7MB",
      options: "-c work_mem=8MB -c timezone=Asia/Tokyo",
    },
  });
  assert.equal(await shown(client, "timezone"), "Asia/Tokyo");
  assert.equal(await shown(client, "work_mem"), "4MB");
  await assert.rejects(world.connect({ parameters: { geqo: "off" } }), /geqo/);
});

Deno.test("options as a whole can be ignored", async () => {
  await using world = await sharedWorld({ ignore_startup_parameters: "options" });
  const client = await world.connect({ parameters: { options: "-d 5 -c timezone=Asia/Tokyo" } });
  assert.equal(await shown(client, "timezone"), "UTC");
});

/** Values that PostgreSQL refuses. */
const BAD_VALUES: readonly (readonly [name: string, value: string])[] = [
  ["TimeZone", "Nowhere/Land"],
  ["DateStyle", "'; drop table kept; --"],
  ["client_encoding", "klingon"],
  ["IntervalStyle", "fast"],
];

for (const [name, value] of BAD_VALUES) {
  Deno.test(`${name} = ${value} at startup ends the client with 22023 and hurts nobody else`, async () => {
    await using world = await sharedWorld();
    const other = await world.connect();
    await other.query("create table kept (x int)");
    const client = await world.connect({ parameters: { [name]: value } });
    const { errors, status } = await client.query("select 1");
    assert.equal(status, undefined);
    assert.deepEqual(
      errors.map(({ message, severity, sqlstate }) => [severity, sqlstate, message]),
      [["FATAL", "22023", "invalid server parameter"]],
    );
    assert.equal(valueOf(await other.query("select count(*) from kept")), "0");
  });
}

/** Values that PostgreSQL does not take as they are, without refusing them. */
const REWRITTEN = ["x".repeat(100), "Zürich", "bell \u0007"];

for (const name of REWRITTEN) {
  Deno.test(`application_name = ${JSON.stringify(name)} is settled as PostgreSQL has it`, async () => {
    await using world = await sharedWorld();
    const client = await world.connect({ parameters: { application_name: name } });
    const first = await shown(client, "application_name");
    assert.notEqual(first, name);
    const again = await client.query("show application_name");
    assert.deepEqual([valueOf(again), [...again.parameters]], [first, []]);
    const other = await world.connect({ parameters: { application_name: "other" } });
    assert.equal(await shown(other, "application_name"), "other");
    assert.equal(await shown(client, "application_name"), first);
  });
}

Deno.test("startup parameters of the database's section hold for its servers", async () => {
  await using world = await startWorld(postgres, {
    pooler: { pool_mode: "transaction", default_pool_size: 1 },
    database: { timezone: "Asia/Tokyo", application_name: "pooled", datestyle: "German" },
  });
  const client = await world.connect();
  assert.equal(client.parameters.get("TimeZone"), "Asia/Tokyo");
  assert.equal(await shown(client, "timezone"), "Asia/Tokyo");
  assert.equal(await shown(client, "application_name"), "pooled");
  const other = await world.connect({ parameters: { TimeZone: "Asia/Dubai" } });
  assert.equal(await shown(other, "timezone"), "Asia/Dubai");
  assert.equal(await shown(client, "timezone"), "Asia/Tokyo");
});

Deno.test({
  name: "psql's PGTZ, PGDATESTYLE, PGOPTIONS and PGAPPNAME are followed",
  ignore: isMissing("psql"),
  async fn() {
    await using world = await sharedWorld();
    await (await world.connect()).query("select 1");
    const { stdout, stderr } = await runProgram("psql", {
      args: ["-X", "-A", "-t", "-c", "show timezone", "-c", "show datestyle"].concat(
        ["-c", "show intervalstyle", "-c", "show application_name", "-c", "show client_encoding"],
      ),
      env: {
        ...world.libpqEnv,
        PGTZ: "asia/tokyo",
        PGDATESTYLE: "German",
        PGOPTIONS: "-c intervalstyle=iso_8601",
        PGAPPNAME: "reports",
        PGCLIENTENCODING: "latin1",
      },
    });
    assert.equal(stderr, "");
    assert.deepEqual(stdout.trim().split("\n"), [
      ...["Asia/Tokyo", "German, DMY", "iso_8601", "reports", "LATIN1"],
    ]);
  },
});

Deno.test("a newer minor version and unknown protocol options are negotiated down, once and at first", async () => {
  await using world = await sharedWorld();
  const client = await world.open();
  const { database, user } = world;
  await client.send(frontend.startup({ user, database, "_pq_.x": "1", "_pq_.y": "2" }, 9_999));
  const types: string[] = [];
  const options: string[] = [];
  for (const { type, body } of await client.receiveUntilReady()) {
    types.push(type);
    if (type !== "v") continue;
    // PostgreSQL puts the whole version there: major in the upper half, minor in the lower.
    assert.deepEqual([readInt32(body), readInt32(body, 4)], [3 << 16 | 2, 2]);
    options.push(...readCstrings(body.subarray(8)));
  }
  assert.match(types.join(""), /^vRS+KZ$/);
  assert.deepEqual(options, ["_pq_.x", "_pq_.y"]);
  assert.equal(valueOf(await client.query("select 1")), "1");
});
