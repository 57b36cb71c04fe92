/** Reloads of a Sluice that is at work, and what `check --diff` says of one. */

import assert from "node:assert/strict";
import { waitUntil } from "../../scripts/guarded_process.ts";
import { configFor, serverOf } from "../support/toml_config.ts";
import { errorText, logIn } from "../support/logins.ts";
import { runSluice, startSluice } from "../support/pooler_process.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";

const RELOAD_COUNT = 200;

const CLIENT_COUNT = 5;

const shared = sharedPostgres();

Deno.test("200 reloads, every second one of a broken file, fail no transaction of those at work", async () => {
  const postgres = shared.get();
  // Each good file recycles the servers, and resizes the pool.
  const config = (round: number) =>
    configFor(postgres, {
      pooler: { pool_mode: "transaction", default_pool_size: 2 + round % 3, admin_users: "admin" },
      databases: {
        app: { ...serverOf(postgres), dbname: "postgres", connect_query: `select ${round}` },
      },
      users: { postgres: { password: postgres.password }, admin: { password: "x" } },
    });
  await using sluice = await startSluice({ config: config(0) });
  let isOver = false;
  const counts = Array<number>(CLIENT_COUNT).fill(0);
  const work = async (at: number): Promise<void> => {
    const client = await logIn({ port: sluice.port, user: "postgres", database: "app" });
    for (; !isOver; counts[at]! += 1) {
      await client.query("begin");
      await client.query("select 1");
      await client.query("commit");
    }
    await client.end();
  };
  const working = Promise.all(counts.map((_, at) => work(at)));
  const haveAllGoneOn = (from: readonly number[]) => counts.every((count, at) => count > from[at]!);
  assert.ok(await waitUntil(() => haveAllGoneOn([0, 0, 0, 0, 0]), 10_000));
  const console = await logIn({ port: sluice.port, user: "admin", database: "pgbouncer" });
  const failures = new Map<string, number>();
  for (let round = 1; round <= RELOAD_COUNT; round++) {
    await sluice.rewriteConfig(round % 2 === 0 ? config(round) : `${config(round)}nonsense = 1\n`);
    await console.query("RELOAD").catch((error: unknown) => {
      failures.set(errorText(error), (failures.get(errorText(error)) ?? 0) + 1);
    });
  }
  const afterReloads = [...counts];
  assert.ok(await waitUntil(() => haveAllGoneOn(afterReloads), 10_000));
  isOver = true;
  await working;
  await console.end();
  assert.deepEqual(
    [...failures],
    [["F0000 RELOAD failed, see logs for additional details", RELOAD_COUNT / 2]],
  );
  assert.match(sluice.log(), / closing because: connect string changed/);
  assert.doesNotMatch(sluice.log(), /internal error| app\/\S+ pooler error/);
});

Deno.test("check --diff says that no Sluice runs with the configuration, or what is wrong with it", async () => {
  const config = '[pooler]\nunix_socket_dir = "{dir}"\n';
  const args = ["check", "--diff"];
  const alone = await runSluice({ args, config });
  assert.deepEqual([alone.code, alone.stdout], [1, ""]);
  assert.match(alone.stderr, /^no Sluice at unix:.*\.s\.PGSQL\.6432: connect failed\n$/);
  const bad = await runSluice({ args, config: `${config}nonsense = 1\n` });
  assert.equal(bad.code, 2);
  assert.match(bad.stderr, /config\.toml:3: .*nonsense/);
});
