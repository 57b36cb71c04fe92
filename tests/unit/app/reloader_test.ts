/** What a reload does to those who are being served, and when it happens by itself. */

import assert from "node:assert/strict";
import { AuthRules } from "../../../src/app/auth_rules.ts";
import type { LoadedConfig } from "../../../src/app/live_config.ts";
import { Pooler, type PoolerOptions } from "../../../src/app/pooler.ts";
import type { UserListFile } from "../../../src/app/reloader.ts";
import { Secret } from "../../../src/base/secret.ts";
import { Logger } from "../../../src/log/logger.ts";
import { eventTurn, eventTurns } from "../../support/event_turn.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { hbaOf } from "../../support/memory_rules.ts";
import { frontend } from "../../support/messages.ts";
import { PoolerWorld, USERS } from "../../support/pooler_world.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { OWN_NAMES } from "../../support/own_names.ts";
import { SimNetwork } from "../../support/sim_net.ts";
import { loadToml, memoryIo } from "../config/memory_files.ts";
import { loadConfig } from "../../../src/config/load.ts";

const CHANGED = "FATAL 57P01 database configuration changed";

/** `app`, whose servers are those of a user if one is given, and in a database. */
function sections(user?: string, dbname = "one"): string {
  const forced = user === undefined ? "" : `user = "${user}"\npassword = "secret"\n`;
  return `[databases.app]\nhost = "127.0.0.1"\ndbname = "${dbname}"\n${forced}${USERS}`;
}

// --- another forced user ---

Deno.test("clients of a forced user that is replaced end, in a transaction when that has ended", async () => {
  await using world = await PoolerWorld.open({ sections: sections("old") });
  const [busy, idle] = [await world.login(), await world.login()];
  await busy.query("begin");
  await world.reload({ sections: sections("new") });
  assert.equal(await idle.lastWords(), CHANGED);
  assert.deepEqual((await busy.query("select 1")).rows, [["1"]]);
  assert.deepEqual((await busy.query("commit")).tags, ["COMMIT"]);
  assert.equal(await busy.lastWords(), CHANGED);
  const next = await world.login();
  await next.query("select 1");
  await world.advance(500);
  assert.deepEqual(
    world.pooler.pools.registry.ofDatabase("app").map(({ user }) => user),
    ["new"],
    "the pool that nobody comes to any more is freed",
  );
  next.close();
});

Deno.test("a client that waits for the old forced user's server does not get one of his", async () => {
  await using world = await PoolerWorld.open({
    sections: sections("old"),
    pooler: "default_pool_size = 1",
  });
  const [busy, waiting] = [await world.login(), await world.login()];
  await busy.query("begin");
  await waiting.send(frontend.query("select 1"));
  await world.settle();
  await world.reload({ sections: sections("new"), pooler: "default_pool_size = 1" });
  assert.equal(await waiting.lastWords(), CHANGED);
  busy.close();
});

Deno.test("a session with the old forced user goes on to its end, and no server is opened beside it", async () => {
  const pooler = 'pool_mode = "session"\nmin_pool_size = 2';
  await using world = await PoolerWorld.open({ sections: sections("old"), pooler });
  const client = await world.login();
  await client.query("select 1");
  await world.advance(1_000);
  await world.reload({ sections: sections("new"), pooler });
  await world.advance(5_000);
  assert.deepEqual((await client.query("select 1")).rows, [["1"]]);
  assert.equal(world.pool("app", "old").servers.count, 1);
  assert.equal(world.pool("app", "new").servers.count, 2);
  client.close();
});

Deno.test("without a forced user any more, only clients of another name have to leave", async () => {
  await using world = await PoolerWorld.open({ sections: sections("bob") });
  const [ada, bob] = [await world.login(), await world.login({ user: "bob" })];
  await world.reload({ sections: sections() });
  assert.equal(await ada.lastWords(), CHANGED);
  assert.deepEqual((await bob.query("select 1")).rows, [["1"]]);
  bob.close();
});

// --- server_fast_close ---

