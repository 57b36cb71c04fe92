/**
 * Pools to which anything may be done at random, with every invariant checked after each thing:
 * shared by the tests that hold a model against them.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import type { PooledServerKind } from "../../../src/pool/pooled_server.ts";
import type { ScriptedServer } from "../../support/scripted_server.ts";
import {
  type PoolSurroundings,
  PoolWorld,
  STARTING_UP,
  TestClient,
  type TestRules,
} from "./pool_world.ts";

/** What a client does from within `serve()`. */
const HABITS = ["keep", "keep", "give back", "ask again", "abandon", "cancel another"] as const;

const OPERATIONS = [
  ...[
    "ask",
    "ask",
    "ask",
    "give back",
    "give back",
    "reset",
    "being canceled",
    "recover",
    "abandon",
  ],
  ...["cancel", "log in", "log in", "refuse", "unreachable", "starting up", "ready", "fail check"],
  ...[
    "crash",
    "retire",
    "elsewhere",
    "doom one",
    "doom all",
    "advance",
    "maintain",
    "maintain",
    "resize",
    "pause",
    "hold",
    "resume",
    "resume",
  ],
] as const;

type Operation = typeof OPERATIONS[number];

/** One thing that is done. */
export interface Step {
  readonly operation: Operation;
  /** Chooses among the clients or servers that the operation may be done to. */
  readonly choice: number;
  readonly habit: typeof HABITS[number];
}

/** Any of them. */
export const anyStep: fc.Arbitrary<Step> = fc.record({
  operation: fc.constantFrom(...OPERATIONS),
  choice: fc.nat(1_000),
  habit: fc.constantFrom(...HABITS),
});

/** Any rules of a pool. */
export const anyRules: fc.Arbitrary<TestRules> = fc.record({
  poolSize: fc.integer({ min: 1, max: 4 }),
  minPoolSize: fc.integer({ min: 0, max: 3 }),
  reservePoolSize: fc.integer({ min: 0, max: 2 }),
  reservePoolTimeoutMs: fc.constantFrom(0, 500),
  loginRetryMs: fc.constantFrom(0, 700),
  maxWaiting: fc.constant(0),
  isRoundRobin: fc.boolean(),
  serverLifetimeMs: fc.constant(0),
  weight: fc.integer({ min: 1, max: 3 }),
  poolMode: fc.constant("transaction" as const),
});

/** A world in which anything may happen at any moment. */
export class RandomWorld extends PoolWorld {
  readonly clients: TestClient[] = [];
  /** The largest the pool was ever allowed to be. */
  readonly #maxCount: number;
  #isResuming = false;

  /** A pool by itself, unless it has `surroundings` in common with others. */
  constructor(given: TestRules, hasCheckQuery: boolean, surroundings?: PoolSurroundings) {
    super(given, surroundings);
    this.hasCheckQuery = hasCheckQuery;
    this.#maxCount = given.poolSize + given.reservePoolSize;
  }

