/**
 * One simulated run: the real pooler, clients that do anything, a fake PostgreSQL, and a scheduler
 * that decides by the seed what happens next. After every step the checkers are asked.
 */

import assert from "node:assert/strict";
import type { ShutdownMode } from "../../src/admin/console_context.ts";
import { formatAddress } from "../../src/net/network.ts";
import { eventTurn } from "../support/event_turn.ts";
import type { FakeBackend } from "../support/fake_postgres.ts";
import { PoolerWorld } from "../support/pooler_world.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import type { SimConnection, SimStream } from "../support/sim_net.ts";
import { SimClient } from "./sim_client.ts";
import { SimOperator } from "./sim_operator.ts";
import { withClientTls } from "./sim_client_tls.ts";
import { drawPlan, type SimPlan } from "./sim_plan.ts";
import { withServerTls } from "./sim_server_tls.ts";
import {
  checkCancel,
  checkCounts,
  type CheckedRun,
  checkParameters,
  checkRun,
  isAtRest,
} from "./sim_checkers.ts";
import { type NthFailure, withFailure } from "./sim_failures.ts";
import { type StepCost, StepCosts } from "./sim_costs.ts";
import { withHazards } from "./sim_hazards.ts";
import { SimHosts, withHosts } from "./sim_hosts.ts";
import type { SimStage } from "./sim_session.ts";
import { concernedTranscripts } from "./sim_transcript.ts";
import { endTrouble, makeTrouble } from "./sim_trouble.ts";

/** Steps after which a run that has not ended is taken for one that hangs. */
const MAX_STEPS = 400_000;

/** Time that may pass with nothing happening; every timeout of every plan is shorter. */
const MAX_IDLE_MS = 300_000;

/** Time after which, with nothing happening, trouble is over. */
const PATIENCE_MS = 100_000;

/** Lines of the transcript that are kept for a report. */
const KEPT_LINES = 400;

/** When there is a reload in a run that is about a call that fails: it is to read files, too. */
const RELOAD_STEP = 30;

/** Time in which all comes to rest when nobody is left: longer than a recovery may take. */
const REST_MS = 15_000;

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
  /** The steps that took longest, the longest first. */
  readonly longestSteps: readonly StepCost[];
}

/** A run that failed, with everything needed to look into it. */
export class SimFailure extends Error {
  readonly seed: number;

  constructor(seed: number, { cause, transcript }: { cause: unknown; transcript: string }) {
    const what = cause instanceof Error ? cause.stack ?? cause.message : String(cause);
    super(`${transcript}\n\n${what}\n\nRepeat with: deno task sim --seed ${seed}`, { cause });
    this.seed = seed;
  }
}

/** How a seed is run. */
export interface SimOptions {
  /** Told of what happens. */
  readonly trace?: (line: string) => void;
  /** What is to fail, in place of all other trouble. */
  readonly failure?: NthFailure;
}

/** Runs one seed. @throws {SimFailure} If anything was not as it must be. */
export async function simulate(seed: number, options: SimOptions = {}): Promise<SimResult> {
  const run = await SimRun.start(seed, options);
  try {
    return await run.toTheEnd();
  } catch (error) {
    throw new SimFailure(seed, { cause: error, transcript: run.report(error) });
  }
}