for (const [isFast, words] of [[true, CHANGED], [false, "nothing"]] as const) {
  Deno.test(`with server_fast_close = ${isFast}, a session with an open transaction ends so: ${words}`, async () => {
    const pooler = `pool_mode = "session"\nserver_fast_close = ${isFast}`;
    await using world = await PoolerWorld.open({ sections: sections(), pooler });
    const client = await world.login();
    await client.query("begin");
    await world.reload({ sections: sections(undefined, "two"), pooler });
    await world.advance(2_000);
    assert.deepEqual((await client.query("select 1")).rows, [["1"]], "its transaction goes on");
    assert.deepEqual((await client.query("commit")).tags, ["COMMIT"]);
    if (!isFast) await client.send(frontend.terminate());
    assert.equal(await client.lastWords(), words);
    await world.settle();
    assert.ok(!world.postgres.live.some(({ database }) => database === "one"));
  });
}

Deno.test("with server_fast_close, an idle session whose server is to be closed ends within a round", async () => {
  const pooler = 'pool_mode = "session"\nserver_fast_close = true';
  await using world = await PoolerWorld.open({ sections: sections(), pooler });
  const client = await world.login();
  await client.query("select 1");
  await world.reload({ sections: sections(undefined, "two"), pooler });
  await world.advance(400);
  assert.equal(await client.lastWords(), CHANGED);
});

// --- which files ---

interface Made {
  readonly pooler: Pooler;
  readonly clock: FakeClock;
  /** What was logged, from the level on. */
  said(): string[];
}

async function make(
  files: Record<string, string>,
  more: Partial<PoolerOptions> & { userList?: ReadonlyMap<string, Secret>; rules?: AuthRules } = {},
): Promise<Made> {
  const clock = new FakeClock();
  const log: string[] = [];
  const userList = more.userList ?? new Map<string, Secret>();
  const load = async (path: string): Promise<LoadedConfig> => {
    const config = await loadConfig(path, memoryIo(files));
    return { config, userList, userListStamp: "1", rules: more.rules };
  };
  const random = new SeededRandom(1);
  const sink = { write: (line: string) => log.push(line.trimEnd()) };
  const pooler = new Pooler({
    clock,
    random,
    log: new Logger({ clock, processId: 1, sink, verbosity: 0 }),
    network: new SimNetwork({ random, clock, isAutomatic: true }),
    resolver: OWN_NAMES,
    engine: "simulated",
    loaded: await load("config.toml"),
    load,
    ownUid: 1000,
    memory: () => Deno.memoryUsage(),
    ...more,
  });
  return { pooler, clock, said: () => log.map((line) => line.replace(/^.*\] /, "")) };
}

Deno.test("a reload reads the file that conffile names, as it was set meanwhile", async () => {
  const { pooler } = await make({
    "config.toml": "[pooler]\nquery_timeout = 1\n",
    "b.toml": "[pooler]\nquery_timeout = 2\n",
  });
  pooler.operations.set("conffile", "b.toml");
  assert.equal(await pooler.reload(), true);
  assert.deepEqual(
    [pooler.live.settings.queryTimeoutMs, pooler.live.settings.conffile],
    [2_000, "b.toml"],
  );
  pooler.operations.set("conffile", "none.toml");
  assert.equal(await pooler.reload(), false, "that file is not there");
  assert.equal(pooler.live.settings.queryTimeoutMs, 2_000);
});

Deno.test("a reload takes back what was set meanwhile, and what the file no longer says", async () => {
  const files = { "config.toml": "[pooler]\nquery_timeout = 1\nmax_client_conn = 7\n" };
  const { pooler } = await make(files);
  pooler.operations.set("query_timeout", "9");
  files["config.toml"] = "[pooler]\nquery_timeout = 1\n";
  await pooler.reload();
  const { maxClientConn, queryTimeoutMs } = pooler.live.settings;
  assert.deepEqual([maxClientConn, queryTimeoutMs], [100, 1_000]);
});

Deno.test("what needs a restart is warned of by each reload, but not by a SET between them", async () => {
  const files = { "config.toml": "[pooler]\n" };
  const { pooler, said } = await make(files);
  files["config.toml"] = "[pooler]\nlisten_port = 7000\n";
  for (let count = 1; count <= 2; count++) {
    await pooler.reload();
    pooler.operations.set("query_timeout", "9");
    const warning = "WARNING listen_port takes effect with a restart only";
    assert.equal(said().filter((line) => line === warning).length, count);
    assert.equal(pooler.live.settings.listenPort, 6432);
  }
});

