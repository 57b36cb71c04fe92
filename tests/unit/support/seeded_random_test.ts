import assert from "node:assert/strict";
import { SeededRandom } from "../../support/seeded_random.ts";

Deno.test("SeededRandom gives the same numbers for the same seed, others for another", () => {
  const draw = (seed: number) => {
    const random = new SeededRandom(seed);
    return Array.from({ length: 20 }, () => random.uint32());
  };
  assert.deepEqual(draw(1), draw(1));
  assert.notDeepEqual(draw(1), draw(2));
  assert.notDeepEqual(draw(1), draw(1 + 2 ** 32));
  assert.notDeepEqual(draw(1), draw(-1));
});

Deno.test("SeededRandom.below() reaches every number and none beyond", () => {
  const random = new SeededRandom(7);
  const counts = new Array<number>(6).fill(0);
  for (let i = 0; i < 6_000; i++) counts[random.below(6)]! += 1;
  assert.equal(counts.length, 6);
  for (const count of counts) assert.ok(count > 850 && count < 1_150, `${counts}`);
  assert.equal(random.below(1), 0);
  assert.throws(() => random.below(0), RangeError);
});

Deno.test("SeededRandom.between(), pick(), chance() and shuffled() keep to what they were given", () => {
  const random = new SeededRandom(8);
  const seen = new Set<number>();
  for (let i = 0; i < 200; i++) seen.add(random.between(3, 5));
  assert.deepEqual([...seen].sort(), [3, 4, 5]);
  assert.equal(random.pick(["only"]), "only");
  assert.throws(() => random.pick([]), RangeError);
  assert.equal(random.chance(0), false);
  assert.equal(random.chance(1), true);
  const list = [1, 2, 3, 4, 5];
  assert.deepEqual(random.shuffled(list).sort(), list);
});

Deno.test("SeededRandom.bytes() gives the count asked for, of all values", () => {
  const bytes = new SeededRandom(9).bytes(10_000);
  assert.equal(bytes.length, 10_000);
  assert.equal(new Set(bytes).size, 256);
});

Deno.test("SeededRandom.fork() draws without moving its origin further", () => {
  const one = new SeededRandom(3);
  const two = new SeededRandom(3);
  one.fork().bytes(100);
  two.fork();
  assert.equal(one.uint32(), two.uint32());
});
