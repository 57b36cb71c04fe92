/**
 * Measures a failover: what fails of the transactions of many clients, and how long it takes.
 * `deno task failover`; see USAGE. The figures of docs/hosts.md are from here.
 */

import { parseArgs } from "@std/flags";
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

function readPlan(): FailoverPlan {
  const names = ["clients", "pool-size", "promote-after", "seconds"] as const;
  const usual = { clients: "50", "pool-size": "10", "promote-after": "3", seconds: "2" };
  const args = parseArgs(Deno.args, { string: [...names], default: usual });
  const [clients, poolSize, promoteAfter, seconds] = names.map((name) => {
    const value = Number(args[name]);
    if (Number.isInteger(value) && value > 0) return value;
    throw new TypeError(`--${name} takes a positive whole number\n\n${USAGE}`);
  });
  return {
    clients: clients!,
    poolSize: poolSize!,
    promoteAfterMs: promoteAfter! * 1_000,
    aroundMs: seconds! * 1_000,
  };
}

if (import.meta.main) console.log(report(await runFailover(readPlan())));
