/**
 * One pool with scripted servers and clients, and the checks that must hold after every step:
 * shared by the pool's tests.
 */

import assert from "node:assert/strict";
import { DONE_A_TURN } from "../../../src/base/in_turns.ts";
import { ConnectionCaps } from "../../../src/pool/connection_caps.ts";
import {
  CROWDED,
  Pool,
  type PoolRules,
  type ServerRequest,
  StandingFailure,
} from "../../../src/pool/pool.ts";
import type { WelcomeRequest } from "../../../src/pool/pool.ts";
import type { PooledServerKind } from "../../../src/pool/pooled_server.ts";
import { WaitingPlace } from "../../../src/pool/waiting_queue.ts";
import { PoolStats } from "../../../src/stats/pool_stats.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { ScriptedServer, type TestError } from "../../support/scripted_server.ts";
import { turnsOn } from "../../support/turns_on.ts";

/** The error that only asks for patience, as 57P03 does. */
export const STARTING_UP = "the database system is starting up";

/** Rules that a test may change while the pool runs. */
export type TestRules = { -readonly [Name in keyof PoolRules]: PoolRules[Name] };

/** What several pools may share, and by what they differ. */
export interface PoolSurroundings {
  readonly clock?: FakeClock;
  readonly caps?: ConnectionCaps;
  readonly database?: string;
  readonly user?: string;
  /** Where its servers are; each is opened at the first where there is room. */
  readonly addressKeys?: readonly string[];
  /** Most that are told something in one turn. */
  readonly maxATurn?: number;
}

/** A pool and all around it. */
export class PoolWorld {
  readonly clock: FakeClock;
  readonly rules: TestRules;
  readonly pool: Pool<ScriptedServer, TestError>;
  /** Every server ever opened, in order. */
  readonly servers: ScriptedServer[] = [];
  /** Clients that wait or are about to be refused, in the order in which they came. */
  readonly queue: TestClient[] = [];
  hasCheckQuery = true;
  /** Whether the next servers are on trial. */
  isTrial = false;
  /** Whether there is a host to try, whatever failed. */
  isHostWorthTrying = false;
  readonly #caps: ConnectionCaps;
  #addressKeys: readonly string[];

  /** A pool of two servers, unless `rules` says otherwise. */
  constructor(rules: Partial<PoolRules> = {}, surroundings: PoolSurroundings = {}) {
    const { clock = new FakeClock(), database = "db", maxATurn = DONE_A_TURN, user = "alice" } =
      surroundings;
    this.clock = clock;
    this.#addressKeys = surroundings.addressKeys ?? [];
    this.#caps = surroundings.caps ??
      new ConnectionCaps({ nowMs: () => clock.nowMs(), limitOf: () => 0 });
    this.rules = {
      poolSize: 2,
      minPoolSize: 0,
      reservePoolSize: 0,
      reservePoolTimeoutMs: 5_000,
      loginRetryMs: 15_000,
      maxWaiting: 0,
      isRoundRobin: false,
      serverLifetimeMs: 0,
      weight: 1,
      poolMode: "transaction",
      ...rules,
    };
    this.pool = new Pool<ScriptedServer, TestError>({
      database,
      user,
      rules: () => this.rules,
      clock: this.clock,
      stats: new PoolStats(),
      caps: this.#caps,
      addressKeys: () => this.#addressKeys,
      openServer: () => this.#openServer(),
      isTemporary: (error) => error === STARTING_UP,
      isHostWorthTrying: () => this.isHostWorthTrying,
      turns: turnsOn(clock, maxATurn),
    });
  }

  /** The server opened last. */
  get newest(): ScriptedServer {
    const server = this.servers.at(-1);
    assert.ok(server !== undefined, "No server was opened");
    return server;
  }

  /** Its next servers are elsewhere. */
  moveTo(addressKeys: readonly string[]): void {
    this.#addressKeys = addressKeys;
    this.#caps.refresh();
  }

  /** A client that has asked for a server. */
  ask(name = `client ${this.queue.length}`): TestClient {
    const client = new TestClient(this, name);
    client.ask();
    return client;
  }

