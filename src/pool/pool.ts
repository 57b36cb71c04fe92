/**
 * Who gets which server of one (database, user). It knows no sockets and no protocol: a server is
 * a `PooledServer`, an error an opaque `E`.
 *
 * Invariants: nobody waits while a server is idle; waiters are served oldest first; at most one
 * server is logging in, besides those on trial, so a storm of clients does not become a storm of
 * logins; every path on which a server comes free or goes away ends in `#serveNext()`. While paused
 * a pool gives nothing away, has no free server, and opens none.
 *
 * All of it is synchronous: there is no moment between deciding and doing. Where many are told the
 * same, it is decided for all of them at once, and they stand in no queue of the pool's any more
 * while they are told in turns.
 */

import type { Clock } from "../base/clock.ts";
import type { Batch, InTurns } from "../base/in_turns.ts";
import type { PoolMode } from "../config/settings.ts";
import { PoolHistograms } from "../stats/histogram.ts";
import type { PoolStats } from "../stats/pool_stats.ts";
import { type CappedPool, type CapShare, type ConnectionCaps, EVICTED } from "./connection_caps.ts";
import {
  mayOpenServer,
  mayOpenSpareServer,
  type PoolSituation,
  type PoolSizes,
} from "./pool_limits.ts";
import type { PooledServer, PooledServerEnd, PooledServerState } from "./pooled_server.ts";
import { ServerLists } from "./server_lists.ts";
import { type WaitingPlace, WaitingQueue } from "./waiting_queue.ts";

/** Why a server is closed that is not to be used while the pool is paused. */
const PAUSED = "pause mode";

/**
 * How long a server may be in reset or check for somebody to count on it. One that does not answer must
 * not keep its pool from opening another.
 */
const RETURN_MS = 1_000;

/** Somebody whom there may be nothing for. One of its methods is called, once. */
export interface PoolRequest<E> {
  /** No server is to be had. */
  refuse(error: E): void;
  /** Logins failed before it came, and the one that it waited for has failed as well. */
  turnAway(failure: StandingFailure<E>): void;
}

/** Somebody who waits for a server. */
export interface ServerRequest<S, E> extends PoolRequest<E> {
  /** Takes the server, which is idle, and links it before returning. */
  serve(server: S): void;
  /** Reads what it will need for that, connection included; what is answered means nothing. */
  touchAll?(): number;
}

/** Somebody who logs in and waits for what a server reports. */
export interface WelcomeRequest<E> extends PoolRequest<E> {
  /** The parameters to greet a client with. */
  welcome(parameters: ReadonlyMap<string, string>): void;
}

/**
 * Why newcomers are turned away: the last login to the server failed and there is no server, or
 * the pool gives nothing away any more.
 */
export class StandingFailure<E> {
  readonly kind: "login_failed" | "closed";
  readonly error: E;
  readonly atMs: number;

  constructor(kind: "login_failed" | "closed", { error, atMs }: { error: E; atMs: number }) {
    this.kind = kind;
    this.error = error;
    this.atMs = atMs;
  }
}

/** As many wait already as may. */
export const CROWDED = "crowded";

/** What a pool obeys; read anew each time, since a reload may change it. */
export interface PoolRules extends PoolSizes {
  /** Pause after a failed login (`server_login_retry`). */
  readonly loginRetryMs: number;
  /** Most that may wait for a server; 0 = no limit. */
  readonly maxWaiting: number;
  readonly isRoundRobin: boolean;
  /** How old a server may become; 0 means that it is used once. */
  readonly serverLifetimeMs: number;
  /** The pool's part beside others under the same limit, at least 1. */
  readonly weight: number;
  /** When a server goes back to the pool: of those who use it, not of the pool itself. */
  readonly poolMode: PoolMode;
}

/** What a pool is made of. */
export interface PoolOptions<S, E> {
  /** As clients name it. */
  readonly database: string;
  /** The server's user: the forced one, or the client's. */
  readonly user: string;
  readonly rules: () => PoolRules;
  readonly clock: Clock;
  readonly stats: PoolStats;
  /** Limits over several pools. */
  readonly caps: ConnectionCaps;
  /** Where its servers may be; undefined if no limit is about that. */
  readonly addressKeys?: () => readonly string[];
  /** Of these, where its next server may be by now; any of them unless it is said. */
  readonly nextAddressKeys?: () => readonly string[];
  /** Whether clients do not share it: it belongs to one of them, or is Sluice's own. */
  readonly isPrivate?: boolean;
  /** Starts a server's life, in state login. */
  readonly openServer: () => S;
  /** Whether an error of the server only asks for patience (57P03): then everybody waits. */
  readonly isTemporary: (error: E) => boolean;
  /**
   * Whether there is a host to try already, though the pause after a failed login is not over: others
   * may have found that it works again.
   */
  readonly isHostWorthTrying?: () => boolean;
  /** Tells many that they are refused, or welcome. */
  readonly turns: InTurns;
  /** Told of each server that was closed, when the pool has done what follows from it. */
  readonly onServerGone?: () => void;
}

