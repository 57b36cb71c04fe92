/**
 * Sluice as a child process of an integration test: `await using sluice = await startSluice({ config })`.
 * The same code starts it for the demo and the benchmark, so it is in `scripts/`.
 */

export { runSluice, SluiceProcess, startSluice } from "../../scripts/sluice_process.ts";
export type { SluiceOptions, SluiceResult } from "../../scripts/sluice_process.ts";
