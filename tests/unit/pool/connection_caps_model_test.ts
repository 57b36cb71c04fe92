/** Random operations on several pools under the same limits, with every invariant checked after each. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { CapsWorld } from "./caps_world.ts";
import type { TestRules } from "./pool_world.ts";
import { anyRules, anyStep, RandomWorld, type Step } from "./random_world.ts";

/** Pools, and where their servers are. */
const POOLS: readonly (readonly [name: string, addressKeys: readonly string[]])[] = [
  ["app/a", ["one"]],
  ["app/b", ["one"]],
  ["other/a", ["one", "two"]],
  ["other/b", ["two", "three"]],
  ["third/a", []],
];

function openWorlds(caps: CapsWorld, rules: TestRules): RandomWorld[] {
  return POOLS.map(([name, addressKeys]) => {
    const surroundings = { ...caps.surroundings(name), addressKeys };
    return caps.adopt(new RandomWorld({ ...rules }, true, surroundings));
  });
}

/** What a pool is not told of at once: the next round of the janitor looks. */
const CALLS_NOBODY: readonly Step["operation"][] = ["advance", "resize"];

interface PlacedStep extends Step {
  readonly at: number;
}

const anyLimits = fc.record({
  "database app": fc.integer({ min: 0, max: 3 }),
  "database other": fc.integer({ min: 0, max: 2 }),
  "user a": fc.integer({ min: 0, max: 3 }),
  "server one": fc.integer({ min: 0, max: 3 }),
  "server two": fc.integer({ min: 0, max: 2 }),
});

const anySteps: fc.Arbitrary<PlacedStep[]> = fc.array(
  fc.tuple(anyStep, fc.nat(POOLS.length - 1)).map(([step, at]) => ({ ...step, at })),
  { minLength: 1, maxLength: 120, size: "max" },
);

/** Lets everything end well; whoever waits must be served in the end, in bounded time. */
function bringToRest(caps: CapsWorld, worlds: readonly RandomWorld[]): void {
  for (const world of worlds) world.calm();
  for (let round = 0; round < 600; round++) {
    caps.round();
    for (const world of worlds) world.goOn();
    caps.check();
    if (worlds.every(({ queue }) => queue.length === 0)) return;
  }
  assert.fail(`nobody serves ${worlds.map(({ queue }) => queue.join()).join("; ")}`);
}

Deno.test("limits hold and nobody is forgotten, whatever is done to the pools under them", () => {
  fc.assert(
    fc.property(anyRules, anyLimits, anySteps, (rules, limits, steps) => {
      const caps = new CapsWorld({ ...limits });
      const worlds = openWorlds(caps, rules);
      for (const step of steps) {
        worlds[step.at]!.perform(step);
        caps.check();
        if (CALLS_NOBODY.includes(step.operation)) caps.caps.look();
        else caps.checkNobodyIsForgotten();
      }
      bringToRest(caps, worlds);
    }),
    { numRuns: 300 },
  );
});

Deno.test("limits that change meanwhile hold as soon as what is busy has come free", () => {
  fc.assert(
    fc.property(anyRules, anyLimits, anyLimits, anySteps, (rules, before, after, steps) => {
      const caps = new CapsWorld({ ...before });
      const worlds = openWorlds(caps, rules);
      for (const step of steps) worlds[step.at]!.perform(step);
      Object.assign(caps.limits, after);
      caps.caps.refresh();
      for (const world of worlds) world.calm();
      // Who has a server gives it back; those that are too many go then.
      for (let round = 0; round < 60; round++) {
        caps.round();
        for (const world of worlds) world.goOn();
      }
      bringToRest(caps, worlds);
    }),
    { numRuns: 200 },
  );
});
