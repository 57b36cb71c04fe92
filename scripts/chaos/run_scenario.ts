/** Runs one scenario: the ledger works, something is broken and mended, and all has to be as it was. */

import type { ConfigSection } from "../../tests/support/toml_config.ts";
import type { Flavour } from "../embedded_postgres.ts";
import { pause, waitUntil } from "../guarded_process.ts";
import { ChaosWorld, type EngineName, IDLE_LIMIT_MS, type WorldOptions } from "./chaos_world.ts";
import { hasGrown, idleFaults, type IdleState } from "./idle_state.ts";
import { judgeLedger, LedgerBook } from "./ledger.ts";
import { tolerateLateWrites } from "./ledger_clients.ts";
import { LedgerWorkload, type WorkloadCounts } from "./ledger_workload.ts";

/** Something that is broken while the ledger works. */
export interface ChaosScenario {
  readonly name: string;
  /** What is broken, in a few words. */
  readonly title: string;
  /** What is special about the world it needs. */
  readonly world?: Omit<WorldOptions, "engine" | "flavour">;
  /** Settings of Sluice's that depend on its engine. */
  poolerFor?(engine: EngineName): ConfigSection;
  /** How long clients wait for an answer before they leave, where that is no fault; default: it is one. */
  readonly patienceMs?: number;
  /** Why it cannot be run on this machine; undefined if it can. */
  refusal?(): Promise<string | undefined>;
  /** Breaks things until `isOver()`, mends all of it, and answers what went otherwise than it should. */
  disturb(world: ChaosWorld, isOver: () => boolean): Promise<readonly string[]>;
}

/** How scenarios are run. */
export interface RunOptions {
  readonly engine: EngineName;
  readonly flavour: Flavour;
  readonly seconds: number;
  /** How long the ledger works undisturbed, before its first idle state is taken, in ms. */
  readonly warmUpMs?: number;
  /** The same after each time that something was broken. */
  readonly calmMs?: number;
  /** How often things are broken at most, until memory no longer grows; with 1 it is not looked at. */
  readonly mostRounds?: number;
}

/** What came of a scenario. */
export interface ScenarioResult {
  readonly committed: number;
  readonly rolledBack: number;
  readonly unknown: number;
  readonly counts: WorkloadCounts;
  /** From the mending until each client had committed, in ms; undefined = not all had in time. */
  readonly recoveredMs: number | undefined;
  readonly faults: readonly string[];
}

/** How long an answer may take; nothing here takes so long that works. */
const PATIENCE_MS = 60_000;

/** How long it may take until each client has committed again. */
const RECOVERY_LIMIT_MS = 30_000;

const CALM_MS = 1_000;

const MOST_ROUNDS = 4;

const WARM_UP_MS = 3_000;

/** Runs a scenario in a world of its own. */
export async function runScenario(
  scenario: ChaosScenario,
  options: RunOptions,
): Promise<ScenarioResult> {
  const { engine, flavour, seconds } = options;
  const { calmMs = CALM_MS, mostRounds = MOST_ROUNDS, warmUpMs = WARM_UP_MS } = options;
  using _tolerance = tolerateLateWrites();
  const pooler = { ...scenario.world?.pooler, ...scenario.poolerFor?.(engine) };
  await using world = await ChaosWorld.start({ ...scenario.world, pooler, engine, flavour });
  const book = new LedgerBook();
  const calm = startWorkload(scenario, world, book);
  await calm.everyoneCommitted(performance.now(), RECOVERY_LIMIT_MS);
  await pause(warmUpMs);
  await calm.stop();
  const before = await whenQuiet(world);

  // What is lived through for the first time costs memory once: code, and the room that it takes. What
  // leaks takes as much again each time.
  const rounds = [await disturbOnce(scenario, { world, book, calmMs, seconds: seconds / 2 })];
  let settled: IdleState = { ...before, memoryBytes: Infinity };
  let isSettled = false;
  while (!isSettled && rounds.length < mostRounds && !world.hasSluiceEnded) {
    const lived = await whenQuiet(world);
    settled = {
      ...before,
      descriptors: Math.min(settled.descriptors, lived.descriptors),
      memoryBytes: Math.max(before.memoryBytes, lived.memoryBytes),
    };
    rounds.push(await disturbOnce(scenario, { world, book, calmMs, seconds }));
    isSettled = !world.hasSluiceEnded && !hasGrown(settled, await whenQuiet(world));
  }

  const { counts, recoveredMs } = rounds.at(-1) ?? NO_ROUND;
  const faults = rounds.flatMap((round) => round.faults);
  faults.push(...await faultsOf(world, book, settled));
  return {
    committed: book.count("committed"),
    rolledBack: book.count("rolled back"),
    unknown: book.count("unknown"),
    counts,
    recoveredMs,
    faults,
  };
}

/** What one time of breaking and mending gave. */
type Round = Pick<ScenarioResult, "counts" | "faults" | "recoveredMs">;

/** What is known before the first. */
const NO_ROUND: Round = {
  counts: { lostConnections: 0, failedLogins: 0, impatient: 0 },
  faults: [],
  recoveredMs: undefined,
};

/** Has the ledger work, and meanwhile breaks and mends. */
async function disturbOnce(
  scenario: ChaosScenario,
  { book, calmMs, seconds, world }: {
    world: ChaosWorld;
    book: LedgerBook;
    calmMs: number;
    seconds: number;
  },
): Promise<Round> {
  const workload = startWorkload(scenario, world, book);
  await workload.everyoneCommitted(performance.now(), RECOVERY_LIMIT_MS);
  const endMs = performance.now() + seconds * 1000;
  const faults = [...await scenario.disturb(world, () => performance.now() > endMs)];
  const recovered = await workload.everyoneCommitted(performance.now(), RECOVERY_LIMIT_MS);
  await pause(calmMs);
  await workload.stop();
  const { counts } = workload;
  if (typeof recovered === "number") return { counts, faults, recoveredMs: recovered };
  faults.push(`not recovered within ${RECOVERY_LIMIT_MS} ms: ${recovered.join(", ")}`);
  return { counts, faults, recoveredMs: undefined };
}

/** Everything that may not be, once the ledger rests. */
async function faultsOf(
  world: ChaosWorld,
  book: LedgerBook,
  before: IdleState,
): Promise<readonly string[]> {
  if (world.hasSluiceEnded) return ["Sluice has ended", ...world.internalErrors()];
  return [
    ...book.faults,
    ...await leftBehind(world, before),
    ...judgeLedger(book.seen, await world.tables()),
    ...world.internalErrors(),
  ];
}

/** What is not as before when Sluice has had time to clean up. */
async function leftBehind(world: ChaosWorld, before: IdleState): Promise<string[]> {
  let faults: string[] = [];
  await waitUntil(async () => {
    await world.collectGarbage();
    faults = idleFaults(before, await world.idleState());
    return faults.length === 0;
  }, IDLE_LIMIT_MS);
  return faults;
}

/** The state of a Sluice that has nobody to serve, and no garbage. */
async function whenQuiet(world: ChaosWorld): Promise<IdleState> {
  await world.untilIdle();
  await world.collectGarbage();
  return await world.idleState();
}

function startWorkload(
  { patienceMs }: ChaosScenario,
  { target }: ChaosWorld,
  book: LedgerBook,
): LedgerWorkload {
  return new LedgerWorkload({
    target,
    book,
    each: 2,
    patienceMs: patienceMs ?? PATIENCE_MS,
    isPatienceEnough: patienceMs === undefined,
  });
}
