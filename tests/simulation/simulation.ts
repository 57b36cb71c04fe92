/**
 * One simulated run: the real pooler, clients that do anything, a fake PostgreSQL, and a scheduler
 * that decides by the seed what happens next. After every step the checkers are asked.
 */

import assert from "node:assert/strict";
import type { ServerAddress } from "../../src/net/network.ts";
import { eventTurn } from "../support/event_turn.ts";
import { backend as say } from "../support/messages.ts";
import { PoolerWorld } from "../support/pooler_world.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import type { SimConnection, SimStream } from "../support/sim_net.ts";
import { SimClient } from "./sim_client.ts";
import { SimHosts, withHosts } from "./sim_hosts.ts";
import { SimOperator } from "./sim_operator.ts";
import { withClientTls } from "./sim_client_tls.ts";
import { drawPlan, type SimPlan } from "./sim_plan.ts";
import { withServerTls } from "./sim_server_tls.ts";
import type { SimStage } from "./sim_session.ts";

/** Steps after which a run that has not ended is taken for one that hangs. */
const MAX_STEPS = 150_000;

/** Time that may pass with nothing happening; every timeout of every plan is shorter. */
const MAX_IDLE_MS = 300_000;

/** Time after which, with nothing happening, trouble is over. */
const PATIENCE_MS = 100_000;

/** Lines of the transcript that are kept for a report. */
const KEPT_LINES = 400;

/** Parts of faulty runs between two troubles, in steps, on average. */
const STEPS_PER_TROUBLE = 150;

/** Steps between two orders of the operator, on average. */
const STEPS_PER_ORDER = 200;

/** Steps that a pause lasts, on average. */
const STEPS_PER_PAUSE = 40;

/** How a run went. */
export interface SimResult {
  readonly seed: number;
  readonly plan: SimPlan;
  readonly stepCount: number;
  readonly readyCount: number;
  readonly loginCount: number;
}

/** A run that failed, with everything needed to look into it. */
export class SimFailure extends Error {
  readonly seed: number;

  constructor(seed: number, { cause, transcript }: { cause: unknown; transcript: string }) {
    const what = cause instanceof Error ? cause.stack ?? cause.message : String(cause);
    super(`${transcript}\n\n${what}\n\nRepeat with: deno task sim --seed=${seed}`, { cause });
    this.seed = seed;
  }
}

/** Runs one seed. @throws {SimFailure} If anything was not as it must be. */
export async function simulate(
  seed: number,
  trace?: (line: string) => void,
): Promise<SimResult> {
  const run = await SimRun.start(seed, trace);
  try {
    return await run.toTheEnd();
  } catch (error) {
    throw new SimFailure(seed, { cause: error, transcript: run.transcript });
  }
}

class SimRun implements SimStage {
  readonly plan: SimPlan;
  readonly world: PoolerWorld;
  isEnding = false;
  readonly #seed: number;
  readonly #random: SeededRandom;
  readonly #trace: ((line: string) => void) | undefined;
  readonly #parked: (() => void)[] = [];
  /** Streams to which nothing arrives for a while. */
  readonly #heldUp: SimStream[] = [];
  #newest: SimConnection | undefined;
  readonly #clients: SimClient[];
  readonly #operator: SimOperator;
  readonly #hosts: SimHosts;
  #unfinished = 0;
  #failure: unknown;
  #stepCount = 0;
  #idleMs = 0;
  #lines: string[] = [];
  #loggedCount = 0;

  private constructor(parts: {
    seed: number;
    plan: SimPlan;
    world: PoolerWorld;
    random: SeededRandom;
    trace: ((line: string) => void) | undefined;
  }) {
    this.#seed = parts.seed;
    this.plan = parts.plan;
    this.world = parts.world;
    this.#random = parts.random;
    this.#trace = parts.trace;
    this.#operator = new SimOperator(this, this.#random.fork());
    this.#hosts = new SimHosts(this.world, { plan: this.plan, seed: this.#seed });
    this.#clients = Array.from(
      { length: this.plan.clientCount },
      (_, at) => new SimClient(`c${at + 1}`, this, this.#random.fork()),
    );
  }

  static async start(seed: number, trace?: (line: string) => void): Promise<SimRun> {
    const random = new SeededRandom(seed);
    const drawn = withServerTls(withClientTls(drawPlan(random.fork(), seed), seed), seed);
    const plan = withHosts(drawn, seed);
    const world = await PoolerWorld.open(plan.world);
    world.postgres.tls = plan.serverTls;
    return new SimRun({ seed, plan, world, random, trace });
  }