  /** Logs `count` servers in and leaves them idle, the first opened first. */
  openIdle(count: number): ScriptedServer[] {
    const clients = Array.from({ length: count }, (_, i) => {
      const client = this.ask(`opener ${i}`);
      this.newest.loggedIn();
      return client;
    });
    return clients.map((client) => client.giveBack());
  }

  /** How many servers are in each list, without the empty ones. */
  counts(): Partial<Record<PooledServerKind, number>> {
    const { active, beingCanceled, idle, login, recovering, tested, used } = this.pool.servers;
    const all: [PooledServerKind, number][] = [
      ["login", login.size],
      ["idle", idle.length],
      ["used", used.length],
      ["tested", tested.size],
      ["active", active.size],
      ["being_canceled", beingCanceled.size],
      ["recovering", recovering.size],
    ];
    return Object.fromEntries(all.filter(([, count]) => count > 0));
  }

  /** What must hold between any two calls of the pool. */
  check(): void {
    this.#checkLists();
    const { servers, waiting } = this.pool;
    const places = [...waiting.places()].map((place) => place.owner);
    const line = this.queue.filter(({ isUntold }) => !isUntold);
    assert.equal(waiting.size, line.length);
    assert.ok(
      places.length === line.length && places.every((owner, i) => owner === line[i]),
      `the queue holds those who wait, oldest first: ${places.join()}, not ${line.join()}`,
    );
    const isServing = !this.pool.isPaused;
    assert.ok(
      waiting.size === 0 || servers.idle.length === 0 || !isServing,
      "nobody waits while one is idle",
    );
    const awaited = [...servers.login].filter(({ isTrial }) => !isTrial);
    assert.ok(awaited.length <= 1, "one login at a time, besides those on trial");
  }

  #checkLists(): void {
    const { servers } = this.pool;
    const { beingCanceled, ...lists } = {
      login: [...servers.login],
      idle: servers.idle,
      used: servers.used,
      tested: [...servers.tested],
      active: [...servers.active],
      beingCanceled: [...servers.beingCanceled],
      recovering: [...servers.recovering],
    };
    for (const [kind, list] of Object.entries({ ...lists, being_canceled: beingCanceled })) {
      for (const server of list) assert.equal(server.state.kind, kind, "its list is its state");
    }
    const alive = this.servers.filter((server) => server.state.kind !== "closed");
    const listed = [...servers.all()];
    assert.equal(listed.length, new Set(listed).size, "each server is in one list");
    assert.ok(alive.every((server) => listed.includes(server)), "every server is in a list");
    assert.equal(servers.count, alive.length);
    assert.equal(servers.usableCount, alive.length - servers.login.size);
  }

  #openServer(): ScriptedServer {
    const server = new ScriptedServer({
      owner: this.pool,
      addressKey: this.#addressKeys.find((key) => this.#caps.hasRoomAt(key)) ??
        this.#addressKeys[0] ?? "",
      name: `server ${this.servers.length + 1}`,
      nowMs: () => this.clock.nowMs(),
      hasCheckQuery: () => this.hasCheckQuery,
      isTrial: this.isTrial,
    });
    this.servers.push(server);
    return server;
  }
}

/** What has become of a client's request. */
export type Outcome =
  | "none"
  | "waiting"
  | "served"
  | "refused"
  | "turned away"
  | "crowded"
  | "cancelled";

/** Somebody who asks the pool for a server. */
export class TestClient implements ServerRequest<ScriptedServer, TestError> {
  readonly name: string;
  readonly place: WaitingPlace<ServerRequest<ScriptedServer, TestError>>;
  outcome: Outcome = "none";
  server: ScriptedServer | undefined;
  error: TestError | undefined;
  /** What the client does at once when it is served, still inside `serve()`. */
  onServed: ((client: TestClient) => void) | undefined;
  /** Likewise when it is refused. */
  onRefused: ((client: TestClient) => void) | undefined;
  readonly #world: PoolWorld;

  constructor(world: PoolWorld, name: string) {
    this.#world = world;
    this.name = name;
    this.place = new WaitingPlace<ServerRequest<ScriptedServer, TestError>>(this);
  }

  /** Whether it has been refused and will be told so. */
  get isUntold(): boolean {
    const { queue } = this.place;
    return queue !== undefined && queue !== this.#world.pool.waiting;
  }

