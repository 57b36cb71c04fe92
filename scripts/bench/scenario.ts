/** What a scenario is, and the two kinds of subjects: one pooler for all rounds, or one for each. */

import { startPooler } from "./pooler.ts";
import type { PoolerKind, PoolerSettings, RunningPooler, TlsFiles } from "./pooler.ts";

/** What all scenarios of one run share. */
export interface BenchContext {
  /** Where PostgreSQL is, what both poolers know of the user's password, and which PgBouncer it is. */
  readonly server: Pick<PoolerSettings, "pgBouncer" | "serverPort" | "verifier">;
  /** What clients are shown where TLS is demanded. */
  readonly tls: TlsFiles;
  /** How long each load lasts. */
  readonly seconds: number;
  /** How long the load runs before, unmeasured, so that the runtime has compiled what is hot. */
  readonly warmUpSeconds: number;
  readonly idleClients: number;
  readonly copyRows: number;
}

/** The figures of one measurement, by the name of a `Figure`. */
export type Measurement = Readonly<Record<string, number>>;

/** One kind of figure. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly digits: number;
  /** What Sluice is to reach. */
  readonly goal?: Goal;
}

/**
 * A bound for Sluice's figure divided by PgBouncer's, for the figure itself, or for what it is more
 * than on the portable engine.
 */
export interface Goal {
  readonly of: "ratio" | "value" | "excess";
  readonly is: "at most" | "at least";
  readonly bound: number;
}

/** One scenario. */
export interface Scenario {
  readonly name: string;
  readonly title: string;
  readonly figures: readonly Figure[];
  /** Makes one pooler ready to be measured. */
  start(kind: PoolerKind, context: BenchContext): Promise<Subject>;
}

/** What is measured, as often as there are rounds, in turn with the other poolers. */
export interface Subject extends AsyncDisposable {
  measure(): Promise<Measurement>;
}

/** How one pooler is measured again and again. */
export interface KeptMeasuring {
  /** Before the first time; what it gives to `stack` lasts as long as the pooler. */
  prepare(pooler: RunningPooler, stack: AsyncDisposableStack): Promise<void>;
  measure(pooler: RunningPooler): Promise<Measurement>;
}

/**
 * One pooler for all rounds. It is compiled once, and the others' measurements are but seconds away:
 * the machine's speed drifts from minute to minute.
 */
export async function keptPooler(
  kind: PoolerKind,
  settings: PoolerSettings,
  { measure, prepare }: KeptMeasuring,
): Promise<Subject> {
  await using stack = new AsyncDisposableStack();
  const pooler = stack.use(await startPooler(kind, settings));
  await prepare(pooler, stack);
  const held = stack.move();
  return {
    measure: () => measure(pooler),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

/** A pooler of its own for each round, for what one does only once: start, or grow. */
export function poolerEachTime(measure: () => Promise<Measurement>): Promise<Subject> {
  return Promise.resolve({ measure, [Symbol.asyncDispose]: () => Promise.resolve() });
}
