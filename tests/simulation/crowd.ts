/**
 * Thousands of clients in a simulation, most of whom wait: for what touches all of them at once. One
 * thing happens at a time, and what each of these steps takes is noted.
 */

import assert from "node:assert/strict";
import { cpuUsage } from "node:process";
import { TURN_MS } from "../../src/base/turn.ts";
import type { ServerPool } from "../../src/client/relay.ts";
import { eventTurn } from "../support/event_turn.ts";
import { frontend, readReport } from "../support/messages.ts";
import { ADA, PoolerWorld, withUsual, type WorldOptions } from "../support/pooler_world.ts";
import type { SimStream } from "../support/sim_net.ts";
import { LoginRefused, type QueryResult, TestClient } from "../support/test_client.ts";

/** Of those who are no servers' clients, one in so many asks for nothing. */
const IDLE_SHARE = 4;

/** What happened is only put in words where it may be of interest. */
const NAMED_MS = 1;
const NAMED_COUNT = 10;

/** So long is waited at most for what a command waits for. */
const PATIENCE_MS = 60_000;

/** What a step has cost. */
export interface CrowdStep {
  readonly ms: number;
  /** Connections that the pooler wrote to or closed. */
  readonly touchedCount: number;
  /** What happened. */
  readonly what: string;
}

/** Who is there. */
export interface CrowdOptions extends WorldOptions {
  readonly clientCount: number;
  /** Those who have a server each. */
  readonly serverCount: number;
}

/** Of this process, all its threads. */
function usedCpuMs(): number {
  const { system, user } = cpuUsage();
  return (system + user) / 1_000;
}

/** One client: reads all the time, and remembers what it was told. */
export class CrowdClient {
  readonly stream: SimStream;
  readonly #client: TestClient;
  /** Answers to queries. */
  answerCount = 0;
  /** `severity SQLSTATE message` of the last error. */
  error = "";
  notice = "";
  isLoggedIn = false;
  isGone = false;

  constructor(stream: SimStream) {
    this.stream = stream;
    this.#client = new TestClient(stream);
  }

  /** Logs in and reads until the connection ends. */
  async run(user: string, password?: string): Promise<void> {
    try {
      await this.#client.login({ ...ADA, user, ...(password === undefined ? {} : { password }) });
      this.isLoggedIn = true;
      await this.#read();
    } catch (error) {
      if (error instanceof LoginRefused) this.error = error.message.replace(":", "");
    }
    this.isGone = true;
    this.stream.close();
  }

  /** Asks for something; the answer is read when it comes. */
  ask(sql: string): void {
    void this.#client.send(frontend.query(sql));
  }

  /** A part of a message that is sent on before it is complete. */
  sendPart(): void {
    void this.#client.send(frontend.query(`select '${"x".repeat(9_000)}'`).subarray(0, 5_000));
  }

  async #read(): Promise<void> {
    for (;;) {
      const message = await this.#client.receive();
      if (message === undefined) return;
      if (message.type === "Z") this.answerCount += 1;
      if (message.type === "N") this.notice = readReport(message.body).message;
      if (message.type !== "E") continue;
      const { message: text, severity, sqlstate } = readReport(message.body);
      this.error = `${severity} ${sqlstate} ${text}`;
    }
  }
}

/** A crowd in front of one pooler. */
export class Crowd implements AsyncDisposable {
  readonly world: PoolerWorld;
  readonly clients: CrowdClient[] = [];
  /** What each step has cost, in the order in which they happened. */
  readonly steps: CrowdStep[] = [];
  readonly options: CrowdOptions;
  /** Of the present step. */
  readonly #touched = new Set<SimStream>();
  #console: TestClient | undefined;
  /** What was done last, of which all that happens may be a consequence. */
  #cause = "logins";

  private constructor(world: PoolerWorld, options: CrowdOptions) {
    this.world = world;
    this.options = options;
    world.network.rules.onPoolerCall = (stream) => this.#touched.add(stream);
  }

  /** Opens a pooler that nobody has come to yet. */
  static async open(given: CrowdOptions): Promise<Crowd> {
    const { clientCount, pooler = "", serverCount } = given;
    const options: CrowdOptions = {
      ...given,
      isAutomatic: false,
      watchesMaps: true,
      pooler: withUsual(
        pooler,
        `admin_users = "ada"
max_client_conn = ${2 * clientCount}
default_pool_size = ${serverCount}
query_wait_timeout = 0
pkt_buf = 512
log_connections = false
log_disconnections = false
log_pooler_errors = false
log_stats = false`,
      ),
    };
    return new Crowd(await PoolerWorld.open(options), options);
  }

  /** Other settings, or other databases and users, are what a reload will find. */
  async reconfigure({ pooler = "", sections }: WorldOptions): Promise<void> {
    await this.world.setConfig({
      ...this.options,
      pooler: withUsual(pooler, this.options.pooler!),
      ...(sections === undefined ? {} : { sections }),
    });
  }

  /** All clients vanish. */
  leave(): void {
    for (const { stream } of this.clients) stream.close();
  }

  /** The pool that all share. */
  get pool(): ServerPool {
    const [pool] = this.world.pooler.pools.registry.ofDatabase("app");
    assert.ok(pool, "There is no pool");
    return pool;
  }

  /** Those who wait for a server. */
  get waitingCount(): number {
    return this.world.clients.filter(({ state }) => state.kind === "waiting").length;
  }

