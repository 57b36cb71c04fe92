/**
 * Runs in which one call of the pooler fails: the first of all reads, writes, connects, accepts, name
 * look-ups and file reads, then the second, and so on until there is no such call any more. Nothing
 * else goes wrong in them, so that it is known what a fault comes from.
 */

import type { NameResolver } from "../../src/net/name_resolver.ts";
import { type FailingCall, USERS } from "../support/pooler_world.ts";
import { NO_HAZARDS } from "./sim_hazards.ts";
import type { SimPlan } from "./sim_plan.ts";

/** Lets the n-th call fail, counted from when it is armed. */
export class NthFailure {
  readonly #n: number;
  #count = 0;
  #isArmed = false;
  /** What has failed. */
  failed: FailingCall | undefined;

  /** The first is 1. */
  constructor(n: number) {
    this.#n = n;
  }

  /** Counts from now on. */
  arm(): void {
    this.#isArmed = true;
  }

  /** Whether this call is to fail. */
  readonly fails = (what: FailingCall): boolean => {
    if (!this.#isArmed) return false;
    this.#count += 1;
    if (this.#count !== this.#n) return false;
    this.failed = what;
    return true;
  };
}

/** Has a name, so that it is looked up. */
const SECTIONS = `
[databases."*"]
host = "db.example"
${USERS}`;

const RESOLVER: NameResolver = {
  lookUp: () => Promise.resolve({ addresses: ["127.0.0.1"], ttlMs: 100 }),
  zoneSerial: () => Promise.resolve(1),
};

/** A run for that, which is small: it is run as often as it has calls. */
export function withFailure(plan: SimPlan, { fails }: NthFailure): SimPlan {
  return {
    ...plan,
    isCalm: false,
    clientCount: 2,
    sessionCount: 1,
    maxOperations: Math.min(plan.maxOperations, 3),
    hazards: { ...NO_HAZARDS, hasConsole: plan.hazards.hasConsole },
    world: {
      ...plan.world,
      chunking: "whole",
      bufferBytes: 65_536,
      sections: SECTIONS,
      resolver: RESOLVER,
      fails,
      pooler: `admin_users = "ada"\n${plan.world.pooler}`,
    },
  };
}
