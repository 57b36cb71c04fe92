/**
 * Limits on servers that count over several pools: those of a database, of a user, of one physical
 * server. Each pool asks before it opens a server for somebody who waits, and tells of each that it
 * has opened or lost.
 *
 * A pool that may not open one is held. Held pools are looked at whenever a server has gone
 * anywhere, one has come free, a limit has changed, and in each of the janitor's rounds: first those
 * that have least by their weight, then those whose last turn is longest ago, then those who have
 * waited longest.
 * Room is made by closing the server idle for longest in another pool, or one that has just come
 * free in a pool that has more than its part, even if it is waited for there. So no pool waits for
 * ever beside a busy one: where there are more pools than servers, they take turns.
 *
 * Invariants: no group has more servers than its limit, but for those that were there when the limit
 * was lowered; a pool that is not held and wants a server has one on its way, or its own size is
 * reached. All of it is synchronous.
 */

import type { PooledServer } from "./pooled_server.ts";

/** Why a server is closed whose place is needed elsewhere. */
export const EVICTED = "evicted";

/** Least time between two turns of pools that have to share one server: each costs a login. */
export const LEAST_TURN_MS = 100;

/** How long places are kept free for a pool that needs one in several groups at the same time. */
export const BOOKING_MS = 1_000;

/** Makes the rank of a pool below its minimum less than that of any that is not. */
const BELOW_MINIMUM = 1e-9;

/** Turns grow with the weight of a pool, but not for ever. */
const MAX_TURN_WEIGHT = 10;

/** What a limit is about; a server is one host and port. */
export type CapKind = "database" | "user" | "server";

/** A pool as the limits see it. */
export interface CappedPool {
  readonly database: string;
  readonly user: string;
  /** How many servers it has, in whatever state. */
  readonly serverCount: number;
  /** How many wait, logins included. */
  readonly waitingCount: number;
  /** Servers it is to keep before others get more than that. */
  readonly minServerCount: number;
  /** Its part beside others, at least 1. */
  readonly weight: number;
  /** Where its servers may be; by `PooledServer.addressKey`. */
  readonly addressKeys: readonly string[];
  /** Of these, where its next server may be, as far as is known by now; any of them will do. */
  readonly nextAddressKeys: readonly string[];
  /** Whether it would open a server now, if it may. */
  readonly wantsServer: boolean;
  /** Since when the oldest waits, logins included; undefined if nobody does. */
  readonly waitingSinceMs: number | undefined;
  /** The free server that may be taken from it: the one idle for longest. */
  readonly longestIdle: PooledServer<unknown> | undefined;
  /** The same of those at one address. */
  longestIdleAt(addressKey: string): PooledServer<unknown> | undefined;
  /** How many of its servers are at one address. */
  serverCountAt(addressKey: string): number;
  /** Opens the server that it wants. */
  openServer(): unknown;
}

/** What the limits are made of. */
export interface ConnectionCapsOptions {
  readonly nowMs: () => number;
  /** How many servers; 0 = as many as there are. Read anew by `refresh()`. */
  readonly limitOf: (kind: CapKind, name: string) => number;
}

/** The pools that one limit is about. */
export interface CapGroup {
  readonly kind: CapKind;
  readonly name: string;
  readonly members: Set<CapShare>;
  /** 0 = none. */
  limit: number;
  /** The servers that count for it. */
  count: number;
}

/** One pool's part in the limits; the limits' own notes. */
export interface CapShare {
  readonly pool: CappedPool;
  /** In each of these there must be room. */
  readonly groups: readonly CapGroup[];
  /** In one of these, as they were when last asked for; none means that nothing is asked. */
  hosts: readonly CapGroup[];
  /** All that it may have servers in. */
  readonly memberships: Set<CapGroup>;
  /** Whether it waits for a place. */
  isHeld: boolean;
  /** Tells whose turn was later. */
  turn: number;
  /** Since when places are kept for it. */
  bookedAtMs: number | undefined;
}

/** A free server, and the pool it is taken from. */
interface IdleServer {
  readonly owner: CapShare;
  readonly server: PooledServer<unknown>;
}

/** All limits of one pooler. */
export class ConnectionCaps {
  readonly #options: ConnectionCapsOptions;
  readonly #groups = new Map<string, CapGroup>();
  readonly #shares = new Set<CapShare>();
  readonly #held = new Set<CapShare>();
  /** Those that have more than their limit, since that was lowered. */
  readonly #overfull = new Set<CapGroup>();
  #lastTurn = 0;
  #isLooking = false;
  #looksAgain = false;

