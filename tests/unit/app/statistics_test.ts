/** What is counted stays counted, whatever becomes of pools and databases. */

import assert from "node:assert/strict";
import { STAT_NAMES, type StatValues } from "../../../src/stats/pool_stats.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";

const USERS = '[users.ada]\npassword = "secret"\n';

const APP = `[databases.app]\nhost = "127.0.0.1"\n${USERS}`;

/** What the log says when a period ends. */
const LINE =
  / LOG stats: (?<counts>\d+ xacts\/s, \d+ queries\/s, \d+ client parses\/s, \d+ server parses\/s, \d+ binds\/s, \d+ client logins\/s, in \d+ B\/s, out \d+ B\/s), (?<times>.*)$/;

/** Looks at the statistics again and again: no total may go down, no average be negative. */
class StatsWatch {
  readonly #world: PoolerWorld;
  #before = new Map<string, StatValues>();

  constructor(world: PoolerWorld) {
    this.#world = world;
  }

  /** Ends a period and compares; returns the queries counted for the database. */
  async look(database = "app"): Promise<number> {
    await this.#world.advance(11_000);
    const now = new Map(
      this.#world.pooler.stats.databases(this.#world.clock.nowMs()).map((each) =>
        [each.database, each] as const
      ),
    );
    for (const [name, totals] of this.#before) {
      for (const stat of STAT_NAMES) {
        const value = now.get(name)?.totals[stat] ?? 0;
        assert.ok(value >= totals[stat], `${stat} of ${name} fell: ${totals[stat]}, ${value}`);
      }
    }
    for (const [name, { averages }] of now) {
      for (const stat of STAT_NAMES) assert.ok(averages[stat] >= 0, `${stat} of ${name}`);
    }
    this.#before = new Map([...now].map(([name, { totals }]) => [name, totals]));
    return now.get(database)?.totals.queryCount ?? 0;
  }
}

/** Logs in, asks `count` times and leaves. */
async function ask(world: PoolerWorld, count: number): Promise<void> {
  const client = await world.login();
  for (let i = 0; i < count; i++) await client.query("select 1");
  client.close();
  await world.settle();
}

Deno.test("totals go on when a pool is freed and made again", async () => {
  const pooler = "autodb_idle_timeout = 20\nserver_idle_timeout = 5\nstats_period = 10";
  await using world = await PoolerWorld.open({ pooler });
  const watch = new StatsWatch(world);
  await ask(world, 3);
  assert.equal(await watch.look(), 3);
  await world.advance(60_000);
  assert.equal([...world.pooler.pools.registry.all()].length, 0);
  assert.equal(await watch.look(), 3);
  await ask(world, 4);
  assert.equal(await watch.look(), 7);
});

Deno.test("totals go on when a database is changed, removed and comes back", async () => {
  const pooler = "stats_period = 10";
  await using world = await PoolerWorld.open({ pooler, sections: APP });
  const watch = new StatsWatch(world);
  await ask(world, 2);
  assert.equal(await watch.look(), 2);
  const elsewhere = APP.replace("[users", 'dbname = "elsewhere"\n[users');
  assert.ok(await world.reload({ pooler, sections: elsewhere }));
  await ask(world, 2);
  assert.equal(await watch.look(), 4);
  const other = APP.replace("databases.app", "databases.other");
  assert.ok(await world.reload({ pooler, sections: other }));
  assert.equal(await watch.look(), 4);
  assert.ok(await world.reload({ pooler, sections: APP }));
  assert.equal(await watch.look(), 4);
  await ask(world, 2);
  assert.equal(await watch.look(), 6);
});

Deno.test("a stats_period changed by a reload holds at once", async () => {
  await using world = await PoolerWorld.open({ pooler: "stats_period = 1000" });
  const lineCount = () => world.log.filter((line) => line.includes(" LOG stats: ")).length;
  await world.advance(30_000);
  assert.equal(lineCount(), 0);
  assert.ok(await world.reload({ pooler: "stats_period = 10" }));
  await world.advance(1_000);
  assert.equal(lineCount(), 1, "the period is over already");
  await world.advance(21_000);
  assert.equal(lineCount(), 3);
});

Deno.test("the line in the log has the averages of the period", async () => {
  await using world = await PoolerWorld.open({ pooler: "stats_period = 10" });
  await ask(world, 30);
  await world.advance(11_000);
  const line = world.log.find((each) => each.includes(" LOG stats: "));
  const all = world.pooler.stats.databases(world.clock.nowMs());
  const { averages, totals } = all.find(({ database }) => database === "app")!;
  const perSecond = [
    totals.xactCount,
    totals.queryCount,
    totals.clientParseCount,
    totals.serverParseCount,
    totals.bindCount,
    totals.clientLoginCount,
    totals.bytesReceived,
    totals.bytesSent,
  ];
  const { queryTimeUs, waitTimeUs, xactTimeUs } = averages;
  const { groups } = LINE.exec(line!)!;
  const { counts, times } = groups as { counts: string; times: string };
  assert.equal(times, `xact ${xactTimeUs} us, query ${queryTimeUs} us, wait ${waitTimeUs} us`);
  for (const [at, count] of counts.match(/\d+/g)!.map(Number).entries()) {
    const most = perSecond[at]! / 10;
    assert.ok(count <= most && count > most * 0.95 - 1, `${counts} for ${perSecond.join()}`);
  }
  assert.ok(totals.queryCount === 30 && totals.bytesSent > 0);
});