  /** Does one thing, if there is anything to do it to. */
  perform({ operation, choice, habit }: Step): void {
    const linked = this.clients.filter((client) => client.server !== undefined);
    switch (operation) {
      case "ask":
        return this.#newClient(habit);
      case "give back":
        return void pick(linked, choice)?.giveBack();
      case "reset":
        return void pick(linked, choice)?.giveBack("tested");
      case "being canceled":
        return void pick(linked, choice)?.giveBack("being_canceled");
      case "recover":
        return void pick(linked, choice)?.giveBack("recovering");
      case "abandon":
        return void pick(linked, choice)?.abandon();
      case "cancel":
        return void pick(this.clients, choice)?.cancel();
      case "log in":
        return this.#one("login", choice)?.loggedIn();
      case "refuse":
        return this.#one("login", choice)?.refuseLogin("password authentication failed");
      case "unreachable":
        return this.#one("login", choice)?.failToConnect("connection refused");
      case "elsewhere":
        return this.#one("login", choice)?.failHere("connection refused");
      case "starting up":
        return this.#one("login", choice)?.refuseLogin(STARTING_UP);
      case "ready":
        return (this.#one("tested", choice) ?? this.#one("being_canceled", choice) ??
          this.#one("recovering", choice))?.ready();
      case "fail check":
        return this.#one("tested", choice)?.discard("test query failed");
      case "crash":
        return pick([...this.pool.servers.all()], choice)?.crash();
      case "retire":
        return this.#one("idle", choice)?.retire();
      case "doom one":
        return pick([...this.pool.servers.all()], choice)?.doom("server lifetime over");
      case "doom all":
        return this.pool.doomServers("connect string changed");
      case "advance":
        return this.clock.advance(choice);
      case "maintain":
        return this.pool.maintain(choice % 2 === 0);
      case "pause":
        return this.pool.pause();
      case "hold":
        return this.pool.hold();
      case "resume":
        return this.#resume();
      case "resize":
        // Never beyond what it began with, so that one limit holds for the whole run.
        this.rules.poolSize = 1 + choice % Math.max(1, this.#maxCount - this.rules.reservePoolSize);
    }
  }

  override check(): void {
    super.check();
    assert.ok(this.pool.servers.count <= this.#maxCount, "counts never exceed the limits");
    for (const client of this.clients) {
      const isLinked = client.server !== undefined;
      assert.equal(isLinked, client.outcome === "served", `${client}`);
      if (isLinked) assert.equal(client.server!.state.kind, "active");
    }
    const linked = this.clients.filter(({ server }) => server !== undefined);
    assert.equal(new Set(linked.map(({ server }) => server)).size, linked.length);
    assert.equal(this.pool.servers.active.size, linked.length, "active servers have a client");
  }

  /** Lets everything end well: whoever waits must be served in the end. */
  bringToRest(): void {
    this.calm();
    for (let round = 0; round < 200; round++) {
      this.clock.advance(1_000);
      this.goOn();
      if (this.queue.length === 0) return;
    }
    assert.fail(`nobody serves ${this.queue.join()} with ${JSON.stringify(this.counts())}`);
  }

  /** From now on nobody does anything by itself, and nothing is held back. */
  calm(): void {
    for (const client of this.clients) client.onServed = undefined;
    this.pool.resume();
  }

  /** Several may be idle then: not before the last of them is handed out does nobody wait beside it. */
  #resume(): void {
    this.#isResuming = true;
    this.pool.resume();
    this.#isResuming = false;
  }

  /** Everything that is under way ends well, and one client is done. */
  goOn(): void {
    this.pool.maintain(false);
    for (const server of [...this.pool.servers.login]) server.loggedIn();
    for (const kind of ["tested", "being_canceled", "recovering"] as const) {
      for (const server of this.#all(kind)) server.ready();
    }
    this.clients.find((client) => client.server !== undefined)?.giveBack();
    this.check();
  }

  #newClient(habit: Step["habit"]): void {
    const client = new TestClient(this, `client ${this.clients.length}`);
    this.clients.push(client);
    let servedCount = 0;
    client.onServed = () => {
      servedCount += 1;
      if (!this.#isResuming) this.check();
      if (servedCount < 3) this.#followHabit(client, habit);
    };
    client.ask();
  }

  #followHabit(client: TestClient, habit: Step["habit"]): void {
    switch (habit) {
      case "keep":
        return;
      case "give back":
        return void client.giveBack();
      case "ask again":
        client.giveBack();
        return void (client.outcome === "none" && client.ask());
      case "abandon":
        return void client.abandon();
      case "cancel another":
        return void this.queue.at(-1)?.cancel();
    }
  }

  #one(kind: PooledServerKind, choice: number): ScriptedServer | undefined {
    return pick(this.#all(kind), choice);
  }

  #all(kind: PooledServerKind): ScriptedServer[] {
    return [...this.pool.servers.all()].filter((server) => server.state.kind === kind);
  }
}

function pick<T>(list: readonly T[], choice: number): T | undefined {
  return list.length === 0 ? undefined : list[choice % list.length];
}
