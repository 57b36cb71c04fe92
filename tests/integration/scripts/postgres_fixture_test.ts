/** The temporary PostgreSQL that the other tests rely on. */

import assert from "node:assert/strict";
// @ts-types="@types/pg"
import pg from "pg";
import { exists } from "../../../scripts/cache_dir.ts";
import { waitUntil } from "../../../scripts/guarded_process.ts";
import { startPostgres } from "../../../scripts/postgres_fixture.ts";
import type { PostgresOptions } from "../../../scripts/postgres_fixture.ts";
import { projectDir } from "../../../scripts/staging.ts";
import { isMissing } from "../../support/requirements.ts";

/** Starts PostgreSQL and checks what it promises: its version, a setting, both ways to log in. */
async function checkFixture(options: PostgresOptions, version: RegExp): Promise<void> {
  await using postgres = await startPostgres({ ...options, conf: ["max_connections = 33"] });
  const [row] = await postgres.sql("show server_version");
  assert.match(String(row?.["server_version"]), version);
  assert.deepEqual(await postgres.sql("show max_connections"), [{ max_connections: "33" }]);
  const client = new pg.Client(postgres.url());
  await client.connect();
  assert.equal((await client.query("select 1 as one")).rows.length, 1);
  await client.end();
  const stranger = new pg.Client(postgres.url().replace(postgres.password, "wrong"));
  await assert.rejects(stranger.connect(), { code: "28P01" });
}

Deno.test("startPostgres() starts the embedded PostgreSQL 18, which asks for a password", async () => {
  await checkFixture({}, /^18\./);
});

Deno.test({
  name: "startPostgres() starts Debian's PostgreSQL 15, which asks for an md5 password",
  ignore: isMissing("postgresql-15"),
  fn: () => checkFixture({ flavour: "debian", auth: "md5" }, /^15\./),
});

Deno.test("Postgres.restart() keeps port and data, also after a crash", async () => {
  await using postgres = await startPostgres();
  const { port } = postgres;
  await postgres.sql("create table kept (x int)");
  await postgres.restart();
  await postgres.kill();
  await assert.rejects(postgres.sql("select 1"));
  await postgres.restart();
  assert.equal(postgres.port, port);
  assert.deepEqual(await postgres.sql("select * from kept"), []);
});

Deno.test("Postgres leaves no folder behind when it is disposed", async () => {
  const postgres = await startPostgres();
  await postgres[Symbol.asyncDispose]();
  assert.equal(await exists(postgres.socketDir), false);
});

Deno.test("Postgres and its folder go away when the script is killed", async () => {
  const script = `
    import { startPostgres } from "${projectDir()}/scripts/postgres_fixture.ts";
    const postgres = await startPostgres();
    console.log(JSON.stringify([postgres.pid, postgres.socketDir]));
    Deno.kill(Deno.pid, "SIGKILL");
  `;
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", script],
    cwd: projectDir(),
  }).output();
  const [pid, dir] = JSON.parse(new TextDecoder().decode(stdout)) as [number, string];
  assert.ok(await waitUntil(async () => !(await exists(dir)), 20_000), "the folder is still there");
  assert.ok(await waitUntil(() => !isAlive(pid), 5_000), "the server is still there");
});

function isAlive(pid: number): boolean {
  try {
    Deno.kill(pid, "SIGCONT");
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
