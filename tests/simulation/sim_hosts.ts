/**
 * Several hosts in a simulation, in some of the runs, with roles that change: one fake PostgreSQL
 * that is another server at each of its addresses.
 */

import assert from "node:assert/strict";
import type { ServerAddress } from "../../src/net/network.ts";
import { ROLE_KINDS, type RoleKind } from "../support/fake_postgres.ts";
import { type PoolerWorld, USERS, type WorldOptions } from "../support/pooler_world.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import type { SimPlan } from "./sim_plan.ts";

/** Sets the numbers of this apart from those of the rest, which old seeds are about. */
const SEED_OFFSET = 9_000_011;

/** Steps between two changes of a role, on average. */
const STEPS_PER_CHANGE = 150;

/**
 * What a host may become while it is used. Who asked for what a server has by default would lose it
 * with a change of that, as with PostgreSQL.
 */
const CHANGING: readonly RoleKind[] = ["read_write_primary", "standby"];

/** Which roles suit. */
const SUITABLE: Readonly<Record<string, readonly RoleKind[]>> = {
  "any": ROLE_KINDS,
  "read-write": ["read_write_primary"],
  "read-only": ["read_only_primary", "standby"],
  "primary": ["read_write_primary", "read_only_primary"],
  "standby": ["standby"],
  "prefer-standby": ROLE_KINDS,
};

/** What a run with several hosts is like. */
export interface SimHostsPlan {
  readonly hosts: readonly string[];
  readonly attrs: string;
  readonly isReported: boolean;
}

/** The same run; in some of them there are several hosts. */
export function withHosts(plan: SimPlan, seed: number): SimPlan {
  const random = new SeededRandom(seed + SEED_OFFSET);
  if (random.chance(0.6)) return plan;
  const hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3"].slice(0, random.between(1, 3));
  const attrs = random.pick(Object.keys(SUITABLE));
  const isReported = random.chance(0.7);
  const policy = random.pick(["round-robin", "disable"]);
  const { world } = plan;
  const changed: WorldOptions = {
    ...world,
    pooler: `server_role_retry = ${random.pick([0, 1])}\n${world.pooler}`,
    sections: `[databases."*"]
host = "${hosts.join()}"
load_balance_hosts = "${policy}"
target_session_attrs = "${attrs}"
${USERS}`,
    postgres: {
      ...world.postgres,
      reportsRole: isReported,
      address: { kind: "tcp", host: "0.0.0.0", port: 5432, backlog: 16 },
    },
  };
  return { ...plan, hosts: { hosts, attrs, isReported }, world: changed };
}

/** The hosts of one run. */
export class SimHosts {
  readonly #world: PoolerWorld;
  readonly #plan: SimHostsPlan | undefined;
  readonly #random: SeededRandom;
  readonly #suitable: readonly RoleKind[];
  /** Those that are promoted and demoted: the others are read-only primaries for good. */
  readonly #changing: readonly string[];

  /** Some suit from the start, one at least. */
  constructor(world: PoolerWorld, { plan, seed }: { plan: SimPlan; seed: number }) {
    this.#world = world;
    this.#plan = plan.hosts;
    this.#random = new SeededRandom(seed + 2 * SEED_OFFSET);
    this.#suitable = SUITABLE[plan.hosts?.attrs ?? "any"]!;
    const [first, ...others] = this.#plan?.hosts ?? [];
    const fixed = others.filter(() => this.#random.chance(0.3));
    for (const host of fixed) this.#become(host, "read_only_primary");
    this.#changing = [first ?? "", ...others].filter((host) => !fixed.includes(host));
    for (const host of this.#changing) this.#become(host, this.#random.pick(CHANGING));
    this.heal();
  }

  /** Where PostgreSQL is dialed. */
  get addresses(): readonly ServerAddress[] {
    const { address } = this.#world.postgres;
    if (this.#plan === undefined) return [address];
    return this.#plan.hosts.map((host) => ({ kind: "tcp", host, port: address.port }));
  }

  /** Now and then one becomes another, and tells it or does not. Returns what has happened. */
  step(): string | undefined {
    if (this.#plan === undefined || this.#random.below(STEPS_PER_CHANGE) > 0) return undefined;
    const [host, kind] = [this.#random.pick(this.#changing), this.#random.pick(CHANGING)];
    this.#become(host, kind);
    return `${host} has become ${kind}`;
  }

  /** One at least suits. */
  heal(): void {
    if (this.#plan === undefined) return;
    const suitable = CHANGING.filter((kind) => this.#suitable.includes(kind));
    this.#become(this.#random.pick(this.#changing), this.#random.pick(suitable));
  }

  /** What is used had a role that suits when it logged in, if it said so. */
  check(): void {
    const { pooler, postgres } = this.#world;
    if (this.#plan?.isReported !== true) return;
    for (const { servers } of pooler.pools.registry.all()) {
      for (const server of servers.all()) {
        if (server.state.kind === "login" || server.cancelKey === undefined) continue;
        const kind = postgres.roleAtLogin(server.cancelKey);
        assert.ok(kind === undefined || this.#suitable.includes(kind), `a ${kind} is used`);
      }
    }
  }

  #become(host: string, kind: RoleKind): void {
    this.#world.postgres.become(
      { isStandby: kind === "standby", isReadOnly: kind === "read_only_primary" },
      host,
    );
  }
}
