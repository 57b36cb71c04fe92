/** PostgreSQL's own replication programs, and a subscription, through Sluice. */

import assert from "node:assert/strict";
import { join } from "node:path";
// @ts-types="@types/pg"
import type pg from "pg";
import { DEBIAN_BIN } from "../../scripts/embedded_postgres.ts";
import { type PostgresOptions, startPostgres } from "../../scripts/postgres_fixture.ts";
import { isMissing } from "../support/requirements.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { LoginRefused } from "../support/test_client.ts";
import { runProgram, startWorld, until, type World, type WorldOptions } from "./support/world.ts";

/** The programs and the server are of one version: older programs refuse a newer server. */
const ignore = isMissing("postgresql-15");

const SERVER: PostgresOptions = { flavour: "debian", conf: ["wal_level = logical"] };

const shared = sharedPostgres({ ...SERVER, isWanted: !ignore });

/** A world whose user may replicate, in transaction pooling, with an operator at the console. */
async function replicationWorld(options: WorldOptions = {}): Promise<World> {
  const world = await startWorld(shared.get(), {
    pooler: { pool_mode: "transaction", default_pool_size: 1, admin_users: "watcher" },
    databases: { replication: {} },
    ...options,
  });
  await world.direct(`alter role ${world.user} replication`);
  return world;
}

function operator(world: World): Promise<pg.Client> {
  return world.driver({ user: "watcher", database: "pgbouncer" });
}

/** What a SHOW says of those that replicate. */
async function shownReplication(world: World, what: "clients" | "servers"): Promise<string[]> {
  const console = await operator(world);
  const { rows } = await console.query<Record<string, unknown>>(
    `show ${what} where replication <> 'none' order by id`,
  );
  return rows.map((row) => `${row["database"]}/${row["user"]} ${row["replication"]}`);
}

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore, fn });
}

/** A program that goes on until it is told to stop. */
class Program {
  readonly #child: Deno.ChildProcess;
  readonly #outputs: Promise<unknown>;
  output = "";

  constructor(name: string, args: readonly string[], world: World) {
    this.#child = new Deno.Command(join(DEBIAN_BIN, name), {
      args: [...args],
      env: world.libpqEnv,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#outputs = Promise.all(
      [this.#child.stdout, this.#child.stderr].map(async (stream) => {
        for await (const text of stream.pipeThrough(new TextDecoderStream())) this.output += text;
      }),
    );
  }

  /** Stops it as Ctrl-C does. Returns its exit status. */
  async stop(): Promise<number> {
    this.#child.kill("SIGINT");
    await this.#outputs;
    return (await this.#child.status).code;
  }
}

async function run(world: World, name: string, ...args: readonly string[]): Promise<void> {
  const result = await runProgram(join(DEBIAN_BIN, name), { args, env: world.libpqEnv });
  assert.equal(result.code, 0, `${name}: ${result.stderr}`);
}

