/**
 * Measures a failover: what fails of the transactions of many clients, and how long it takes.
 * `deno task failover`; see USAGE. The figures of docs/hosts.md are from here.
 */

import { parseArgs } from "node:util";
import { positive, runScript } from "./command_line.ts";
import { type FailoverPlan, type FailoverResult, runFailover } from "./failover_run.ts";

const USAGE = `Usage: deno task failover [options]

  --clients=N           clients that write without a pause (50)
  --pool-size=N         servers that they share (10)
  --promote-after=SECS  from the end of the primary to the promotion (3)
  --seconds=SECS        how long they write before, and after (2)`;

function report(result: FailoverResult): string {
  const ms = (value: number) => `${(value / 1000).toFixed(2)} s`;
  const byText = new Map<string, number>();
  for (const text of result.errors) byText.set(text, (byText.get(text) ?? 0) + 1);
  return [
    `transactions            ${result.before} before, ${result.after} after`,
    `failed                  ${result.errors.length}`,
    ...[...byText].map(([text, count]) => `                        ${count} ${text}`),
    `never cut off           ${result.kept} clients`,
    `promoted after          ${ms(result.promotedMs)}`,
    `first written after     ${ms(result.firstMs)}`,
    `all have written after  ${ms(result.allMs)}`,
    `longest transaction     ${ms(result.longestMs)}`,
  ].join("\n");
}

/** Reads the command line. @throws {OptionError} If it cannot be understood. */
function readPlan(args: readonly string[]): FailoverPlan {
  const { values } = parseArgs({
    args: [...args],
    options: {
      clients: { type: "string", default: "50" },
      "pool-size": { type: "string", default: "10" },
      "promote-after": { type: "string", default: "3" },
      seconds: { type: "string", default: "2" },
    },
  });
  return {
    clients: positive("clients", values.clients),
    poolSize: positive("pool-size", values["pool-size"]),
    promoteAfterMs: positive("promote-after", values["promote-after"]) * 1_000,
    aroundMs: positive("seconds", values.seconds) * 1_000,
  };
}

async function main(): Promise<number> {
  console.log(report(await runFailover(readPlan(Deno.args))));
  return 0;
}

if (import.meta.main) Deno.exit(await runScript(USAGE, main));