/** The servers and the waiting clients of one (database, user). */
export class Pool<S extends PooledServer<E>, E> implements CappedPool {
  readonly database: string;
  readonly user: string;
  readonly isPrivate: boolean;
  readonly stats: PoolStats;
  readonly histograms = new PoolHistograms();
  readonly servers = new ServerLists<S>();
  readonly waiting = new WaitingQueue<ServerRequest<S, E>>();
  readonly loggingIn = new WaitingQueue<WelcomeRequest<E>>();
  /** How often clients used what their servers do not keep for them, by name. */
  readonly featureUses = new Map<string, number>();
  /** Clients of this pool, in whatever state; kept by the clients' registry. */
  clientCount = 0;
  /** When it last had a client or a server. */
  usedAtMs: number;
  /** What the server reported that was the last to log in, and what has changed since; greets clients. */
  welcome: ReadonlyMap<string, string> | undefined;

  readonly #options: PoolOptions<S, E>;
  readonly #caps: ConnectionCaps;
  readonly #share: CapShare;
  #failure: StandingFailure<E> | undefined;
  /** Whether that was for want of a host, rather than a host's answer. */
  #isHostMissing = false;
  /** When a server was last closed for its age. */
  #lifetimeTurnAtMs = -Infinity;
  #stance: "serving" | "held" | "paused" = "serving";
  /** There once nothing is given away any more. */
  #closure: StandingFailure<E> | undefined;

  constructor(options: PoolOptions<S, E>) {
    this.#options = options;
    this.database = options.database;
    this.user = options.user;
    this.isPrivate = options.isPrivate === true;
    this.stats = options.stats;
    this.usedAtMs = options.clock.nowMs();
    this.#caps = options.caps;
    this.#share = options.caps.join(this);
  }

  /** The last failed login to the server, until one succeeds. */
  get failure(): StandingFailure<E> | undefined {
    return this.#failure;
  }

  /** The rules as they are now. */
  get rules(): PoolRules {
    return this.#options.rules();
  }

  /** Whether nothing is given away until `resume()`. */
  get isPaused(): boolean {
    return this.#stance !== "serving";
  }

  /** Whether there is anything that would be lost with the pool. */
  get isEmpty(): boolean {
    return this.servers.count === 0 && this.clientCount === 0 && this.waiting.size === 0;
  }

  get serverCount(): number {
    return this.servers.count;
  }

  get waitingCount(): number {
    return this.waiting.size + this.loggingIn.size;
  }

  get minServerCount(): number {
    return this.rules.minPoolSize;
  }

  get weight(): number {
    return this.rules.weight;
  }

  get addressKeys(): readonly string[] {
    return this.#options.addressKeys?.() ?? [];
  }

  get nextAddressKeys(): readonly string[] {
    return this.#options.nextAddressKeys?.() ?? this.addressKeys;
  }

  get waitingSinceMs(): number | undefined {
    const sinceMs = this.waiting.oldest?.sinceMs;
    const loginSinceMs = this.loggingIn.oldest?.sinceMs;
    if (sinceMs === undefined || loginSinceMs === undefined) return sinceMs ?? loginSinceMs;
    return Math.min(sinceMs, loginSinceMs);
  }

  get wantsServer(): boolean {
    const isOpen = this.#closure === undefined && !this.isPaused;
    return isOpen && this.#mayTry() && mayOpenServer(this.rules, this.#situation());
  }

