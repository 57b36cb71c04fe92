/**
 * How often something took how long: counts in buckets whose width grows with the value, so that a
 * few kilobytes tell microseconds from minutes. Pure.
 *
 * HOT PATH. Budget: `record()` finds its bucket with shifts and allocates nothing.
 */

/** Buckets for each doubling of the value: the width of a bucket is at most 1/16 of its values. */
const STEPS = 16;

/** Values below have a bucket each; `log2(STEPS)`. */
const STEP_BITS = 4;

/** Longer ones, over an hour, are all in the last bucket. */
const MAX_VALUE = 2 ** 32 - 1;

const BUCKETS = (32 - STEP_BITS + 1) * STEPS;

/** A distribution of whole microseconds. */
export class Histogram {
  readonly #counts = new Float64Array(BUCKETS);
  #count = 0;
  #max = 0;

  /** How many were recorded. */
  get count(): number {
    return this.#count;
  }

  /** The longest, exactly; 0 if there was none. */
  get maxUs(): number {
    return this.#max;
  }

  /** Adds one. */
  record(valueUs: number): void {
    this.#count += 1;
    if (valueUs > this.#max) this.#max = valueUs;
    const value = valueUs < MAX_VALUE ? valueUs : MAX_VALUE;
    const at = bucketOf(value);
    this.#counts[at] = this.#counts[at]! + 1;
  }

  /**
   * A value that `share` of all do not exceed, `share` from 0 to 1; 0 if there are none. It is the
   * greatest of its bucket: at most a sixteenth too high, never too low. Beyond an hour, where the
   * last bucket is, it is the longest of all.
   */
  percentileUs(share: number): number {
    const rank = Math.max(1, Math.ceil(share * this.#count));
    let passed = 0;
    for (let at = 0; at < BUCKETS; at++) {
      passed += this.#counts[at]!;
      if (passed >= rank) {
        return at === BUCKETS - 1 ? this.#max : Math.min(greatestOf(at), this.#max);
      }
    }
    return 0;
  }
}

function bucketOf(value: number): number {
  const whole = value >>> 0;
  if (whole < STEPS) return whole;
  const exponent = 31 - Math.clz32(whole);
  return (exponent - STEP_BITS + 1) * STEPS + (whole >>> (exponent - STEP_BITS)) - STEPS;
}

function greatestOf(bucket: number): number {
  if (bucket < STEPS) return bucket;
  const shift = Math.floor(bucket / STEPS) - 1;
  return (bucket % STEPS + STEPS + 1) * 2 ** shift - 1;
}

/** The distributions of one pool. */
export class PoolHistograms {
  /** Waiting for a server. */
  readonly wait = new Histogram();
  readonly xact = new Histogram();
  readonly query = new Histogram();
}