  constructor(options: ConnectionCapsOptions) {
    this.#options = options;
  }

  /** Whether a server that comes free may be needed elsewhere. */
  get isTight(): boolean {
    return this.#held.size > 0 || this.#overfull.size > 0;
  }

  /** Takes in a new pool, which has no server yet. */
  join(pool: CappedPool): CapShare {
    const groups = [this.#group("database", pool.database), this.#group("user", pool.user)];
    const share: CapShare = {
      pool,
      groups,
      hosts: [],
      memberships: new Set(),
      isHeld: false,
      turn: 0,
      bookedAtMs: undefined,
    };
    this.#shares.add(share);
    for (const group of groups) enlist(share, group);
    this.#enlistAtHosts(share);
    return share;
  }

  /** Forgets a pool that has no server any more. */
  leave(share: CapShare): void {
    this.#letGo(share);
    this.#shares.delete(share);
    for (const group of share.memberships) {
      group.members.delete(share);
      if (group.members.size === 0) this.#groups.delete(keyOf(group.kind, group.name));
    }
  }

  /** Whether one more server may be at an address, as far as limits go. */
  hasRoomAt(addressKey: string): boolean {
    const group = this.#groups.get(keyOf("server", addressKey));
    return group === undefined || !isFull(group);
  }

  /** All there is a limit for, or may come to be one, with the pools under it; to look at only. */
  groups(): Iterable<CapGroup> {
    return this.#groups.values();
  }

  /** The servers that count for a limit. */
  countOf(kind: CapKind, name: string): number {
    return this.#groups.get(keyOf(kind, name))?.count ?? 0;
  }

  /**
   * Reads all limits anew, and where the pools' servers are: what is idle beyond them goes at once,
   * what is busy when it is free.
   */
  refresh(): void {
    for (const share of this.#shares) this.#enlistAtHosts(share);
    this.#overfull.clear();
    for (const group of this.#groups.values()) {
      group.limit = this.#options.limitOf(group.kind, group.name);
      if (isOver(group)) this.#overfull.add(group);
    }
    this.look();
  }

  /** Opens what there is room for by now, in the order in which pools have a right to it. */
  look(): void {
    // So it is nearly always, and each server that goes asks.
    if (!this.isTight) return;
    // What is opened and closed below asks for it again.
    this.#looksAgain = true;
    if (this.#isLooking) return;
    this.#isLooking = true;
    try {
      while (this.#looksAgain) {
        this.#looksAgain = false;
        this.#trim();
        this.#serveHeld();
      }
    } finally {
      this.#isLooking = false;
    }
  }

  /** Whether a pool may open a server now for somebody who waits; if not, it is held. */
  ask(share: CapShare): boolean {
    if (share.isHeld) return false;
    if (this.mayOpenAhead(share)) return true;
    share.isHeld = true;
    this.#held.add(share);
    // It may be its turn, or there may be something idle that makes room.
    this.look();
    return false;
  }

  /** Whether a pool may open a server that nobody waits for: nothing is closed for that. */
  mayOpenAhead(share: CapShare): boolean {
    this.#findHosts(share);
    return this.#isFreeFor(share);
  }

  /**
   * A server has come free in the pool of `share`. Returns whether it has to be closed, since a
   * limit was lowered or another pool has a better right to its place.
   * @param isNew Whether nobody has had it yet: who it was opened for goes first.
   */
  claims(share: CapShare, { isNew, server }: {
    isNew: boolean;
    server: PooledServer<unknown>;
  }): boolean {
    if (share.groups.some(isOver) || isOver(this.#hostOf(server))) return true;
    const isWaitedFor = share.pool.waitingSinceMs !== undefined;
    if (isNew && isWaitedFor) return false;
    const heir = this.#heirOf(share, server);
    if (heir === undefined) return false;
    if (isWaitedFor && !this.#yields(share, { heir, server })) return false;
    // Its next turn comes after those of all who wait now.
    this.#endTurn(share);
    return true;
  }

  /** A server was opened. */
  noteOpened(share: CapShare, server: PooledServer<unknown>): void {
    const host = this.#hostOf(server);
    enlist(share, host);
    for (const group of [...share.groups, host]) group.count += 1;
    this.#endTurn(share);
  }

  /** A server has gone. */
  noteClosed(share: CapShare, server: PooledServer<unknown>): void {
    for (const group of [...share.groups, this.#hostOf(server)]) {
      group.count -= 1;
      if (!isOver(group)) this.#overfull.delete(group);
    }
  }

  #hostOf({ addressKey }: PooledServer<unknown>): CapGroup {
    return this.#group("server", addressKey);
  }

  #enlistAtHosts(share: CapShare): void {
    for (const key of share.pool.addressKeys) enlist(share, this.#group("server", key));
  }

  /** Finds out where its next server may be: that changes as hosts fail and come back. */
  #findHosts(share: CapShare): void {
    share.hosts = share.pool.nextAddressKeys.map((key) => this.#group("server", key));
    for (const host of share.hosts) enlist(share, host);
  }

  #group(kind: CapKind, name: string): CapGroup {
    const key = keyOf(kind, name);
    let group = this.#groups.get(key);
    if (group === undefined) {
      const limit = this.#options.limitOf(kind, name);
      group = { kind, name, members: new Set(), limit, count: 0 };
      this.#groups.set(key, group);
    }
    return group;
  }

  /** Whether there is room, and nobody waits for it. */
  #isFreeFor({ groups, hosts }: CapShare): boolean {
    const isFree = (group: CapGroup) =>
      group.limit === 0 || !isFull(group) && !this.#isAwaited(group);
    return groups.every(isFree) && (hosts.length === 0 || hosts.some(isFree));
  }

  #isAwaited(group: CapGroup): boolean {
    for (const { groups, hosts } of this.#held) {
      if (groups.includes(group) || hosts.includes(group)) return true;
    }
    return false;
  }

  /** Closes what is idle beyond a limit. */
  #trim(): void {
    for (const group of this.#overfull) {
      while (isOver(group)) {
        const victim = longestIdle([group]);
        if (victim === undefined) break;
        victim.server.discard(EVICTED);
      }
    }
  }

  #serveHeld(): void {
    const booked = new Set<CapGroup>();
    for (const share of this.#held) this.#findHosts(share);
    for (const share of inOrder(this.#held)) {
      // What was closed for others may have led to it.
      if (!share.isHeld) continue;
      if (!share.pool.wantsServer) {
        this.#letGo(share);
        continue;
      }
      const victims = isBooked(share, booked) ? undefined : this.#victimsFor(share);
      if (victims !== undefined) this.#openFor(share, victims);
      else if (this.#isBooking(share)) {
        for (const group of [...share.groups, ...share.hosts].filter(isLimited)) booked.add(group);
      }
    }
  }

  #openFor(share: CapShare, victims: readonly PooledServer<unknown>[]): void {
    for (const victim of victims) victim.discard(EVICTED);
    // Closing leads to much; if this has changed, all is looked at again.
    if (!share.isHeld || !share.pool.wantsServer || isBlocked(share)) return;
    this.#letGo(share);
    share.pool.openServer();
  }

  /**
   * What has to be closed so that there is room for one more server of a pool: nothing, if there is.
   * Undefined if that cannot be had now.
   * @param offered A server that may go too, although its pool has waiters.
   */
  #victimsFor(
    share: CapShare,
    offered?: PooledServer<unknown>,
  ): readonly PooledServer<unknown>[] | undefined {
    const victims: IdleServer[] = [];
    for (const group of share.groups) {
      if (isOver(group)) return undefined;
      if (!isFull(group) || victims.some(({ owner }) => owner.groups.includes(group))) continue;
      const victim = longestIdle([group], { but: share, offered });
      if (victim === undefined) return undefined;
      victims.push(victim);
    }
    const hosts = share.hosts.filter((host) => !isOver(host));
    const isThere = ({ server }: IdleServer) => hosts.includes(this.#hostOf(server));
    if (areAllFull(share) && !victims.some(isThere)) {
      const victim = longestIdle(hosts, { but: share, offered });
      if (victim === undefined) return undefined;
      victims.push(victim);
    }
    return victims.map(({ server }) => server);
  }

  /** The held pool with the best right to the place of a server, if it is of use to any. */
  #heirOf(share: CapShare, server: PooledServer<unknown>): CapShare | undefined {
    const host = this.#hostOf(server);
    const needy = [...this.#held].filter((other) =>
      other !== share && other.pool.wantsServer &&
      (other.groups.some((group) => isFull(group) && share.groups.includes(group)) ||
        areAllFull(other) && other.hosts.includes(host))
    );
    return inOrder(needy).find((other) =>
      this.#victimsFor(other, server)?.includes(server) || this.#isBooking(other)
    );
  }

  /** Whether a pool with waiters of its own gives a server up for another one. */
  #yields(share: CapShare, { heir, server }: {
    heir: CapShare;
    server: PooledServer<unknown>;
  }): boolean {
    const heirRank = rankOf(heir.pool, heir.pool.serverCount);
    const ownRank = rankOf(share.pool, share.pool.serverCount - 1);
    if (heirRank !== ownRank) return heirRank < ownRank;
    // Neither can have what it must: they take turns.
    const turnMs = LEAST_TURN_MS * Math.min(share.pool.weight, MAX_TURN_WEIGHT);
    return heirRank === 0 && this.#options.nowMs() - server.createdAtMs >= turnMs;
  }

  /** Whether places are kept for a pool that has waited long for several at once; not for long. */
  #isBooking(share: CapShare): boolean {
    const limitCount = share.groups.filter(isLimited).length +
      (share.hosts.some(isLimited) ? 1 : 0);
    if (limitCount < 2) return false;
    const nowMs = this.#options.nowMs();
    const waitedMs = nowMs - (share.pool.waitingSinceMs ?? nowMs);
    if (waitedMs < BOOKING_MS) return false;
    share.bookedAtMs ??= nowMs;
    if (nowMs - share.bookedAtMs < BOOKING_MS) return true;
    if (nowMs - share.bookedAtMs >= 2 * BOOKING_MS) share.bookedAtMs = undefined;
    return false;
  }

  #letGo(share: CapShare): void {
    share.isHeld = false;
    share.bookedAtMs = undefined;
    this.#held.delete(share);
  }

  #endTurn(share: CapShare): void {
    this.#lastTurn += 1;
    share.turn = this.#lastTurn;
  }
}