  get transcript(): string {
    const { clientCount, hosts, isCalm, mode, serverTls, world } = this.plan;
    const { bufferBytes, chunking, pooler, writeAnswers } = world;
    const plan = JSON.stringify({
      ...{ isCalm, mode, clientCount, chunking, bufferBytes, writeAnswers },
      hasServerTls: serverTls !== undefined,
      hosts,
    });
    return [`plan: ${plan}`, pooler, ...this.#lines].join("\n");
  }

  note(line: string): void {
    const text = `${this.#stepCount} ${line}`;
    this.#trace?.(text);
    this.#lines.push(text);
    if (this.#lines.length > 2 * KEPT_LINES) this.#lines = this.#lines.slice(-KEPT_LINES);
  }

  fail(error: unknown): void {
    this.#failure ??= error;
  }

  park(): Promise<void> {
    return new Promise((resolve) => this.#parked.push(resolve));
  }

  async toTheEnd(): Promise<SimResult> {
    for (const client of this.#clients) this.#runClient(client);
    while (this.#unfinished > 0) await this.#step();
    await this.#endWorld();
    this.#checkCounters();
    return {
      seed: this.#seed,
      plan: this.plan,
      stepCount: this.#stepCount,
      readyCount: this.#sum((client) => client.readyCount),
      loginCount: this.#sum((client) => client.loginCount),
    };
  }

  #runClient(client: SimClient): void {
    this.#unfinished += 1;
    client.run()
      .catch((error: unknown) => this.fail(error))
      .finally(() => {
        this.#unfinished -= 1;
      });
  }

  async #step(): Promise<void> {
    this.#stepCount += 1;
    this.#act();
    await eventTurn();
    this.#showLog();
    this.#check();
  }

  /** One thing happens. */
  #act(): void {
    const random = this.#random;
    const { network, postgres } = this.world;
    const isTroubled = !this.plan.isCalm && !this.isEnding;
    const change = isTroubled ? this.#hosts.step() : undefined;
    if (change !== undefined) this.note(change);
    if (isTroubled && random.below(STEPS_PER_TROUBLE) === 0) return this.#makeTrouble();
    const stepsPerOrder = this.#operator.holdsBack ? STEPS_PER_PAUSE : STEPS_PER_ORDER;
    if (!this.isEnding && random.below(stepsPerOrder) === 0) return this.#operator.giveOrder();
    if (this.#parked.length > 0 && random.chance(0.15)) return this.#resume();
    if (random.chance(0.02)) return this.#wakeOne();
    if (random.chance(0.005)) return this.#passTime(random.between(1, 400));
    this.#holdUpNewest();
    if (random.chance(0.01)) this.#holdUp();
    if (this.#heldUp.length > 0 && random.chance(0.02)) this.#letGo();
    if (network.step()) {
      this.#idleMs = 0;
      return;
    }
    if (this.#parked.length > 0) return this.#resume();
    if (this.#heldUp.length > 0) return this.#letGo();
    if (this.#operator.holdsBack) return this.#operator.release();
    if (postgres.backends.some(({ isSleeping }) => isSleeping) && random.chance(0.5)) {
      return this.#wakeOne();
    }
    // Nobody can do anything until a timer fires.
    const nextMs = this.world.clock.nextTimerAtMs;
    assert.ok(nextMs !== undefined, "Nothing can happen any more, not even by waiting");
    this.#passTime(Math.max(1, nextMs - this.world.clock.nowMs()));
  }

  #resume(): void {
    this.#idleMs = 0;
    const at = this.#random.below(this.#parked.length);
    const [wake] = this.#parked.splice(at, 1);
    wake!();
  }

  /** Of the new connections some are slow at first, so that what they bring comes late. */
  #holdUpNewest(): void {
    const newest = this.world.network.connections.at(-1);
    if (newest === undefined || newest === this.#newest) return;
    this.#newest = newest;
    if (!this.#random.chance(0.3)) return;
    newest.acceptor.stall();
    this.#heldUp.push(newest.acceptor);
  }

  /** One connection is slower than the others for a while. */
  #holdUp(): void {
    const { connections } = this.world.network;
    if (connections.length === 0) return;
    const { acceptor, dialer } = this.#random.pick(connections);
    const stream = this.#random.pick([acceptor, dialer]);
    stream.stall();
    this.#heldUp.push(stream);
  }

  #letGo(): void {
    const [stream] = this.#heldUp.splice(this.#random.below(this.#heldUp.length), 1);
    stream!.unstall();
  }

  #wakeOne(): void {
    const sleeping = this.world.postgres.backends.filter(({ isSleeping }) => isSleeping);
    if (sleeping.length > 0) this.#random.pick(sleeping).wake();
  }

  #passTime(ms: number): void {
    this.#idleMs += ms;
    assert.ok(this.#idleMs < MAX_IDLE_MS, `Nothing happens any more: ${this.#describe()}`);
    this.world.clock.advance(ms);
  }

  /** Something goes wrong with servers, network or time. */
  #makeTrouble(): void {
    const random = this.#random;
    const { network, postgres } = this.world;
    const trouble = random.below(14);
    this.note(`trouble ${trouble}`);
    switch (trouble) {
      case 0:
      case 1:
        return this.#onBackend((backend) => backend.close());
      case 2:
        return this.#onBackend((backend) => void backend.terminate());
      case 3:
        return this.#onBackend((backend) => void backend.speak(say.notice("by the way")));
      case 4:
        return this.#onBackend((backend) =>
          void backend.speak(say.parameterStatus("session_authorization", "somebody"))
        );
      case 5:
        return this.#onBackend((backend) => void backend.speak(say.notification("news", "hear")));
      case 6: {
        const connections = network.connections;
        if (connections.length === 0) return;
        const { acceptor, dialer } = random.pick(connections);
        return random.pick([acceptor, dialer]).reset();
      }
      case 7:
        return network.obstruct(this.#anyHost(), random.pick(["refused", "black hole"]));
      case 8:
      case 9:
        network.obstruct(this.#anyHost(), undefined);
        postgres.refusal = undefined;
        postgres.garbage = undefined;
        return;
      case 10:
        postgres.refusal = random.pick([
          { severity: "FATAL", sqlstate: "53300", message: "too many clients" },
          { severity: "FATAL", sqlstate: "57P03", message: "starting up" },
        ]);
        return;
      case 11:
        postgres.garbage = random.bytes(random.between(1, 30));
        return;
      case 12:
        for (const { acceptor, dialer } of network.connections) {
          const stream = random.pick([acceptor, dialer]);
          if (random.chance(0.5)) stream.unstall();
          else if (random.chance(0.2)) stream.stall();
        }
        return;
      case 13:
        return this.#passTime(random.between(1_000, 20_000));
    }
  }

  /** Without a draw where there is one, so that old seeds stand for what they stood for. */
  #anyHost(): ServerAddress {
    const { addresses } = this.#hosts;
    return addresses.length === 1 ? addresses[0]! : this.#random.pick(addresses);
  }

  #onBackend(act: (backend: PoolerWorld["postgres"]["backends"][number]) => void): void {
    const { live } = this.world.postgres;
    if (live.length > 0) act(this.#random.pick(live));
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
    assert.ok(this.#stepCount < MAX_STEPS, `No end after ${MAX_STEPS} steps: ${this.#describe()}`);
    this.world.check();
    this.#hosts.check();
    for (const { mixUps } of this.world.postgres.backends) assert.deepEqual(mixUps, []);
    this.#checkCancels();
    this.#heal();
  }

  /**
   * A cancel request hits nobody who did not ask for it. In runs with trouble the pooler itself
   * cancels what nobody waits for any more; there, an error that was not asked for would tell.
   */
  #checkCancels(): void {
    for (const { sender } of this.world.postgres.canceled.splice(0)) {
      const isAsked = this.#clients.some(({ cancelable }) => cancelable.has(sender ?? ""));
      assert.ok(isAsked || !this.plan.isCalm, `${sender} was canceled unasked`);
    }
  }

  /** When most is done, everything works again, so that all who wait can be served. */
  #heal(): void {
    if (this.isEnding || this.plan.isCalm) return;
    const isLate = this.#stepCount > 4_000 || this.#idleMs > PATIENCE_MS;
    if (!isLate && this.#unfinished > 1) return;
    this.isEnding = true;
    this.#idleMs = 0;
    this.note("healed");
    this.#operator.release();
    const { network, postgres } = this.world;
    for (const address of this.#hosts.addresses) network.obstruct(address, undefined);
    this.#hosts.heal();
    postgres.refusal = undefined;
    postgres.garbage = undefined;
    for (const { acceptor, dialer } of network.connections) {
      acceptor.unstall();
      dialer.unstall();
    }
  }

  #showLog(): void {
    const { log } = this.world;
    for (; this.#loggedCount < log.length; this.#loggedCount++) {
      const line = log[this.#loggedCount]!;
      this.note(`log ${line.replace(/^.*?\] /, "")}`);
      assert.ok(!line.includes("internal error"), line);
    }
  }

  async #endWorld(): Promise<void> {
    while (this.#heldUp.length > 0) this.#letGo();
    this.#operator.release();
    await this.world.settle();
    this.world.postgres.wakeAll();
    // The dispose of the world asserts that nothing is left.
    await this.world[Symbol.asyncDispose]();
    this.#showLog();
  }

  /** What was counted is what happened. */
  #checkCounters(): void {
    const stats = [...this.world.pooler.stats.databases()];
    const logins = stats.reduce((sum, { totals }) => sum + totals.clientLoginCount, 0);
    if (this.plan.isCalm) assert.equal(logins, this.#sum((client) => client.loginCount));
    else assert.ok(logins >= this.#sum((client) => client.loginCount));
  }

  #sum(of: (client: SimClient) => number): number {
    return this.#clients.reduce((sum, client) => sum + of(client), 0);
  }

  #describe(): string {
    const clients = this.world.clients.map(({ id, state }) => `${id} ${state.kind}`);
    const servers = [...this.world.pooler.pools.registry.all()].flatMap((pool) =>
      [...pool.servers.all()].map(({ id, state }) => `${id} ${state.kind}`)
    );
    return JSON.stringify({ clients, servers, parked: this.#parked.length });
  }
}