  get longestIdle(): S | undefined {
    if (!this.#isEvictable()) return undefined;
    return idleLonger(this.servers.idle[0], this.servers.used[0]);
  }

  longestIdleAt(addressKey: string): S | undefined {
    if (!this.#isEvictable()) return undefined;
    const { idle, used } = this.servers;
    const isThere = (server: S) => server.addressKey === addressKey;
    return idleLonger(idle.find(isThere), used.find(isThere));
  }

  serverCountAt(addressKey: string): number {
    let count = 0;
    for (const server of this.servers.all()) if (server.addressKey === addressKey) count += 1;
    return count;
  }

  /** What one client has for itself is never free. */
  #isEvictable(): boolean {
    return !this.isPrivate || this.clientCount === 0;
  }

  /**
   * Asks for a server. Returns an idle one, which the caller links at once; a standing failure, to
   * be told; that too many wait; or undefined: then the place stands in the queue and its owner will
   * be called.
   */
  acquire(
    place: WaitingPlace<ServerRequest<S, E>>,
  ): S | StandingFailure<E> | typeof CROWDED | undefined {
    if (this.#closure !== undefined) return this.#closure;
    const free = this.#nextFree() ?? this.#nextChecked();
    if (free !== undefined) return free;
    const outlook = this.#outlook();
    if (outlook instanceof StandingFailure) return outlook;
    if (this.#isCrowded()) return CROWDED;
    this.waiting.add(place, this.#options.clock.look());
    place.isForOneLogin = outlook === "one_login";
    this.#openIfNeeded();
    return undefined;
  }

  /**
   * Reads what will be needed to serve who waits longest; when called again in the same moment, who
   * comes next. What is answered means nothing.
   */
  touchNext(): number {
    if (this.waiting.size === 0) return 0;
    return this.waiting.nextInMoment(this.#options.clock.look())?.touchAll?.() ?? 0;
  }

  /** Waits no longer, for a server or to be refused. Returns whether it did. */
  cancel(place: WaitingPlace<ServerRequest<S, E>>): boolean {
    const wasWaiting = place.leave();
    this.#giveUpPlace();
    return wasWaiting;
  }

  /** The welcome parameters, or a standing failure; undefined if they have to be waited for. */
  get welcomeAtOnce(): ReadonlyMap<string, string> | StandingFailure<E> | undefined {
    return this.#closure ?? this.welcome;
  }

  /**
   * Asks for the welcome parameters. Returns them, or a standing failure; undefined means that the
   * place stands in the queue of those logging in.
   */
  acquireWelcome(
    place: WaitingPlace<WelcomeRequest<E>>,
  ): ReadonlyMap<string, string> | StandingFailure<E> | undefined {
    const known = this.welcomeAtOnce;
    if (known !== undefined) return known;
    const outlook = this.#outlook();
    if (outlook instanceof StandingFailure) return outlook;
    this.loggingIn.add(place, this.#options.clock.look());
    place.isForOneLogin = outlook === "one_login";
    this.#openIfNeeded();
    return undefined;
  }

  /** Leaves the queue of those logging in. */
  cancelWelcome(place: WaitingPlace<WelcomeRequest<E>>): boolean {
    const wasWaiting = place.leave();
    this.#giveUpPlace();
    return wasWaiting;
  }

  /** Others need not wait any longer for what was kept for those who have left. */
  #giveUpPlace(): void {
    if (this.#caps.isTight && this.waitingSinceMs === undefined) this.#caps.look();
  }

  /** Sorts a server whose state has changed, and does what follows from it. */
  onServerState(server: S, before: PooledServerState<E>): void {
    this.servers.move(server, before.kind);
    const { state } = server;
    switch (state.kind) {
      case "used":
        // Nothing follows for one that was free already.
        return before.kind === "idle" ? undefined : this.#onServerFree(server, before);
      case "idle":
        return this.#onServerFree(server, before);
      case "closed":
        this.#caps.noteClosed(this.#share, server);
        this.#onServerClosed(before, state.end);
        this.#caps.look();
        this.#options.onServerGone?.();
    }
  }

  #onServerFree(server: S, before: PooledServerState<E>): void {
    if (this.#stance === "paused") return server.discard(PAUSED);
    if (before.kind === "login") this.#loginSucceeded(server);
    if (this.#caps.isTight && this.#isClaimed(server, before)) return server.discard(EVICTED);
    this.#serveNext();
  }

  /** Whether its place is needed elsewhere. */
  #isClaimed(server: S, before: PooledServerState<E>): boolean {
    const { kind } = server.state;
    if (kind !== "idle" && kind !== "used" || !this.#isEvictable()) return false;
    return this.#caps.claims(this.#share, { server, isNew: before.kind === "login" });
  }

  #onServerClosed(before: PooledServerState<E>, end: PooledServerEnd<E>): void {
    // A login that was called off says nothing about the next one; nor does one host of several.
    const isFailure = before.kind === "login" && end.kind !== "served" && end.kind !== "elsewhere";
    // After a failure the janitor tries again, at its pace.
    if (isFailure) this.#loginFailed(end);
    else this.#serveNext();
  }

  /**
   * What the janitor calls: opens a server if one is due after a pause, for those who wait or, if
   * `wantsSpares`, towards `min_pool_size`.
   */
  maintain(wantsSpares: boolean): void {
    this.#serveNext();
    if (wantsSpares && mayOpenSpareServer(this.rules, this.#situation())) this.openAhead();
  }

  /** Opens a server that nobody waits for, unless a limit or a pause is against it. */
  openAhead(): void {
    if (this.#mayTry() && this.#caps.mayOpenAhead(this.#share)) this.openServer();
  }

  /**
   * Gives no server away until `resume()`: whoever asks waits. Servers are closed, those in use as
   * soon as they are free.
   */
  pause(): void {
    this.#stance = "paused";
    const { idle, login, used } = this.servers;
    for (const server of [...login, ...idle, ...used]) server.discard(PAUSED);
    if (this.#share.isHeld) this.#caps.look();
  }

  /** Gives no server away until `resume()`, and keeps those that there are. */
  hold(): void {
    if (this.#stance === "serving") this.#stance = "held";
    if (this.#share.isHeld) this.#caps.look();
  }

  /** Serves those who wait, oldest first. What failed before the pause does not count. */
  resume(): void {
    this.#stance = "serving";
    this.#failure = undefined;
    this.#serveNext();
  }

  /**
   * Closes every server as soon as it is free, and greets no more clients with what they said. A
   * login is given up at once: who waits need not wait until it has come to nothing.
   */
  doomServers(reason: string): void {
    this.welcome = undefined;
    this.#failure = undefined;
    for (const server of [...this.servers.all()]) {
      if (server.state.kind === "login") server.discard(reason);
      else server.tag(reason);
    }
  }

  /** A server has come to report something else than at its login, whoever it is linked to. */
  amendWelcome(name: string, value: string): void {
    if (this.welcome === undefined || this.welcome.get(name) === value) return;
    this.welcome = new Map([...this.welcome, [name, value]]);
  }

  /**
   * Whether a server may be closed for its age now; if so, the turn is taken. Turns are spread over
   * a lifetime, so that a pool opened at once does not reconnect at once.
   */
  takeLifetimeTurn(lifetimeMs: number): boolean {
    const nowMs = this.#options.clock.nowMs();
    const intervalMs = lifetimeMs / Math.max(1, this.rules.poolSize);
    if (nowMs - this.#lifetimeTurnAtMs < intervalMs) return false;
    this.#lifetimeTurnAtMs = nowMs;
    return true;
  }

  /**
   * Gives no server away any more and opens none: all who wait are refused with `error`, and so is
   * whoever asks. Links go on to their end.
   */
  stopServing(error: E): void {
    this.#closure = new StandingFailure("closed", { error, atMs: this.#options.clock.nowMs() });
    this.refuseWaiting(error);
    if (this.#share.isHeld) this.#caps.look();
  }

  /** Nobody who waits now is served any more, though not all are told in this turn. */
  refuseWaiting(error: E): void {
    this.#options.turns.add(
      batchOf(this.loggingIn.takeAll(), (request) => request.refuse(error)),
      batchOf(this.waiting.takeAll(), (request) => request.refuse(error)),
    );
  }

  /** Forgets the pool, which has neither servers nor clients any more. */
  leaveCaps(): void {
    this.#caps.leave(this.#share);
  }

  /** Ends the pool: nothing is given away any more, and all servers are closed. */
  close(error: E, reason: string): void {
    this.stopServing(error);
    for (const server of [...this.servers.all()]) server.discard(reason);
  }

  /** An idle server, unless others were here first. */
  #nextFree(): S | undefined {
    if (this.waiting.size > 0 || this.isPaused) return undefined;
    return this.servers.nextIdle(this.rules.isRoundRobin);
  }

  /** Has a server checked that was idle for long; where no check is wanted, it is free at once. */
  #nextChecked(): S | undefined {
    if (this.isPaused) return undefined;
    this.servers.used.at(-1)?.check();
    return this.#nextFree();
  }

  /**
   * Who waits for an operator is not counted: that there are many is then to be expected. Nor is who
   * logs in: all of them wait for the same first server, and no longer than for that.
   */
  #isCrowded(): boolean {
    const { maxWaiting } = this.rules;
    return maxWaiting > 0 && !this.isPaused && this.waiting.size >= maxWaiting;
  }

  /**
   * What whoever comes now has to expect. Logins have failed and the pool has no server: while it
   * pauses, that; afterwards one more login is waited for, and whatever comes of it is told.
   */
  #outlook(): StandingFailure<E> | "one_login" | "server" {
    const failure = this.#failure;
    if (failure === undefined || this.isPaused || this.servers.usableCount > 0) return "server";
    if (this.#options.isTemporary(failure.error)) return "server";
    return this.servers.login.size > 0 || this.#mayTry() ? "one_login" : failure;
  }

  #loginSucceeded(server: S): void {
    this.#failure = undefined;
    const welcome = this.welcome = server.reported;
    this.#options.turns.add(
      batchOf(this.loggingIn.takeAll(), (request) => request.welcome(welcome)),
    );
  }

  #loginFailed(end: PooledServerEnd<E>): void {
    const { error } = end;
    const failure = new StandingFailure("login_failed", {
      error,
      atMs: this.#options.clock.nowMs(),
    });
    this.#failure = failure;
    this.#isHostMissing = end.kind === "unreachable";
    if (this.servers.usableCount > 0 || this.#options.isTemporary(error)) return;
    if (end.kind === "refused") this.refuseWaiting(error);
    // Beside one on trial there is another, which may have more to say.
    else if (this.servers.login.size === 0) this.#turnAway(failure);
  }

  /** Who waited before logins began to fail goes on waiting. */
  #turnAway(failure: StandingFailure<E>): void {
    this.#options.turns.add(
      batchOf(this.loggingIn.takeOut(isForOneLogin), (request) => request.turnAway(failure)),
      batchOf(this.waiting.takeOut(isForOneLogin), (request) => request.turnAway(failure)),
    );
  }

  /** Hands out what is free; then sees to it that more comes free. */
  #serveNext(): void {
    if (this.isPaused) return;
    while (this.waiting.size > 0) {
      const server = this.servers.nextIdle(this.rules.isRoundRobin);
      if (server === undefined) break;
      this.waiting.shift()!.serve(server);
    }
    this.#checkUsed();
    this.#openIfNeeded();
  }

  /** Brings back servers idle for long, as many as are waited for beside those about to come free. */
  #checkUsed(): void {
    while (this.waiting.size > this.#returningCount()) {
      const server = this.servers.used.at(-1);
      if (server === undefined) return;
      server.check();
    }
  }

  #openIfNeeded(): void {
    const { poolSize, reservePoolSize } = this.rules;
    // Most often so under load: there is no need to look closer.
    if (this.servers.count >= poolSize + reservePoolSize) return;
    while (!this.#share.isHeld && this.wantsServer) {
      if (!this.#caps.ask(this.#share)) return;
      // Beside one on trial, another is opened; else one is enough.
      if (this.openServer()?.isTrial !== true) return;
    }
  }

  openServer(): S | undefined {
    if (this.#closure !== undefined || this.isPaused) return undefined;
    const server = this.#options.openServer();
    this.servers.add(server);
    this.#caps.noteOpened(this.#share, server);
    return server;
  }

  #mayTry(): boolean {
    if (this.#failure === undefined) return true;
    if (this.#options.clock.nowMs() - this.#failure.atMs >= this.rules.loginRetryMs) return true;
    return this.#isHostMissing && this.#options.isHostWorthTrying?.() === true;
  }

  #awaitedLoginCount(): number {
    let count = 0;
    for (const { isTrial } of this.servers.login) if (!isTrial) count += 1;
    return count;
  }

  /** Servers that will be free in a moment, for those who wait. */
  #returningCount(): number {
    if (this.servers.tested.size === 0) return 0;
    const sinceMs = this.#options.clock.nowMs() - RETURN_MS;
    let count = 0;
    for (const { enteredAtMs } of this.servers.tested) if (enteredAtMs > sinceMs) count += 1;
    return count;
  }

  #situation(): PoolSituation {
    const oldest = this.waiting.oldest;
    return {
      serverCount: this.servers.count,
      loginCount: this.#awaitedLoginCount(),
      // Who logs in waits for what a new server reports.
      waitingCount: Math.max(this.waiting.size - this.#returningCount(), 0) + this.loggingIn.size,
      oldestWaitMs: oldest === undefined ? 0 : this.#options.clock.nowMs() - oldest.sinceMs,
    };
  }
}

function isForOneLogin(place: WaitingPlace<unknown>): boolean {
  return place.isForOneLogin;
}

/** Those of a queue of their own, who are all told the same; who leaves it is told nothing. */
function batchOf<T>(queue: WaitingQueue<T>, tell: (request: T) => void): Batch {
  return {
    get size() {
      return queue.size;
    },
    next: () => tell(queue.shift()!),
  };
}

function idleLonger<S extends PooledServer<unknown>>(
  idle: S | undefined,
  used: S | undefined,
): S | undefined {
  if (idle === undefined || used === undefined) return idle ?? used;
  return used.enteredAtMs <= idle.enteredAtMs ? used : idle;
}
