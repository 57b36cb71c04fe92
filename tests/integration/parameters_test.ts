/**
 * Session parameters that follow a client from server to server: it sees its own, in PostgreSQL's
 * spelling, and never anybody else's.
 */

import assert from "node:assert/strict";
import { type Postgres, startPostgres } from "../../scripts/postgres_fixture.ts";
import { frontend } from "../support/messages.ts";
import { isMissing } from "../support/requirements.ts";
import { type Section, shown, startWorld, valueOf, type World } from "./support/world.ts";

const postgres = await startPostgres({ auth: "trust" });
Deno.test.afterAll(() => postgres[Symbol.asyncDispose]());

/** A world in which all clients take turns on so many servers. */
function sharedWorld(
  { poolSize = 1, on = postgres, pooler = {} }: {
    poolSize?: number;
    on?: Postgres;
    pooler?: Section;
  } = {},
): Promise<World> {
  return startWorld(on, {
    pooler: {
      pool_mode: "transaction",
      default_pool_size: poolSize,
      server_round_robin: true,
      ...pooler,
    },
  });
}

/** For each parameter that is tracked: two values as asked for, and as PostgreSQL writes them. */
const TRACKED: readonly (readonly [
  name: string,
  asked: readonly [string, string],
  canonical: readonly [string, string],
])[] = [
  ["DateStyle", ["german", "sql, dmy"], ["German, DMY", "SQL, DMY"]],
  ["TimeZone", ["asia/tokyo", "utc"], ["Asia/Tokyo", "UTC"]],
  ["application_name", ["it's \\one", 'the "two"'], ["it's \\one", 'the "two"']],
  ["client_encoding", ["latin1", "utf-8"], ["LATIN1", "UTF8"]],
  ["standard_conforming_strings", ["OFF", "1"], ["off", "on"]],
  ["IntervalStyle", ["ISO_8601", "Sql_Standard"], ["iso_8601", "sql_standard"]],
  ["search_path", ['"A b", public', "pg_catalog, x"], ['"A b", public', "pg_catalog, x"]],
];

for (const [name, asked, canonical] of TRACKED) {
  Deno.test(`${name} set at startup is the client's own on every server`, async () => {
    await using world = await sharedWorld({ poolSize: 2 });
    const one = await world.connect({ parameters: { [name]: asked[0] } });
    const two = await world.connect({ parameters: { [name]: asked[1] } });
    const plain = await world.connect();
    const usual = await shown(plain, name);
    for (let round = 0; round < 3; round++) {
      assert.equal(await shown(one, name), canonical[0]);
      assert.equal(await shown(two, name), canonical[1]);
      assert.equal(await shown(plain, name), usual);
    }
    assert.equal(one.parameters.get(name), canonical[0]);
    assert.equal(two.parameters.get(name), canonical[1]);
    assert.equal(plain.parameters.get(name), usual);
  });

  Deno.test(`${name} set by SET is the client's own on every server`, async () => {
    await using world = await sharedWorld({ poolSize: 2 });
    const [one, two, plain] = await world.connectMany(3);
    const usual = await shown(plain!, name);
    for (const [i, client] of [one!, two!].entries()) {
      const value = asked[i as 0 | 1].replaceAll("'", "''");
      const sql = name === "search_path" ? `set ${name} = ${value}` : `set ${name} = '${value}'`;
      const { errors } = await client.query(`set standard_conforming_strings = on; ${sql}`);
      assert.deepEqual(errors, []);
      assert.equal(client.parameters.get(name), canonical[i]);
    }
    for (let round = 0; round < 3; round++) {
      assert.equal(await shown(one!, name), canonical[0]);
      assert.equal(await shown(two!, name), canonical[1]);
      assert.equal(await shown(plain!, name), usual);
    }
    assert.equal(plain!.parameters.get(name), usual);
  });
}

Deno.test("a value that a client set differently from its startup is kept over other clients' turns", async () => {
  await using world = await sharedWorld();
  const client = await world.connect({ parameters: { TimeZone: "Asia/Tokyo" } });
  const other = await world.connect({ parameters: { TimeZone: "Europe/Paris" } });
  await client.query("set timezone = 'America/Lima'");
  assert.equal(await shown(other, "timezone"), "Europe/Paris");
  assert.equal(await shown(client, "timezone"), "America/Lima");
  await client.query("begin; set local timezone = 'Asia/Dubai'; commit");
  assert.equal(await shown(other, "timezone"), "Europe/Paris");
  assert.equal(await shown(client, "timezone"), "America/Lima");
});

