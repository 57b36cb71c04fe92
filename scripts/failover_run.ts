/**
 * A failover under load: a primary and a standby that streams from it, Sluice in front of both, and
 * clients that write without a pause. The primary is killed, and after a while the standby promoted.
 */

// @ts-types="@types/pg"
import pg from "pg";
import { tomlConfig } from "../tests/support/toml_config.ts";
import { pause, waitUntil } from "./guarded_process.ts";
import { type Postgres, startPostgres, startStandby } from "./postgres_fixture.ts";
import { type SluiceProcess, startSluice } from "./sluice_process.ts";

/** How long it may take until every client has written again. */
const LIMIT_MS = 60_000;

const STANDBY_HOST = "127.0.0.2";

/** What is tried. */
export interface FailoverPlan {
  /** How many write. */
  readonly clients: number;
  readonly poolSize: number;
  /** Time from the end of the primary to the promotion: what a cluster manager takes to decide. */
  readonly promoteAfterMs: number;
  /** How long the clients write before the primary ends, and after all have written again. */
  readonly aroundMs: number;
  /** Starts Sluice. */
  readonly start?: typeof startSluice;
}

/** What came of it. */
export interface FailoverResult {
  /** Transactions that were committed, before the end of the primary and after. */
  readonly before: number;
  readonly after: number;
  /** What clients were told whose transaction or login failed, one each time. */
  readonly errors: readonly string[];
  /** From the end of the primary to the end of the promotion. */
  readonly promotedMs: number;
  /** From the end of the primary to the first transaction of a client, and to one of each. */
  readonly firstMs: number;
  readonly allMs: number;
  /** Longest that a transaction took that did not fail. */
  readonly longestMs: number;
  /** Clients that were connected by the same connection all the time. */
  readonly kept: number;
}

/** Runs it. @throws {Error} If not every client has written again in a minute. */
export async function runFailover(plan: FailoverPlan): Promise<FailoverResult> {
  await using primary = await startPostgres({ flavour: "debian", auth: "trust" });
  await primary.sql("create table written (client int, number int)");
  await using standby = await startStandby(primary, STANDBY_HOST);
  await using sluice = await (plan.start ?? startSluice)({ config: configOf(primary, plan) });
  const writers = Array.from({ length: plan.clients }, (_, at) => new Writer(sluice, at));
  const work = Promise.all(writers.map((writer) => writer.run()));
  try {
    await waitUntil(() => writers.every(({ count }) => count > 0), LIMIT_MS);
    await pause(plan.aroundMs);
    const killedAtMs = performance.now();
    const before = sum(writers, ({ count }) => count);
    await primary.kill();
    await pause(plan.promoteAfterMs);
    await standby.sql("select pg_promote()");
    const promotedMs = performance.now() - killedAtMs;
    const backAtMs = killedAtMs + plan.promoteAfterMs;
    const isBack = ({ lastAtMs }: Writer) => lastAtMs > backAtMs;
    if (!await waitUntil(() => writers.every(isBack), LIMIT_MS)) {
      throw new Error(`Not every client has written again in ${LIMIT_MS} ms:\n${sluice.log()}`);
    }
    await pause(plan.aroundMs);
    for (const writer of writers) writer.stop();
    await work;
    const firsts = writers.map((writer) => writer.firstAfter(backAtMs) - killedAtMs);
    return {
      before,
      after: sum(writers, ({ count }) => count) - before,
      errors: writers.flatMap(({ errors }) => errors),
      promotedMs,
      firstMs: Math.min(...firsts),
      allMs: Math.max(...firsts),
      longestMs: Math.max(...writers.map(({ longestMs }) => longestMs)),
      kept: writers.filter(({ connectionCount }) => connectionCount === 1).length,
    };
  } finally {
    for (const writer of writers) writer.stop();
    await work;
  }
}

function configOf({ host, port }: Postgres, { poolSize }: FailoverPlan): string {
  return tomlConfig({
    pooler: { pool_mode: "transaction", default_pool_size: poolSize, max_client_conn: 10_000 },
    databases: {
      postgres: {
        host: `${host},${STANDBY_HOST}`,
        port,
        target_session_attrs: "read-write",
      },
    },
    users: { postgres: { password: "x" } },
  });
}

/** A client that writes one transaction after the other, and connects again when it is cut off. */
class Writer {
  readonly errors: string[] = [];
  connectionCount = 0;
  longestMs = 0;
  /** When each transaction was committed. */
  readonly #commits: number[] = [];
  readonly #sluice: SluiceProcess;
  readonly #id: number;
  #isStopped = false;

  constructor(sluice: SluiceProcess, id: number) {
    this.#sluice = sluice;
    this.#id = id;
  }

  /** Transactions that were committed. */
  get count(): number {
    return this.#commits.length;
  }

  /** When the last one was. */
  get lastAtMs(): number {
    return this.#commits.at(-1) ?? -Infinity;
  }

  stop(): void {
    this.#isStopped = true;
  }

  firstAfter(atMs: number): number {
    return this.#commits.find((each) => each > atMs) ?? Infinity;
  }

  async run(): Promise<void> {
    while (!this.#isStopped) {
      const client = this.#newClient();
      try {
        await client.connect();
        this.connectionCount += 1;
        while (!this.#isStopped) await this.#write(client);
        await client.end();
      } catch (error) {
        this.errors.push(error instanceof Error ? error.message : String(error));
      }
    }
  }

  #newClient(): pg.Client {
    const { port } = this.#sluice;
    const database = "postgres";
    const client = new pg.Client({ host: "127.0.0.1", port, user: "postgres", database });
    // Whoever waits for an answer is told of it there.
    client.on("error", () => {});
    return client;
  }

  async #write(client: pg.Client): Promise<void> {
    const startMs = performance.now();
    await client.query("begin");
    await client.query("insert into written values ($1, $2)", [this.#id, this.count]);
    await client.query("commit");
    const endMs = performance.now();
    this.longestMs = Math.max(this.longestMs, endMs - startMs);
    this.#commits.push(endMs);
  }
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
