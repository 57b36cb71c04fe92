/** Several pools under the same limits, and the checks that must hold after every step. */

import assert from "node:assert/strict";
import { type CapKind, ConnectionCaps } from "../../../src/pool/connection_caps.ts";
import type { PoolRules } from "../../../src/pool/pool.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { PoolWorld } from "./pool_world.ts";

/** Limits by what they are about, as "database app" or "server one"; a test may change them. */
export type Limits = Record<string, number>;

/** The limits, and the pools that were made under them. */
export class CapsWorld {
  readonly clock = new FakeClock();
  readonly limits: Limits;
  readonly caps: ConnectionCaps;
  readonly worlds: PoolWorld[] = [];

  constructor(limits: Limits) {
    this.limits = limits;
    this.caps = new ConnectionCaps({
      nowMs: () => this.clock.nowMs(),
      limitOf: (kind, name) => this.limits[`${kind} ${name}`] ?? 0,
    });
  }

  /** One more pool, named as "database/user"; of five servers, unless `rules` says otherwise. */
  pool(
    name: string,
    rules: Partial<PoolRules> = {},
    addressKeys: readonly string[] = [],
  ): PoolWorld {
    const surroundings = { ...this.surroundings(name), addressKeys };
    return this.adopt(new PoolWorld({ poolSize: 5, ...rules }, surroundings));
  }

  /** What the pool of that name has in common with the others. */
  surroundings(name: string) {
    const [database, user] = name.split("/") as [string, string];
    return { clock: this.clock, caps: this.caps, database, user };
  }

  /** Checks one more pool. */
  adopt<W extends PoolWorld>(world: W): W {
    this.worlds.push(world);
    return world;
  }

  /** What the janitor does in a round. */
  round(): void {
    this.clock.advance(333);
    for (const { pool } of this.worlds) pool.maintain(false);
    this.caps.look();
    for (const { pool } of this.worlds) {
      const keys = pool.addressKeys.map((key) => `server ${key}`);
      const names = [`database ${pool.database}`, `user ${pool.user}`, ...keys];
      const isCapped = names.some((name) => (this.limits[name] ?? 0) > 0);
      assert.ok(isCapped || !pool.wantsServer, `${pool.database}/${pool.user} is forgotten`);
    }
  }

  /** What must hold between any two calls. */
  check(): void {
    for (const world of this.worlds) world.check();
    for (const kind of ["database", "user"] as const) this.#checkCounts(kind);
    this.#checkServerCounts();
  }

  /** After whatever may make room, there is none left that somebody waits for. */
  checkNobodyIsForgotten(): void {
    const openedCount = () => this.worlds.reduce((sum, { servers }) => sum + servers.length, 0);
    const before = openedCount();
    this.caps.look();
    assert.equal(openedCount(), before, "a place was free that nobody was given");
  }

  #checkCounts(kind: "database" | "user"): void {
    for (const name of new Set(this.worlds.map(({ pool }) => pool[kind]))) {
      const members = this.worlds.filter(({ pool }) => pool[kind] === name);
      this.#checkCount(kind, name, members.reduce((sum, { pool }) => sum + pool.servers.count, 0));
    }
  }

  #checkServerCounts(): void {
    const open = this.worlds.flatMap(({ servers }) => servers)
      .filter(({ state }) => state.kind !== "closed");
    for (const key of new Set(open.map(({ addressKey }) => addressKey))) {
      const count = open.filter(({ addressKey }) => addressKey === key).length;
      this.#checkCount("server", key, count);
    }
  }

  #checkCount(kind: CapKind, name: string, count: number): void {
    assert.equal(this.caps.countOf(kind, name), count, `servers of ${kind} ${name}`);
    const limit = this.limits[`${kind} ${name}`] ?? 0;
    assert.ok(limit === 0 || count <= limit, `${count} servers of ${kind} ${name}`);
  }
}
