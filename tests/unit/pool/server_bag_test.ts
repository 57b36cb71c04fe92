import assert from "node:assert/strict";
import fc from "fast-check";
import { AssertionError } from "../../../src/base/assert.ts";
import { type Placed, ServerBag } from "../../../src/pool/server_bag.ts";

/** What can stand in a bag. */
class Item implements Placed {
  place = 0;

  constructor(readonly name: string) {}
}

function bagOf(...items: Item[]): ServerBag<Item> {
  const bag = new ServerBag<Item>();
  for (const item of items) bag.add(item);
  return bag;
}

/** Names in any order. */
function names(bag: ServerBag<Item>): string[] {
  return [...bag].map(({ name }) => name).sort();
}

Deno.test("ServerBag is empty at first, and when all have left", () => {
  const item = new Item("a");
  const bag = bagOf();
  assert.deepEqual([bag.size, [...bag]], [0, []]);
  bag.add(item);
  assert.deepEqual([bag.size, [...bag]], [1, [item]]);
  bag.delete(item);
  assert.deepEqual([bag.size, [...bag]], [0, []]);
});

Deno.test("ServerBag.delete() takes out the one that is meant, wherever it stands", () => {
  for (const at of [0, 1, 2]) {
    const items = ["a", "b", "c"].map((name) => new Item(name));
    const bag = bagOf(...items);
    bag.delete(items[at]!);
    assert.deepEqual(names(bag), ["a", "b", "c"].filter((_, i) => i !== at));
    assert.equal(bag.size, 2);
  }
});

Deno.test("ServerBag.delete() asserts that the server is in", () => {
  const [inside, outside] = [new Item("inside"), new Item("outside")];
  // The place of one that was never in is that of another.
  const bag = bagOf(inside);
  assert.throws(() => bag.delete(outside), AssertionError);
  bag.delete(inside);
  assert.throws(() => bag.delete(inside), AssertionError);
  assert.equal(bag.size, 0);
});

Deno.test("ServerBag.delete() asserts that a server is not looked for in another's bag", () => {
  const [a, b] = [new Item("a"), new Item("b")];
  const [first, second] = [bagOf(a), bagOf(b)];
  assert.throws(() => first.delete(b), AssertionError);
  assert.deepEqual([names(first), names(second)], [["a"], ["b"]]);
});

Deno.test("ServerBag takes a server that has left another bag", () => {
  const items = ["a", "b", "c"].map((name) => new Item(name));
  const [from, to] = [bagOf(...items), bagOf(new Item("d"))];
  from.delete(items[0]!);
  to.add(items[0]!);
  assert.deepEqual([names(from), names(to)], [["b", "c"], ["a", "d"]]);
  to.delete(items[0]!);
  assert.deepEqual(names(to), ["d"]);
});

Deno.test("ServerBag holds what a set would, whatever comes and goes between two bags", () => {
  const steps = fc.array(fc.tuple(fc.nat(9), fc.constantFrom(0, 1, undefined)), { maxLength: 60 });
  fc.assert(fc.property(steps, (moves) => {
    const items = Array.from({ length: 10 }, (_, i) => new Item(String(i)));
    const bags = [bagOf(), bagOf()];
    const sets = [new Set<Item>(), new Set<Item>()];
    for (const [at, target] of moves) {
      const item = items[at]!;
      const source = sets.findIndex((set) => set.has(item));
      if (source >= 0) {
        bags[source]!.delete(item);
        sets[source]!.delete(item);
      }
      if (target !== undefined) {
        bags[target]!.add(item);
        sets[target]!.add(item);
      }
      for (const [i, set] of sets.entries()) {
        assert.equal(bags[i]!.size, set.size);
        assert.deepEqual(new Set(bags[i]), set);
        assert.equal([...bags[i]!].every((each, place) => each.place === place), true);
      }
    }
  }));
});