  /** Asks for a server. */
  ask(): Outcome {
    assert.notEqual(this.outcome, "waiting");
    assert.equal(this.server, undefined);
    // Before the call: a waiter may be served within it.
    this.outcome = "waiting";
    this.#world.queue.push(this);
    const got = this.#world.pool.acquire(this.place);
    if (got !== undefined) {
      assert.equal(this.#world.queue.pop(), this);
      if (got === CROWDED) this.outcome = "crowded";
      else if (got instanceof StandingFailure) {
        this.outcome = "turned away";
        this.error = got.error;
      } else {
        const isFirst = this.#world.queue.every(({ isUntold }) => isUntold);
        assert.ok(isFirst, "a newcomer passes nobody who waits");
        this.#take(got);
      }
    }
    return this.outcome;
  }

  serve(server: ScriptedServer): void {
    this.#leaveQueue(this.#world.queue.find(({ isUntold }) => !isUntold));
    this.#take(server);
    this.onServed?.(this);
  }

  refuse(error: TestError): void {
    this.#leaveQueue(this.#world.queue[0]);
    this.outcome = "refused";
    this.error = error;
    this.onRefused?.(this);
  }

  turnAway({ error }: StandingFailure<TestError>): void {
    assert.equal(this.outcome, "waiting", "a request is answered once");
    const { queue } = this.#world;
    queue.splice(queue.indexOf(this), 1);
    this.outcome = "turned away";
    this.error = error;
  }

  /** Gives up waiting. Returns whether it was waiting. */
  cancel(): boolean {
    const wasWaiting = this.#world.pool.cancel(this.place);
    assert.equal(wasWaiting, this.outcome === "waiting");
    if (wasWaiting) {
      const { queue } = this.#world;
      queue.splice(queue.indexOf(this), 1);
      this.outcome = "cancelled";
    }
    return wasWaiting;
  }

  /** Gives its server back. */
  giveBack(
    next: "idle" | "used" | "tested" | "being_canceled" | "recovering" = "idle",
  ): ScriptedServer {
    const server = this.#letGo();
    server.release(next);
    return server;
  }

  /** Leaves a server that must not be used again. */
  abandon(reason = "client disconnect while server was not ready"): ScriptedServer {
    const server = this.#letGo();
    server.onLost = undefined;
    server.discard(reason);
    return server;
  }

  /** For messages of failing tests. */
  toString(): string {
    return `${this.name}(${this.outcome})`;
  }

  #letGo(): ScriptedServer {
    const { server } = this;
    assert.ok(server !== undefined, `${this.name} has no server`);
    this.server = undefined;
    this.outcome = "none";
    return server;
  }

  #leaveQueue(oldest: TestClient | undefined): void {
    const { queue } = this.#world;
    assert.equal(this.outcome, "waiting", "a request is answered once");
    assert.equal(oldest, this, "the oldest is answered first");
    queue.splice(queue.indexOf(this), 1);
  }

  #take(server: ScriptedServer): void {
    assert.equal(server.state.kind, "idle");
    this.outcome = "served";
    this.server = server;
    server.link(() => {
      this.server = undefined;
      this.outcome = "none";
    });
  }
}

/** Somebody who logs in and waits for what a server reports. */
export class TestLogin implements WelcomeRequest<TestError> {
  readonly place: WaitingPlace<WelcomeRequest<TestError>>;
  parameters: ReadonlyMap<string, string> | undefined;
  error: TestError | undefined;
  /** What it does at once when welcomed, still inside `welcome()`. */
  onWelcome: (() => void) | undefined;
  #isAnswered = false;

  constructor() {
    this.place = new WaitingPlace<WelcomeRequest<TestError>>(this);
  }

  welcome(parameters: ReadonlyMap<string, string>): void {
    this.#answer();
    this.parameters = parameters;
    this.onWelcome?.();
  }

  refuse(error: TestError): void {
    this.#answer();
    this.error = error;
  }

  turnAway({ error }: StandingFailure<TestError>): void {
    this.refuse(error);
  }

  #answer(): void {
    assert.equal(this.#isAnswered, false, "a login is answered once");
    this.#isAnswered = true;
  }
}
