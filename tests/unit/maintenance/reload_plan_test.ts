import assert from "node:assert/strict";
import type { Config } from "../../../src/config/config.ts";
import { planReload, type ReloadPlan } from "../../../src/maintenance/reload_plan.ts";
import { loadToml } from "../config/memory_files.ts";

const HOST = 'host = "127.0.0.1"';

function config(databases: string, pooler = ""): Promise<Config> {
  return loadToml(`[pooler]\n${pooler}\n${databases}`);
}

/** The plan for a change of `[databases.app]`, or whatever sections are given. */
async function plan(
  before: string,
  after: string,
  names: readonly string[] = ["app"],
): Promise<ReloadPlan> {
  const old = await config(before);
  return planReload(old, await config(after), names);
}

function app(lines: string): string {
  return `[databases.app]\n${lines}\n`;
}

Deno.test("planReload() finds nothing to do where nothing has changed", async () => {
  const everything = app(`${HOST}\nport = 5433\nuser = "u"\npassword = "p"\ndbname = "d"
connect_query = "select 1"\ntimezone = "UTC"`);
  assert.deepEqual(await plan(everything, everything), {
    changedDatabases: [],
    removedDatabases: [],
    needsRestart: [],
  });
});

for (
  const [what, before, after] of [
    ["dbname", `${HOST}\ndbname = "one"`, `${HOST}\ndbname = "two"`],
    ["the host", HOST, 'host = "127.0.0.2"'],
    ["the list of hosts", HOST, 'host = "127.0.0.1,127.0.0.2"'],
    ["the port", HOST, `${HOST}\nport = 5433`],
    ["the user", HOST, `${HOST}\nuser = "u"`],
    ["the password", `${HOST}\nuser = "u"\npassword = "p"`, `${HOST}\nuser = "u"\npassword = "q"`],
    ["the password, taken away", `${HOST}\nuser = "u"\npassword = "p"`, `${HOST}\nuser = "u"`],
    ["connect_query", HOST, `${HOST}\nconnect_query = "select 1"`],
    ["a startup parameter", `${HOST}\ntimezone = "UTC"`, `${HOST}\ntimezone = "Asia/Tokyo"`],
  ] as const
) {
  Deno.test(`planReload() gives up servers when this has changed: ${what}`, async () => {
    assert.deepEqual((await plan(app(before), app(after))).changedDatabases, ["app"]);
    assert.deepEqual((await plan(app(after), app(before))).changedDatabases, ["app"]);
  });
}

for (
  const line of [
    "pool_size = 7",
    "min_pool_size = 1",
    "reserve_pool_size = 1",
    'pool_mode = "statement"',
    "query_wait_timeout = 1",
    "server_lifetime = 1",
    'load_balance_hosts = "disable"',
  ]
) {
  Deno.test(`planReload() keeps servers when only this has changed: ${line}`, async () => {
    assert.deepEqual((await plan(app(HOST), app(`${HOST}\n${line}`))).changedDatabases, []);
  });
}

for (
  const [what, before, after] of [
    ["dbname, spelled out", HOST, `${HOST}\ndbname = "app"`],
    ["a password without a user", `${HOST}\npassword = "p"`, `${HOST}\npassword = "q"`],
  ] as const
) {
  Deno.test(`planReload() keeps servers when what changed is of no account: ${what}`, async () => {
    assert.deepEqual((await plan(app(before), app(after))).changedDatabases, []);
  });
}

Deno.test("planReload() looks at the databases in use only", async () => {
  const two = `${app(HOST)}[databases.other]\n${HOST}\n`;
  const changed = await plan(two, app(`${HOST}\nport = 5433`), ["other"]);
  assert.deepEqual([changed.changedDatabases, changed.removedDatabases], [[], ["other"]]);
});

Deno.test("planReload() takes * for the entry of a name that has none", async () => {
  const star = (port: number) => `[databases."*"]\n${HOST}\nport = ${port}\n`;
  assert.deepEqual((await plan(star(5432), star(5433))).changedDatabases, ["app"]);
  assert.deepEqual((await plan(star(5432), star(5432) + app(HOST))).changedDatabases, []);
  assert.deepEqual(
    (await plan(app(`${HOST}\nport = 5433`), star(5432))).changedDatabases,
    ["app"],
    "no longer an entry of its own, and * leads elsewhere",
  );
  assert.deepEqual((await plan(star(5432), "")).removedDatabases, ["app"]);
});

Deno.test("planReload() takes a name that had no entry before for changed", async () => {
  assert.deepEqual((await plan("", app(HOST))).changedDatabases, ["app"]);
});

Deno.test("planReload() names what needs a restart as long as it differs from what runs", async () => {
  const [running, other, reloadable] = [
    await config("", "listen_port = 6432\nquery_timeout = 1"),
    await config("", "listen_port = 6999\nquery_timeout = 1"),
    await config("", "listen_port = 6432\nquery_timeout = 2"),
  ];
  const needed = (after: Config) => planReload(running, after, []).needsRestart;
  assert.deepEqual(needed(other), ["listen_port"]);
  assert.deepEqual(needed(reloadable), []);
});