class SimRun implements SimStage {
  readonly plan: SimPlan;
  readonly world: PoolerWorld;
  isEnding = false;
  readonly #seed: number;
  readonly #random: SeededRandom;
  readonly #trace: ((line: string) => void) | undefined;
  /** Nothing else goes wrong than that. */
  readonly #planned: NthFailure | undefined;
  readonly #parked: (() => void)[] = [];
  /** Streams to which nothing arrives for a while. */
  readonly #heldUp: SimStream[] = [];
  #newest: SimConnection | undefined;
  readonly #clients: SimClient[];
  readonly #operator: SimOperator;
  readonly #hosts: SimHosts;
  readonly #checked: CheckedRun;
  readonly #costs = new StepCosts();
  closing: ShutdownMode | undefined;
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
    options: SimOptions;
  }) {
    this.#seed = parts.seed;
    this.plan = parts.plan;
    this.world = parts.world;
    this.#random = parts.random;
    this.#trace = parts.options.trace;
    this.#planned = parts.options.failure;
    this.#operator = new SimOperator(this, this.#random.fork());
    this.#hosts = new SimHosts(this.world, { plan: this.plan, seed: this.#seed });
    this.#clients = Array.from(
      { length: this.plan.clientCount },
      (_, at) => new SimClient(`c${at + 1}`, this, this.#random.fork()),
    );
    this.#checked = { world: this.world, plan: this.plan, clients: this.#clients };
    Object.assign(this.world.postgres.watch, {
      marksReplies: true,
      onRun: (backend: FakeBackend, sender: string) => this.#checkSender(backend, sender),
      onCancel: (backend: FakeBackend) => this.#checkCancel(backend),
    });
  }

  static async start(seed: number, options: SimOptions): Promise<SimRun> {
    const random = new SeededRandom(seed);
    const drawn = withServerTls(withClientTls(drawPlan(random.fork(), seed), seed), seed);
    const { failure } = options;
    const plan = failure === undefined
      ? withHosts(withHazards(drawn, seed), seed)
      : withFailure(drawn, failure);
    const world = await PoolerWorld.open({ ...plan.world, isRecorded: true, watchesMaps: true });
    world.postgres.tls = plan.serverTls;
    failure?.arm();
    return new SimRun({ seed, plan, world, random, options });
  }

  /** What is to be known of a run that failed. */
  report(error: unknown): string {
    const { clientCount, hazards, hosts, isCalm, mode, serverTls, theme, world } = this.plan;
    const { bufferBytes, chunking, pooler, writeAnswers } = world;
    const plan = JSON.stringify({
      ...{ isCalm, mode, theme, clientCount, chunking, bufferBytes, writeAnswers },
      ...{ hazards, hasServerTls: serverTls !== undefined, hosts },
    });
    const concerned = concernedTranscripts(String(error), this.world.network.recordings);
    return [`plan: ${plan}`, pooler, ...this.#lines, "", concerned].join("\n");
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

  shutDown(mode: ShutdownMode): void {
    if (this.closing !== undefined) return;
    this.note(`order SHUTDOWN ${mode}`);
    this.closing = mode;
    this.world.pooler.shutdown(mode);
  }

  async toTheEnd(): Promise<SimResult> {
    for (const client of this.#clients) this.#runClient(client);
    while (this.#unfinished > 0) await this.#step();
    await this.#endWorld();
    checkCounts(this.#checked);
    return {
      seed: this.#seed,
      plan: this.plan,
      stepCount: this.#stepCount,
      readyCount: this.#sum((client) => client.readyCount),
      loginCount: this.#sum((client) => client.loginCount),
      longestSteps: this.#costs.longest,
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
    const startMs = performance.now();
    const what = this.#act();
    await eventTurn();
    this.#costs.note({ step: this.#stepCount, what, ms: performance.now() - startMs });
    this.#showLog();
    this.#check();
  }

  #checkSender(backend: FakeBackend, sender: string): void {
    const client = this.#clients.find(({ name }) => name === sender.split(":")[0]);
    try {
      checkParameters(backend, { session: client?.sessionOf(sender), sender });
    } catch (error) {
      this.fail(error);
    }
  }

  #checkCancel(backend: FakeBackend): void {
    try {
      checkCancel(this.#checked, backend);
    } catch (error) {
      this.fail(error);
    }
  }

  /** One thing happens. Returns what. */
  #act(): string {
    const random = this.#random;
    const { network, postgres } = this.world;
    const isTroubled = !this.plan.isCalm && !this.isEnding && this.#planned === undefined;
    const change = isTroubled ? this.#hosts.step() : undefined;
    if (change !== undefined) this.note(change);
    if (isTroubled && random.below(STEPS_PER_TROUBLE) === 0) return this.#makeTrouble();
    if (this.#planned !== undefined && this.#stepCount === RELOAD_STEP) {
      this.#operator.reload();
      return "order RELOAD";
    }
    const isHasty = this.#operator.holdsBack || this.#planned !== undefined;
    const stepsPerOrder = isHasty ? STEPS_PER_PAUSE : STEPS_PER_ORDER;
    if (!this.isEnding && random.below(stepsPerOrder) === 0) return this.#operator.giveOrder();
    if (this.#parked.length > 0 && random.chance(0.15)) return this.#resume();
    if (random.chance(this.#isAboutCancels ? 0.012 : 0.02)) return this.#wakeOne();
    if (random.chance(0.005)) return this.#passTime(random.between(1, 400));
    this.#meetNewest();
    if (random.chance(this.#isAboutCancels ? 0.06 : 0.01)) this.#holdUp();
    if (this.#heldUp.length > 0 && random.chance(this.#isAboutCancels ? 0.01 : 0.02)) this.#letGo();
    if (this.#isAboutCancels && random.chance(0.03)) network.holdsDials = random.chance(0.5);
    if (network.step()) {
      this.#idleMs = 0;
      return network.lastStep;
    }
    if (this.#parked.length > 0) return this.#resume();
    if (this.#heldUp.length > 0) return this.#letGo();
    if (network.holdsDials) return this.#letDial();
    if (this.#operator.holdsBack) return this.#operator.release();
    if (postgres.backends.some(({ isSleeping }) => isSleeping) && random.chance(0.5)) {
      return this.#wakeOne();
    }
    // Nobody can do anything until a timer fires.
    const nextMs = this.world.clock.nextTimerAtMs;
    assert.ok(nextMs !== undefined, "Nothing can happen any more, not even by waiting");
    return this.#passTime(Math.max(1, nextMs - this.world.clock.nowMs()));
  }

  #makeTrouble(): string {
    const { world } = this;
    const passTime = (ms: number) => void this.#passTime(ms);
    const { addresses } = this.#hosts;
    const trouble = makeTrouble({ addresses, world, random: this.#random, passTime });
    this.note(`trouble: ${trouble}`);
    return `trouble: ${trouble}`;
  }

  /** Then requests and statements take about as long, so that they often meet another one. */
  get #isAboutCancels(): boolean {
    return this.plan.theme === "cancel";
  }

  #resume(): string {
    this.#idleMs = 0;
    const at = this.#random.below(this.#parked.length);
    const [wake] = this.#parked.splice(at, 1);
    wake!();
    return "a client goes on";
  }

  /**
   * Of the new connections some are slow at first, so that what they bring comes late, and some to
   * servers end at some byte.
   */
  #meetNewest(): void {
    const newest = this.world.network.connections.at(-1);
    if (newest === undefined || newest === this.#newest) return;
    this.#newest = newest;
    const { serverBreaks } = this.plan.hazards;
    const isToServer = this.#hosts.addresses.map(formatAddress).includes(newest.address);
    if (isToServer && !this.isEnding && serverBreaks > 0 && this.#random.chance(serverBreaks)) {
      newest.acceptor.breakOffAfter(
        1 + this.#random.below(this.#random.pick([200, 2_000, 20_000])),
      );
    }
    if (!this.#random.chance(this.#isAboutCancels ? 0.8 : 0.3)) return;
    newest.acceptor.stall();
    this.#heldUp.push(newest.acceptor);
  }

  /** One connection is slower than the others for a while. */
  #holdUp(): void {
    const { connections } = this.world.network;
    if (connections.length === 0) return;
    const { acceptor, dialer } = this.#random.pick(
      this.#isAboutCancels ? connections.slice(-2) : connections,
    );
    const stream = this.#random.pick([acceptor, dialer]);
    stream.stall();
    this.#heldUp.push(stream);
  }

  #letGo(): string {
    const [stream] = this.#heldUp.splice(this.#random.below(this.#heldUp.length), 1);
    stream!.unstall();
    return "a connection goes on";
  }

  #letDial(): string {
    this.world.network.holdsDials = false;
    return "dials go on";
  }

  #wakeOne(): string {
    const sleeping = this.world.postgres.backends.filter(({ isSleeping }) => isSleeping);
    if (sleeping.length > 0) this.#random.pick(sleeping).wake();
    return "a statement ends";
  }

  #passTime(ms: number): string {
    this.#idleMs += ms;
    if (this.#idleMs >= MAX_IDLE_MS) assert.fail(`Nothing happens any more: ${this.#describe()}`);
    this.#letDial();
    this.world.clock.advance(ms);
    return `${ms} ms pass`;
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#stepCount >= MAX_STEPS) {
      assert.fail(`No end after so many steps: ${this.#describe()}`);
    }
    this.world.check();
    checkRun(this.#checked);
    this.#hosts.check();
    this.#heal();
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
    this.#endTrouble();
    for (const { acceptor, dialer } of this.world.network.connections) {
      acceptor.unstall();
      dialer.unstall();
    }
  }

  #endTrouble(): void {
    endTrouble({ addresses: this.#hosts.addresses, world: this.world });
    this.#hosts.heal();
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
    this.#letDial();
    this.#operator.release();
    this.#operator.console.close();
    this.#endTrouble();
    this.world.postgres.wakeAll();
    if (this.closing === undefined) await this.#comeToRest();
    else await this.#awaitStop();
    // The dispose of the world asserts that nothing is left.
    await this.world[Symbol.asyncDispose]();
    if (this.#failure !== undefined) throw this.#failure;
    this.#showLog();
  }

  /** When all clients have gone, nothing of them is left with a pooler that goes on. */
  async #comeToRest(): Promise<void> {
    const { pooler, postgres } = this.world;
    for (let passedMs = 0; passedMs < REST_MS; passedMs += 1_000) {
      await this.world.advance(1_000);
      postgres.wakeAll();
    }
    this.world.check();
    assert.equal(pooler.clients.count, 0, `A client is left: ${this.#describe()}`);
    const pools = [...pooler.pools.registry.all()];
    assert.ok(pools.every(isAtRest), `Not at rest: ${this.#describe()}`);
  }

  /** Told to end, it ends when nobody is left. */
  async #awaitStop(): Promise<void> {
    let hasStopped = false;
    void this.world.pooler.stopped.then(() => {
      hasStopped = true;
    });
    for (let passedMs = 0; !hasStopped && passedMs < REST_MS; passedMs += 1_000) {
      await this.world.advance(1_000);
      this.world.postgres.wakeAll();
    }
    assert.ok(hasStopped, `${this.closing} does not end: ${this.#describe()}`);
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