Deno.test("a SET that is rolled back changes nothing", async () => {
  await using world = await sharedWorld();
  const [client, other] = await world.connectMany(2);
  await client!.query("set timezone = 'Asia/Tokyo'");
  await client!.query("begin; set timezone = 'Asia/Dubai'");
  await client!.query("rollback");
  assert.equal(await shown(other!, "timezone"), "UTC");
  assert.equal(await shown(client!, "timezone"), "Asia/Tokyo");
  assert.equal(client!.parameters.get("TimeZone"), "Asia/Tokyo");
});

Deno.test("parameters are set before any query that needs them, in the extended protocol too", async () => {
  await using world = await sharedWorld();
  const german = await world.connect({ parameters: { DateStyle: "german" } });
  const sql = await world.connect({ parameters: { DateStyle: "sql,mdy" } });
  for (let round = 0; round < 3; round++) {
    const date = "select date '2026-11-23'";
    assert.equal(valueOf(await german.extended(date)), "23.11.2026");
    assert.equal(valueOf(await sql.extended(date)), "11/23/2026");
  }
});

Deno.test("the pooler's own SET leaves no trace in a client's answer", async () => {
  await using world = await sharedWorld();
  const [client, other] = [
    await world.connect({ parameters: { application_name: "one" } }),
    await world.connect({ parameters: { application_name: "two" } }),
  ];
  for (let round = 0; round < 3; round++) {
    assert.equal((await client.query("select 1")).types, "TDCZ");
    assert.equal((await other.query("select 1")).types, "TDCZ");
  }
});

Deno.test("application_name is seen on PostgreSQL while its client works", async () => {
  await using world = await sharedWorld();
  const [one, two] = [
    await world.connect({ parameters: { application_name: "one" } }),
    await world.connect({ parameters: { application_name: "two" } }),
  ];
  for (const [client, name] of [[one, "one"], [two, "two"], [one, "one"]] as const) {
    await client.query("select 1");
    assert.equal((await world.backends())[0]?.applicationName, name);
  }
});

Deno.test("a value cannot break out of the SET that restores it", async () => {
  await using world = await sharedWorld();
  const hostile = `x'; select pg_terminate_backend(pg_backend_pid()); \\' E'\\`;
  const client = await world.connect({ parameters: { application_name: hostile } });
  const other = await world.connect({
    parameters: { application_name: "y", standard_conforming_strings: "off" },
  });
  for (let round = 0; round < 3; round++) {
    assert.equal(await shown(client, "application_name"), hostile);
    assert.equal(await shown(other, "application_name"), "y");
  }
});

for (const path of ["''", '"a,b"', '"q""q", "$user"', "'it''s', public"]) {
  Deno.test(`search_path set to ${path} comes back as it was`, async () => {
    await using world = await sharedWorld();
    const client = await world.connect();
    const other = await world.connect();
    await client.query(`set search_path = ${path}`);
    const before = await shown(client, "search_path");
    for (let round = 0; round < 2; round++) {
      assert.equal(await shown(other, "search_path"), '"$user", public');
      assert.equal(await shown(client, "search_path"), before);
    }
  });
}

Deno.test("track_extra_parameters adds parameters that PostgreSQL reports", async () => {
  await using world = await sharedWorld({
    pooler: { track_extra_parameters: "IntervalStyle, default_transaction_read_only" },
  });
  const client = await world.connect({ parameters: { default_transaction_read_only: "on" } });
  const other = await world.connect();
  for (let round = 0; round < 2; round++) {
    assert.equal(await shown(client, "default_transaction_read_only"), "on");
    assert.equal(await shown(other, "default_transaction_read_only"), "off");
  }
});

Deno.test("in session pooling the next session does not see the parameters of the one before", async () => {
  await using world = await sharedWorld({ pooler: { pool_mode: "session" } });
  for (const [name, asked, canonical] of TRACKED) {
    const client = await world.connect({ parameters: { [name]: asked[0] } });
    assert.equal(await shown(client, name), canonical[0]);
    await client.terminate();
  }
  const last = await world.connect();
  const fresh = await startWorld(postgres, {});
  await using _fresh = fresh;
  const direct = await fresh.connect();
  for (const [name] of TRACKED) {
    assert.equal(await shown(last, name), await shown(direct, name), name);
  }
});