Deno.test("a reload has in the log what it has changed, without secrets, and nothing if it failed", async () => {
  const files = {
    "config.toml": `[pooler]\nquery_timeout = 1\n[databases.gone]\nhost = "127.0.0.1"
[users.ada]\npassword = "hunter2"\n[users.bob]\npassword = "hunter2"\n`,
  };
  const { pooler, said } = await make(files);
  files["config.toml"] = `[pooler]\nquery_timeout = 9\nlisten_port = 7000\n[databases.new]
host = "127.0.0.1"\n[users.ada]\npassword = "hunter3"\n[users.bob]\npassword = "hunter2"\n`;
  await pooler.reload();
  const all = [
    "WARNING listen_port takes effect with a restart only",
    "LOG query_timeout changed: 1 -> 9",
    'LOG database "gone" removed (clients are closed)',
    'LOG database "new" added',
    'LOG user "ada" changed',
    "LOG configuration reloaded",
  ];
  assert.deepEqual(said(), all);
  await pooler.reload();
  assert.deepEqual(said().slice(all.length), [all[0], all.at(-1)], "nothing has changed since");
  files["config.toml"] = "[pooler]\nquery_timeout = 5\nsuch = 1\n";
  assert.equal(await pooler.reload(), false);
  assert.ok(!said().some((line) => line.includes("-> 5")));
});

Deno.test("a reload warns of an own entry among the peers that is wrong", async () => {
  const files = { "config.toml": "[pooler]\npeer_id = 2\n" };
  const { pooler, said } = await make(files);
  files["config.toml"] += '[peers.2]\nhost = "/nowhere"\n';
  await pooler.reload();
  assert.ok(
    said().some((line) => line.startsWith('WARNING config.toml: Peer "2" is this process')),
  );
});

Deno.test("what a reload would change is told of what is in force when the files have been read", async () => {
  const config = await loadToml("[pooler]\nquery_timeout = 1\n");
  const { promise: reading, resolve } = Promise.withResolvers<LoadedConfig>();
  const { pooler } = await make({ "config.toml": "[pooler]\n" }, { load: () => reading });
  const planning = pooler.planReload();
  await eventTurn();
  pooler.operations.set("query_timeout", "9");
  resolve({ config, userList: new Map() });
  assert.deepEqual((await planning).map(({ after, before, name }) => [name, before, after]), [
    ["query_timeout", "9", "1"],
  ]);
});

// --- auth_file ---

const WITH_USERS = { "config.toml": '[pooler]\nauth_file = "users.txt"\n' };

/** `auth_file` in memory. */
class ListInMemory implements UserListFile {
  stamp = "1";
  problem: string | undefined;
  secret = "one";
  readCount = 0;
  stampCount = 0;
  /** What a look waits for. */
  delay: Promise<void> = Promise.resolve();

  async stampOf(): Promise<string> {
    this.stampCount += 1;
    await this.delay;
    return this.stamp;
  }

  read(): Promise<ReadonlyMap<string, Secret>> {
    this.readCount += 1;
    if (this.problem !== undefined) return Promise.reject(new Error(this.problem));
    return Promise.resolve(new Map([["ada", new Secret(this.secret)]]));
  }
}

