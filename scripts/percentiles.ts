/** Percentiles and medians of measured values, for the demo's and the benchmark's tables. */

/** The value below which the share `fraction` of the sorted values lies; NaN without values. */
export function percentile(sorted: ArrayLike<number>, fraction: number): number {
  const index = Math.ceil(sorted.length * fraction) - 1;
  return sorted[Math.max(0, Math.min(sorted.length - 1, index))] ?? NaN;
}

/** The value in the middle, or the mean of the two there. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}
