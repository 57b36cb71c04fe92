/**
 * Sluice as a child process of an integration test: `await using sluice = await startSluice({ config })`.
 * The same code starts it for the demo and the benchmark, so it is in `scripts/`.
 *
 * `SLUICE_TEST_ENGINE` runs every pooler that a test starts this way on that I/O engine, unless the
 * test's own configuration names one: so the same tests hold for each.
 */

import * as scripts from "../../scripts/sluice_process.ts";
import type { SluiceOptions, SluiceProcess } from "../../scripts/sluice_process.ts";

export { runSluice, SluiceProcess } from "../../scripts/sluice_process.ts";
export type { SluiceOptions, SluiceResult } from "../../scripts/sluice_process.ts";

/** Starts Sluice, on the engine under test, and waits until it accepts connections. */
export async function startSluice(options: SluiceOptions): Promise<SluiceProcess> {
  return await scripts.startSluice({ ...options, config: onEngineUnderTest(options.config) });
}

/** The same configuration with the engine under test in it; on the section's own line or the next. */
function onEngineUnderTest(config: string): string {
  const engine = Deno.env.get("SLUICE_TEST_ENGINE");
  if (engine === undefined || /\bio_engine\b/.test(config)) return config;
  // At the end of the file, a section may be opened again in neither format: so into the first one.
  return config.replace(
    /^\[(pooler|pgbouncer)\][^\S\n]*$/m,
    (header) =>
      header === "[pooler]"
        ? `[pooler]\nio_engine = "${engine}"`
        : `${header}\nio_engine = ${engine}`,
  );
}