async function temporaryDir(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await Deno.makeTempDir({ prefix: "sluice-replication-" });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

test("pg_basebackup takes a backup with its WAL, over two connections", async () => {
  await using world = await replicationWorld();
  await using dir = await temporaryDir();
  const backup = join(dir.path, "backup");
  await run(world, "pg_basebackup", "-D", backup, "-X", "stream", "--checkpoint=fast");
  await run(world, "pg_verifybackup", backup);
  const logins = world.sluice.log().match(/login attempt: db=replication .* replication=yes/g);
  assert.equal(logins?.length, 2);
  await world.untilBackendCount(0);
});

test("pg_receivewal keeps a slot's WAL, and is stopped in order", async () => {
  await using world = await replicationWorld();
  await using dir = await temporaryDir();
  const slot = `slot_${world.user}`;
  await run(world, "pg_receivewal", "--create-slot", "--slot", slot);
  const args = ["-D", dir.path, "--slot", slot, "--no-loop", "--status-interval=1"];
  const receiver = new Program("pg_receivewal", args, world);
  await until("a stream", async () => {
    const rows = await world.direct(
      `select 1 from pg_stat_replication where usename = '${world.user}' and state = 'streaming'`,
    );
    return rows.length === 1;
  });
  assert.deepEqual(await shownReplication(world, "clients"), [
    `replication/${world.user} physical`,
  ]);
  assert.deepEqual(await shownReplication(world, "servers"), [
    `replication/${world.user} physical`,
  ]);
  const [row] = await world.direct("select pg_walfile_name(pg_current_wal_lsn()) as file");
  await world.direct("select pg_logical_emit_message(false, 'test', repeat('x', 100000))");
  await world.direct("select pg_switch_wal()");
  const segment = join(dir.path, String(row!["file"]));
  await until("a whole segment", async () => {
    for await (const { name } of Deno.readDir(dir.path)) {
      if (join(dir.path, name) === segment) return true;
    }
    return false;
  });
  assert.equal(await receiver.stop(), 0, receiver.output);
  await world.untilBackendCount(0);
  await world.direct(`select pg_drop_replication_slot('${slot}')`);
});

test("pg_recvlogical decodes changes, in the database it asked for", async () => {
  await using world = await replicationWorld();
  const slot = `slot_${world.user}`;
  const args = ["-d", world.database, "--slot", slot];
  await run(world, "pg_recvlogical", ...args, "--create-slot", "-P", "test_decoding");
  const receiver = new Program("pg_recvlogical", [...args, "--start", "-f", "-"], world);
  const client = await world.connect();
  await client.query("create table t (i int); insert into t values (4711)");
  await until("the change", () => receiver.output.includes("INSERT: i[integer]:4711"));
  assert.deepEqual(await shownReplication(world, "clients"), [`postgres/${world.user} logical`]);
  assert.equal((await world.pool())["sv_active"], 1, "beside the pool, and in its row");
  assert.equal(await receiver.stop(), 0, receiver.output);
  await run(world, "pg_recvlogical", ...args, "--drop-slot");
  await world.untilBackends(
    "only the pool's server",
    (backends) => backends.length === 1,
  );
});

test("a subscription follows its publisher through Sluice, and over RECONNECT", async () => {
  await using world = await replicationWorld();
  await using subscriber = await startPostgres({
    ...SERVER,
    conf: ["wal_retrieve_retry_interval = 100"],
  });
  await using other = await startWorld(subscriber);
  const table = `${world.user}.t`;
  await world.direct(`create table ${table} (i int primary key);
    insert into ${table} select generate_series(1, 1000);
    grant select on ${table} to ${world.user};
    create publication p for table ${table}`);
  const { PGHOST, PGPASSWORD, PGPORT, PGUSER } = world.libpqEnv;
  const target = `host=${PGHOST} port=${PGPORT} user=${PGUSER} password=${PGPASSWORD}`;
  await other.direct(`create schema ${world.user}; create table ${table} (i int primary key)`);
  await other.direct(
    `create subscription s connection '${target} dbname=${world.database}' publication p`,
  );
  const untilCount = (count: number) =>
    until(`${count} rows`, async () => {
      const [row] = await other.direct(`select count(*) as count from ${table}`);
      return Number(row!["count"]) === count;
    });
  await untilCount(1000);
  await world.direct(`insert into ${table} select generate_series(1001, 1500)`);
  await untilCount(1500);
  const console = await operator(world);
  await console.query("pause");
  await world.direct(`insert into ${table} values (1501)`);
  await untilCount(1501);
  await console.query("resume");
  await console.query("reconnect");
  await world.direct(`insert into ${table} select generate_series(1502, 2000)`);
  await untilCount(2000);
  await until("the log of it", () => /replication=database/.test(world.sluice.log()));
  await other.direct("drop subscription s");
  await world.untilBackendCount(0);
});

test("a role that may not replicate is told so by PostgreSQL", async () => {
  await using world = await replicationWorld();
  await world.direct(`alter role ${world.user} noreplication`);
  for (const replication of ["true", "database"]) {
    await assert.rejects(world.connect({ parameters: { replication } }), (error: LoginRefused) => {
      assert.deepEqual(error.report, {
        severity: "FATAL",
        sqlstate: "42501",
        message: "must be superuser or replication role to start walsender",
      });
      return true;
    });
  }
});

test("max_replication_connections holds with real servers", async () => {
  await using world = await replicationWorld({
    pooler: { max_replication_connections: 1 },
  });
  const client = await world.connect({ parameters: { replication: "database" } });
  await assert.rejects(
    world.connect({ parameters: { replication: "database" } }),
    (error: LoginRefused) => error.report.sqlstate === "53300",
  );
  const system = await client.query("IDENTIFY_SYSTEM");
  assert.equal(system.rows[0]?.[3], world.database);
  await client.terminate();
  await world.untilBackendCount(0);
  (await world.connect({ parameters: { replication: "database" } })).close();
});