  /** How many have been told what, by what they were told. */
  get errors(): Readonly<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const { error } of this.clients) {
      if (error !== "") counts[error] = (counts[error] ?? 0) + 1;
    }
    return counts;
  }

  /** All dial and say who they are; none is let in yet if servers cannot be dialed. */
  async arrive({ password, user = ADA.user }: { user?: string; password?: string } = {}) {
    const dials = Array.from({ length: this.options.clientCount }, async () => {
      const client = new CrowdClient(await this.world.dial());
      this.clients.push(client);
      void client.run(user, password);
    });
    await this.quiet();
    await Promise.all(dials);
  }

  /** All log in at once, before there is a server. */
  async logIn(): Promise<void> {
    const { network } = this.world;
    network.holdsDials = true;
    await this.arrive();
    network.holdsDials = false;
    await this.until("all are in", () => this.clients.every(({ isLoggedIn }) => isLoggedIn));
  }

  /** All log in; some have a server for long, some do nothing, and all the others wait. */
  async standInLine(): Promise<void> {
    await this.logIn();
    await this.takeServers((client) => client.ask("select pg_sleep(1)"));
    const others = this.clients.slice(this.options.serverCount);
    const waiting = others.filter((_, at) => at % IDLE_SHARE !== 0);
    for (const client of waiting) client.ask("select 1");
    await this.quiet();
    assert.equal(this.waitingCount, waiting.length);
    this.check();
  }

  /** As many as there are servers have one, by what they ask. */
  async takeServers(ask: (client: CrowdClient) => void): Promise<void> {
    const { serverCount } = this.options;
    for (const client of this.clients.slice(0, serverCount)) ask(client);
    const { servers } = this.pool;
    await this.until(
      "all servers are there",
      () => servers.count === serverCount && servers.login.size === 0,
    );
  }

  /** Gives a command on the console that is carried out, and waits for its end. */
  async order(command: string): Promise<void> {
    const { errors } = await this.command(command);
    assert.deepEqual(errors, [], `${command}: ${this.world.log.slice(-3).join("\n")}`);
  }

  /** Gives a command on the console, and waits until it is answered or the console is closed. */
  async command(command: string): Promise<QueryResult> {
    const console = this.#console ??= await this.#openConsole();
    let answer: QueryResult | undefined;
    this.#cause = command;
    void console.query(command).then((result) => {
      answer = result;
    });
    await this.until(`${command} is answered`, () => answer !== undefined);
    return answer!;
  }

  async #openConsole(): Promise<TestClient> {
    let client: TestClient | undefined;
    void this.world.login({ database: "pgbouncer" }).then((console) => {
      client = console;
    });
    await this.until("the console is open", () => client !== undefined);
    return client!;
  }

  /** Does something by hand, in a step of its own. */
  async do(what: string, act: () => void): Promise<void> {
    this.#cause = what;
    await this.#step(() => what, act);
    await this.quiet();
  }

  /** Lets everything happen that can without time passing. */
  async quiet(): Promise<void> {
    const { network } = this.world;
    for (let isMoving = true; isMoving;) {
      isMoving = false;
      await eventTurn();
      const events = network.round();
      let isOver = false;
      const next = () => {
        isOver = events.next().done === true;
      };
      for (;;) {
        await this.#step(() => network.lastStep, next, () => network.isLastOfPooler);
        if (isOver) break;
        isMoving = true;
      }
    }
  }

  /** Lets time pass, a timer at a time. */
  async pass(ms: number): Promise<void> {
    this.#cause = "time passes";
    await this.#pass(ms);
  }

  async #pass(ms: number): Promise<void> {
    const { clock } = this.world;
    await this.quiet();
    const endMs = clock.nowMs() + ms;
    while ((clock.nextTimerAtMs ?? Infinity) <= endMs) {
      const passedMs = clock.nextTimerAtMs! - clock.nowMs();
      const what = passedMs <= TURN_MS ? "another turn" : `a timer after ${passedMs} ms`;
      await this.#step(() => what, () => clock.fireNextTimer());
      await this.quiet();
    }
    clock.advance(endMs - clock.nowMs());
    await this.quiet();
  }

  /** Lets time pass until something is so. */
  async until(what: string, isSo: () => boolean): Promise<void> {
    const { clock } = this.world;
    const endMs = clock.nowMs() + PATIENCE_MS;
    await this.quiet();
    while (!isSo()) {
      assert.ok(clock.nowMs() < endMs, `${what}: not even after ${PATIENCE_MS} ms`);
      await this.#pass(Math.max(0, (clock.nextTimerAtMs ?? endMs) - clock.nowMs()));
    }
  }

  /** Asserts what must hold at any moment. */
  check(): void {
    this.world.check();
    const { log, postgres } = this.world;
    for (const { mixUps } of postgres.backends) assert.equal(mixUps[0], undefined);
    assert.deepEqual(log.filter((line) => line.includes("internal error")), []);
  }

  /** All leave, and the pooler ends: asserts that nothing is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { network, postgres } = this.world;
    this.check();
    this.leave();
    this.#console?.close();
    await this.quiet();
    postgres.wakeAll();
    await this.quiet();
    await network.runUntilIdle();
    await this.world[Symbol.asyncDispose]();
  }

  /** What the other side does, a client or PostgreSQL, costs nobody anything. */
  async #step(what: () => string, act: () => void, isPoolers = () => true): Promise<void> {
    this.#touched.clear();
    const [startMs, startCpuMs] = [performance.now(), usedCpuMs()];
    act();
    await eventTurn();
    // Other processes take time, and threads of the runtime use processors beside ours.
    const ms = Math.min(performance.now() - startMs, usedCpuMs() - startCpuMs);
    if (!isPoolers()) return;
    const touchedCount = this.#touched.size;
    this.steps.push({
      ms,
      touchedCount,
      what: ms > NAMED_MS || touchedCount > NAMED_COUNT ? `${this.#cause}: ${what()}` : "",
    });
  }
}
