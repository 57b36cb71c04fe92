/**
 * Random operations on a pool, with every invariant checked after each. `fast-check` shrinks a
 * failing run to the few operations that matter and prints the seed.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { anyRules, anyStep, RandomWorld } from "./random_world.ts";

/** Few are told in a turn, so that much may happen before all are. */
const anyTurn = fc.record({ maxATurn: fc.integer({ min: 1, max: 3 }) });

Deno.test("Pool keeps its promises under any sequence of operations", () => {
  const steps = fc.array(anyStep, { minLength: 1, maxLength: 60, size: "max" });
  fc.assert(
    fc.property(anyRules, fc.boolean(), anyTurn, steps, (given, hasCheckQuery, turn, sequence) => {
      const world = new RandomWorld(given, hasCheckQuery, turn);
      for (const one of sequence) {
        world.perform(one);
        world.check();
      }
      world.bringToRest();
    }),
    { numRuns: 300 },
  );
});

Deno.test("Pool.close() answers everybody and leaves nothing, after any sequence of operations", () => {
  const steps = fc.array(anyStep, { maxLength: 30, size: "max" });
  fc.assert(
    fc.property(anyRules, fc.boolean(), anyTurn, steps, (given, hasCheckQuery, turn, sequence) => {
      const world = new RandomWorld(given, hasCheckQuery, turn);
      for (const one of sequence) world.perform(one);
      world.pool.close("pooler is shutting down", "pooler is shutting down");
      world.check();
      assert.deepEqual(world.counts(), {}, "every server is closed");
      assert.ok(world.queue.every(({ isUntold }) => isUntold), "nobody is to be served");
      world.clock.advance(100);
      assert.equal(world.queue.length, 0, "everybody is answered");
      const openedCount = world.servers.length;
      world.perform({ operation: "ask", choice: 0, habit: "keep" });
      world.clock.advance(60_000);
      world.pool.maintain(true);
      assert.equal(world.servers.length, openedCount, "nothing is opened any more");
      assert.equal(world.clients.at(-1)!.outcome, "turned away");
    }),
    { numRuns: 100 },
  );
});
