/**
 * Runs the simulation: `deno task sim --seed=7` one run with its transcript, `--runs=1000` so many
 * from the seed on (from 1 unless given). Stops at the first failure, with what to look into.
 */

import { parseArgs } from "@std/flags";
import { SimFailure, simulate } from "../tests/simulation/simulation.ts";

function wholeNumber(name: string, text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new RangeError(`--${name}: expected a whole number, found "${text}"`);
}

async function main(): Promise<number> {
  const args = parseArgs(Deno.args, { string: ["seed", "runs"] });
  const seed = wholeNumber("seed", args.seed, 1);
  const runs = wholeNumber("runs", args.runs, args.seed === undefined ? 50 : 1);
  const trace = runs === 1 ? (line: string) => console.log(line) : undefined;
  let steps = 0;
  let answers = 0;
  for (let each = seed; each < seed + runs; each++) {
    try {
      const result = await simulate(each, trace);
      steps += result.stepCount;
      answers += result.readyCount;
    } catch (error) {
      if (!(error instanceof SimFailure)) throw error;
      console.error(error.message);
      return 1;
    }
  }
  console.log(`${runs} runs from seed ${seed}: ${steps} steps, ${answers} answers, no fault`);
  return 0;
}

if (import.meta.main) Deno.exit(await main());
