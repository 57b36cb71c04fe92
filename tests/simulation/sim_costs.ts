/**
 * Which steps of a run held the thread for longest. A step is one event with all that follows from it
 * at once, as a turn of the event loop is. Real time, so it is measured more than once: what the
 * collector or another process took differs from time to time, what we do ourselves does not.
 */

/** One step. */
export interface StepCost {
  readonly step: number;
  /** What happened, as the scheduler calls it. */
  readonly what: string;
  readonly ms: number;
}

/** Steps that are remembered of a run. */
const REMEMBERED = 5;

/** The costs of one run. */
export class StepCosts {
  readonly #longest: StepCost[] = [];

  /** The longest ones, the longest first. */
  get longest(): readonly StepCost[] {
    return this.#longest;
  }

  /** Notes a step. */
  note(cost: StepCost): void {
    const longest = this.#longest;
    if (longest.length === REMEMBERED && longest.at(-1)!.ms >= cost.ms) return;
    longest.push(cost);
    longest.sort((a, b) => b.ms - a.ms);
    longest.splice(REMEMBERED);
  }
}