/** Held pools, best right first. */
function inOrder(held: Iterable<CapShare>): CapShare[] {
  const entries = [...held].map((share) => ({
    share,
    rank: rankOf(share.pool, share.pool.serverCount),
    sinceMs: share.pool.waitingSinceMs ?? Infinity,
  }));
  entries.sort((a, b) => a.rank - b.rank || a.share.turn - b.share.turn || a.sinceMs - b.sinceMs);
  return entries.map(({ share }) => share);
}

/** The less, the better a pool's right to one more than `count`; 0 for one that has none at all. */
function rankOf({ minServerCount, weight }: CappedPool, count: number): number {
  if (count === 0) return 0;
  const rank = (count + 1) / weight;
  return count < minServerCount ? rank * BELOW_MINIMUM : rank;
}

/** Of the servers of any of these groups that nobody waits for, the one idle for longest. */
function longestIdle(
  groups: readonly CapGroup[],
  { but, offered }: { but?: CapShare; offered?: PooledServer<unknown> | undefined } = {},
): IdleServer | undefined {
  let found: IdleServer | undefined;
  for (const group of groups) {
    for (const owner of group.members) {
      const server = owner === but ? undefined : idleOf(owner, group);
      if (server === undefined) continue;
      if (owner.pool.waitingSinceMs !== undefined && server !== offered) continue;
      if (found !== undefined && server.enteredAtMs >= found.server.enteredAtMs) continue;
      found = { owner, server };
    }
  }
  return found;
}

