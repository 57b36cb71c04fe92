/** What goes on during a soak besides the ledger: everything that comes and goes. */

import { frontend } from "../../tests/support/messages.ts";
import type { TestClient } from "../../tests/support/test_client.ts";
import type { ChaosWorld } from "../chaos/chaos_world.ts";
import { connectWire } from "../chaos/ledger_clients.ts";
import { pause } from "../guarded_process.ts";

/** What the load has done, and what of it was not answered as it should be. */
export interface LoadCounts {
  reconnects: number;
  cancels: number;
  reloads: number;
  statements: number;
  readonly faults: string[];
}

/** Everything that comes and goes, until it is stopped. */
export class SoakLoad {
  readonly counts: LoadCounts = {
    reconnects: 0,
    cancels: 0,
    reloads: 0,
    statements: 0,
    faults: [],
  };
  readonly #world: ChaosWorld;
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>;

  /** Begins. */
  constructor(world: ChaosWorld) {
    this.#world = world;
    this.#running = Promise.all([
      this.#again("reconnect", 50, () => this.#reconnect()),
      this.#again("cancel", 200, () => this.#cancel()),
      this.#again("prepare", 20, () => this.#prepareOnce()),
      this.#again("copy", 500, () => this.#copy()),
      this.#again("reload", 3000, () => this.#command("reload")),
      this.#again("reconnect of servers", 11_000, () => this.#command("reconnect")),
    ]);
  }

  /** Lets what is under way come to its end. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #again(what: string, pauseMs: number, act: () => Promise<void>): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await act();
      } catch (error) {
        this.#noteFault(`${what}: ${error}`);
      }
      await pause(pauseMs);
    }
  }

  /** Each kind once: what goes wrong goes wrong often. */
  #noteFault(fault: string): void {
    if (!this.counts.faults.includes(fault)) this.counts.faults.push(fault);
  }

  async #withClient(act: (client: TestClient) => Promise<void>): Promise<void> {
    const client = await connectWire(this.#world.target, "soak");
    try {
      await act(client);
    } finally {
      await client.terminate();
    }
  }

  /** Logs in, asks once, and leaves; every other time amid a query and without a word. */
  async #reconnect(): Promise<void> {
    const turn = ++this.counts.reconnects;
    if (turn % 2 === 0) {
      const client = await connectWire(this.#world.target, "soak");
      await client.send(frontend.query("begin; select pg_sleep(0.01)"));
      client.close();
      return;
    }
    await this.#withClient(async (client) => {
      const { rows } = await client.query(`select ${turn}`);
      if (rows[0]?.[0] !== String(turn)) throw new Error(`${turn} was answered with ${rows}`);
    });
  }

  /** Has a query that would last for long cancelled. */
  async #cancel(): Promise<void> {
    await this.#withClient(async (client) => {
      await client.send(frontend.query("select pg_sleep(30)"));
      await pause(50);
      const answer = client.result();
      let isAnswered = false;
      void answer.then(() => isAnswered = true);
      // PostgreSQL forgets a request that comes a moment before its query: then it is asked again.
      while (!isAnswered) {
        await this.#requestCancel(client);
        await pause(100);
      }
      const { errors } = await answer;
      // 57014: in the query, or in the queue before it.
      if (errors[0]?.sqlstate !== "57014") throw new Error(`answered with ${errors[0]?.sqlstate}`);
      this.counts.cancels++;
    });
  }

  async #requestCancel({ cancelKey = new Uint8Array(8) }: TestClient): Promise<void> {
    const { host: hostname, port } = this.#world.target;
    using conn = await Deno.connect({ hostname, port });
    await conn.write(frontend.cancelRequest(cancelKey));
  }

  /** Prepares what nobody has prepared before, and nobody will again. */
  async #prepareOnce(): Promise<void> {
    const turn = ++this.counts.statements;
    await this.#withClient(async (client) => {
      const sql = `select ${turn} as "a statement of its own ${turn}"`;
      await client.send(
        ...[frontend.parse(sql, "own"), frontend.bind({ statement: "own" }), frontend.execute()],
        frontend.sync(),
      );
      const { rows } = await client.result();
      if (rows[0]?.[0] !== String(turn)) throw new Error(`${turn} was answered with ${rows}`);
    });
  }

  async #copy(): Promise<void> {
    await this.#withClient(async (client) => {
      const { copied } = await client.query(
        "copy (select repeat('x', 1000) from generate_series(1, 1000)) to stdout",
      );
      if (copied.length !== 1000) throw new Error(`${copied.length} rows instead of 1000`);
    });
  }

  async #command(sql: string): Promise<void> {
    await this.#world.command(sql);
    this.counts.reloads++;
  }
}