/** A round of the janitor a second later, and what it has begun. */
async function look({ clock, pooler }: Made): Promise<void> {
  clock.advance(1_000);
  pooler.janitor.sweep();
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

function hasSecret({ pooler }: Made, secret: string): boolean {
  return pooler.live.credentials.get("ada")?.hasSecret(new Secret(secret)) ?? false;
}

Deno.test("auth_file is read anew when it changes, and only then; what was SET stays", async () => {
  const file = new ListInMemory();
  const made = await make(WITH_USERS, { userListFile: file });
  made.pooler.operations.set("query_timeout", "9");
  await look(made);
  assert.deepEqual([file.stampCount, file.readCount], [1, 0]);
  Object.assign(file, { stamp: "2", secret: "two" });
  for (let i = 0; i < 3; i++) await look(made);
  assert.deepEqual([file.readCount, hasSecret(made, "two")], [1, true]);
  assert.equal(made.pooler.live.settings.queryTimeoutMs, 9_000);
  assert.deepEqual(made.said().slice(-2), [
    'LOG user "ada" of auth_file added',
    "LOG auth_file users.txt has changed: its users are in force",
  ]);
});

Deno.test("the rules stay in force when auth_file is read anew", async () => {
  const rules = new AuthRules({ hba: (await hbaOf("local all all trust")).rules });
  const files = {
    "config.toml":
      '[pooler]\nauth_file = "users.txt"\nauth_type = "hba"\nauth_hba_file = "hba.conf"\n',
  };
  const file = new ListInMemory();
  const made = await make(files, { userListFile: file, rules });
  file.stamp = "2";
  await look(made);
  assert.deepEqual([...made.pooler.live.credentials.keys()], ["ada"]);
  assert.equal(made.pooler.live.loaded.rules, rules);
});

Deno.test("a bad auth_file changes nothing and is logged once each time it changes", async () => {
  const file = new ListInMemory();
  const made = await make(WITH_USERS, {
    userListFile: file,
    userList: new Map([["ada", new Secret("one")]]),
  });
  const bad = "ERROR users.txt:3: no quote";
  const count = () => made.said().filter((line) => line === bad).length;
  Object.assign(file, { stamp: "2", problem: "users.txt:3: no quote" });
  for (let i = 0; i < 3; i++) await look(made);
  assert.deepEqual([count(), hasSecret(made, "one")], [1, true]);
  file.stamp = "3";
  for (let i = 0; i < 3; i++) await look(made);
  assert.equal(count(), 2);
  Object.assign(file, { stamp: "4", problem: undefined, secret: "two" });
  await look(made);
  assert.ok(hasSecret(made, "two"));
});

Deno.test("auth_file is not looked at while an earlier look, or a reload, is under way", async () => {
  const file = new ListInMemory();
  const made = await make(WITH_USERS, { userListFile: file });
  const { promise, resolve } = Promise.withResolvers<void>();
  file.delay = promise;
  for (let i = 0; i < 3; i++) await look(made);
  assert.equal(file.stampCount, 1);
  resolve();
  for (let i = 0; i < 20; i++) await Promise.resolve();
  assert.equal(file.stampCount, 1, "those that were left out are not made up for");
  await look(made);
  assert.equal(file.stampCount, 2);
});

Deno.test("a process that cannot follow a changed auth_file leaves the users as they were", async () => {
  const file = new ListInMemory();
  const made = await make(WITH_USERS, {
    userListFile: file,
    onReloaded: () => {
      throw new Error("no");
    },
  });
  Object.assign(file, { stamp: "2", secret: "two" });
  await look(made);
  assert.equal(hasSecret(made, "two"), false);
  assert.ok(made.said().includes("ERROR no"));
});

Deno.test("a look at auth_file that fails is reported, and holds up neither the next nor a reload", async () => {
  const file = new ListInMemory();
  const made = await make(WITH_USERS, { userListFile: file });
  file.delay = Promise.reject(new Error("odd"));
  await look(made);
  assert.match(made.said().at(-1)!, /internal error: Error: odd/);
  assert.equal(await made.pooler.reload(), true);
  Object.assign(file, { delay: Promise.resolve(), stamp: "2", secret: "two" });
  await look(made);
  assert.ok(hasSecret(made, "two"));
});

Deno.test("a look at auth_file that a disk never answers does not hold up the end", async () => {
  const file = new ListInMemory();
  const made = await make(WITH_USERS, { userListFile: file });
  file.delay = new Promise(() => {});
  await made.pooler.start();
  await look(made);
  assert.equal(file.stampCount, 1);
  let hasStopped = false;
  void made.pooler.stopped.then(() => hasStopped = true);
  made.pooler.shutdown("immediate");
  await eventTurns();
  assert.ok(hasStopped);
});

// --- what a reload would change ---

Deno.test("what a reload would change is told, and nothing is changed", async () => {
  const files = { "config.toml": "[pooler]\nquery_timeout = 1\n" };
  const loadCount: string[] = [];
  const { pooler } = await make(files, {
    load: async (path) => {
      loadCount.push(path);
      return { config: await loadToml(files["config.toml"]), userList: new Map() };
    },
  });
  files["config.toml"] = "[pooler]\nquery_timeout = 2\n";
  const changes = await pooler.planReload();
  assert.deepEqual(changes.map(({ after, before, name }) => [name, before, after]), [
    ["query_timeout", "1", "2"],
  ]);
  assert.deepEqual([pooler.live.settings.queryTimeoutMs, loadCount.length], [1_000, 1]);
});

Deno.test("what a bad file would change is not told: the log has what is wrong with it", async () => {
  const files = { "config.toml": "[pooler]\n" };
  const { pooler, said } = await make(files);
  files["config.toml"] = "[pooler]\nnonsense = 1\n";
  await assert.rejects(pooler.planReload(), { name: "ReloadError" });
  assert.match(said()[0]!, /^ERROR config\.toml:2: .*nonsense/);
  assert.equal(await pooler.reload(), false, "and the next is not held up by that");
});