function idleOf({ pool }: CapShare, { kind, name }: CapGroup): PooledServer<unknown> | undefined {
  return kind === "server" ? pool.longestIdleAt(name) : pool.longestIdle;
}

function enlist(share: CapShare, group: CapGroup): void {
  group.members.add(share);
  share.memberships.add(group);
}

/** Whether a pool's servers can be nowhere else than where there is no room. */
function areAllFull({ hosts }: CapShare): boolean {
  return hosts.length > 0 && hosts.every(isFull);
}

function isBlocked(share: CapShare): boolean {
  return share.groups.some(isFull) || areAllFull(share);
}

/** Whether all the room that a pool could have is kept for others. */
function isBooked({ groups, hosts }: CapShare, booked: ReadonlySet<CapGroup>): boolean {
  return groups.some((group) => booked.has(group)) ||
    hosts.length > 0 && hosts.every((host) => booked.has(host));
}

function isLimited({ limit }: CapGroup): boolean {
  return limit > 0;
}

/** Whether there is no room for one more. */
export function isFull({ count, limit }: CapGroup): boolean {
  return limit > 0 && count >= limit;
}

function isOver({ count, limit }: CapGroup): boolean {
  return limit > 0 && count > limit;
}

function keyOf(kind: CapKind, name: string): string {
  return `${kind} ${name}`;
}
