/**
 * What else may happen in a simulated run: connections that end at any byte, an operator at the
 * console, reloads, limits of clients, an end of the pooler while it is being used.
 */

import type { ShutdownMode } from "../../src/admin/console_context.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import type { SimPlan } from "./sim_plan.ts";

/** Such things, as one run has them. */
export interface SimHazards {
  /** Whether no client does anything after which counts of clients and servers differ. */
  readonly isTidy: boolean;
  /** Share of sessions that end at some byte, whichever that is. */
  readonly clientBreaks: number;
  /** Share of connections to servers that do; none in calm runs. */
  readonly serverBreaks: number;
  /** Share of connections that begin with what no client sends. */
  readonly strangers: number;
  /** Whether the operator is at the console, too, and reloads. */
  readonly hasConsole: boolean;
  /** How the pooler is told to end while clients are there. */
  readonly shutdown: ShutdownMode | undefined;
  /** Most clients of the database; 0: any number. */
  readonly maxDbClients: number;
}

/** None of them. */
export const NO_HAZARDS: SimHazards = {
  isTidy: false,
  clientBreaks: 0,
  serverBreaks: 0,
  strangers: 0,
  hasConsole: false,
  shutdown: undefined,
  maxDbClients: 0,
};

/** Sets the numbers of this apart from those of the rest. */
const SEED_OFFSET = 3_000_017;

const SHUTDOWNS: readonly ShutdownMode[] = [
  ...["wait_for_clients", "wait_for_servers", "wait_for_transactions", "immediate"] as const,
];

/** The same run with such things. */
export function withHazards(plan: SimPlan, seed: number): SimPlan {
  const random = new SeededRandom(seed + SEED_OFFSET);
  const isTidy = plan.isCalm && random.chance(0.3);
  const isRough = !isTidy && random.chance(0.5);
  const maxDbClients = random.chance(0.2) ? Math.max(1, plan.clientCount - 2) : 0;
  const hazards: SimHazards = {
    isTidy,
    clientBreaks: isRough ? 0.4 : 0,
    serverBreaks: isRough && !plan.isCalm ? 0.4 : 0,
    strangers: isTidy ? 0 : 0.1,
    hasConsole: random.chance(0.6),
    shutdown: !isTidy && random.chance(0.3) ? random.pick(SHUTDOWNS) : undefined,
    maxDbClients,
  };
  const lines = `admin_users = "ada"\nmax_db_client_connections = ${maxDbClients}\n`;
  const { world } = plan;
  return {
    ...plan,
    theme: isTidy ? "tidy" : plan.theme,
    hazards,
    world: { ...world, pooler: lines + world.pooler },
  };
}
