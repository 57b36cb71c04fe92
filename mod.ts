/**
 * Sluice, a PostgreSQL connection pooler.
 *
 * Run as a program it does what its command line says. Imported, it gives a `Pooler` to run inside
 * another program or a test.
 *
 * @module
 */

import { runProcess } from "./src/app/process.ts";

export { Pooler, type PoolerOptions, type ShutdownMode } from "./src/app/pooler.ts";

if (import.meta.main) Deno.exit(await runProcess(Deno.args));
