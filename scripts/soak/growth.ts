/**
 * Whether a series of samples grows. Pure.
 *
 * The second half counts: in the first one code is compiled, pools fill and the heap finds its size. In
 * it the lowest value of each of some windows is taken, since garbage is collected when it suits the
 * runtime: what leaks is what is left at the bottom of the teeth. The line through these is Theil and
 * Sen's, the median of the slopes between all pairs, which a few outliers do not move. The series grows
 * if that line rises by more than the tolerance, and if nearly all pairs agree that it rises. So teeth should be no longer than a fifth
 * of the half that counts: a run of one long tooth looks like a leak, and only a longer run can tell.
 */

import { median } from "../percentiles.ts";

/** One sample. */
export interface Sample {
  readonly atMs: number;
  readonly value: number;
}

/** How much a series may rise over its second half. */
export interface Tolerance {
  /** As a share of where the second half begins. */
  readonly share: number;
  /** In the series' own unit, whatever the share comes to. */
  readonly least: number;
}

/** What was found. */
export interface Growth {
  readonly isGrowing: boolean;
  /** How much the line rises over the second half. */
  readonly rise: number;
  /** What it may rise by. */
  readonly allowed: number;
  /** Where the line begins, and where it ends. */
  readonly line: readonly [Sample, Sample];
}

/** Windows that the second half is cut into. */
const WINDOWS = 6;

/** Share of the pairs that have to rise; of mere noise half of them do. */
const AGREEING_SHARE = 0.8;

/** Samples without which nothing can be said. */
const LEAST_SAMPLES = 5 * WINDOWS;

/**
 * Judges a series.
 * @throws {Error} If it is too short to say anything.
 */
export function judgeGrowth(samples: readonly Sample[], tolerance: Tolerance): Growth {
  const second = samples.slice(Math.floor(samples.length / 2));
  if (second.length < LEAST_SAMPLES) {
    throw new Error(
      `Cannot judge growth: ${second.length} samples in the second half, ${LEAST_SAMPLES} are needed`,
    );
  }
  const bottoms = windowBottoms(second);
  const slopes = pairSlopes(bottoms);
  const slope = median(slopes);
  const base = median(bottoms.map(({ atMs, value }) => value - slope * atMs));
  const [fromMs, toMs] = [second[0]?.atMs ?? 0, second.at(-1)?.atMs ?? 0];
  const at = (atMs: number): Sample => ({ atMs, value: base + slope * atMs });
  const line = [at(fromMs), at(toMs)] as const;
  const rise = line[1].value - line[0].value;
  const allowed = Math.max(tolerance.least, Math.abs(line[0].value) * tolerance.share);
  const agreeing = slopes.filter((each) => each > 0).length / slopes.length;
  return { isGrowing: rise > allowed && agreeing >= AGREEING_SHARE, rise, allowed, line };
}

/** The lowest sample of each window. */
function windowBottoms(samples: readonly Sample[]): Sample[] {
  return Array.from({ length: WINDOWS }, (_, i) => {
    const from = Math.floor(i * samples.length / WINDOWS);
    const to = Math.floor((i + 1) * samples.length / WINDOWS);
    return samples.slice(from, to).reduce((low, each) => each.value < low.value ? each : low);
  });
}

function pairSlopes(samples: readonly Sample[]): number[] {
  return samples.flatMap((one, i) =>
    samples.slice(i + 1).map((other) => (other.value - one.value) / (other.atMs - one.atMs))
  );
}