Deno.test("in session pooling a client's SET reaches it as from PostgreSQL itself", async () => {
  await using world = await sharedWorld({ pooler: { pool_mode: "session" } });
  const client = await world.connect();
  const { parameters } = await client.query("set timezone = 'asia/tokyo'");
  assert.deepEqual([...parameters], [["TimeZone", "Asia/Tokyo"]]);
});

Deno.test("many clients, each with its own parameters, never see another's", async () => {
  await using world = await sharedWorld({ poolSize: 3 });
  const zones = ["Asia/Tokyo", "Europe/Paris", "America/Lima", "Africa/Cairo", "UTC"];
  const turn = async (index: number) => {
    const zone = zones[index % zones.length]!;
    const name = `client ${index}`;
    const client = await world.connect({
      parameters: { TimeZone: zone, application_name: name },
    });
    for (let round = 0; round < 20; round++) {
      const { rows } = await client.query(
        "select current_setting('timezone'), current_setting('application_name')",
      );
      assert.deepEqual(rows, [[zone, name]]);
    }
  };
  await Promise.all(Array.from({ length: 15 }, (_, index) => turn(index)));
});

const needsOld = { ignore: isMissing("postgresql-15") };

Deno.test({
  ...needsOld,
  name: "PostgreSQL 15: search_path is followed as it was given at startup",
  async fn() {
    await using old = await startPostgres({ flavour: "debian", auth: "trust" });
    await using world = await sharedWorld({ on: old });
    const client = await world.connect({ parameters: { options: "-c search_path=mine" } });
    const another = await world.connect({ parameters: { search_path: "theirs, public" } });
    const plain = await world.connect();
    for (let round = 0; round < 3; round++) {
      assert.equal(await shown(client, "search_path"), "mine");
      assert.equal(await shown(another, "search_path"), "theirs, public");
      assert.equal(await shown(plain, "search_path"), '"$user", public');
    }
  },
});

Deno.test({
  ...needsOld,
  name: "PostgreSQL 15: the search_path given at startup holds whatever another client sets",
  async fn() {
    await using old = await startPostgres({ flavour: "debian", auth: "trust" });
    await using world = await sharedWorld({ on: old });
    const client = await world.connect({ parameters: { search_path: "mine" } });
    const setter = await world.connect({ parameters: { search_path: "mine" } });
    for (const sql of ["set search_path = theirs", "discard all", "reset search_path"]) {
      await setter.query(sql);
      assert.equal(await shown(client, "search_path"), "mine", sql);
    }
  },
});

Deno.test({
  ...needsOld,
  name: "PostgreSQL 15: the reported parameters are each client's own",
  async fn() {
    await using old = await startPostgres({ flavour: "debian", auth: "trust" });
    await using world = await sharedWorld({ on: old });
    const [one, two] = [
      await world.connect({ parameters: { TimeZone: "asia/tokyo", DateStyle: "german" } }),
      await world.connect(),
    ];
    await two.query("set intervalstyle = 'iso_8601'; set application_name = 'two'");
    for (let round = 0; round < 2; round++) {
      assert.equal(await shown(one, "timezone"), "Asia/Tokyo");
      assert.equal(await shown(one, "intervalstyle"), "postgres");
      assert.equal(await shown(two, "timezone"), "UTC");
      assert.equal(await shown(two, "intervalstyle"), "iso_8601");
      assert.equal(await shown(two, "application_name"), "two");
      assert.equal(await shown(one, "application_name"), "");
    }
  },
});

Deno.test({
  ...needsOld,
  name: "PostgreSQL 15: a session in session pooling starts with the search_path it asked for",
  async fn() {
    await using old = await startPostgres({ flavour: "debian", auth: "trust" });
    await using world = await sharedWorld({ on: old, pooler: { pool_mode: "session" } });
    const first = await world.connect({ parameters: { search_path: "mine" } });
    assert.equal(await shown(first, "search_path"), "mine");
    await first.query("set search_path = elsewhere");
    await first.terminate();
    const second = await world.connect({ parameters: { search_path: "mine" } });
    assert.equal(await shown(second, "search_path"), "mine");
    await second.send(frontend.terminate());
    const third = await world.connect();
    assert.equal(await shown(third, "search_path"), '"$user", public');
  },
});
