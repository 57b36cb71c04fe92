import assert from "node:assert/strict";
import { InTurns } from "../../../src/base/in_turns.ts";

/** Three things a turn, and turns that come when the test says so. */
class Bench {
  readonly done: string[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly turns = new InTurns({ maxActions: 3, atNext: (then) => this.#waiting.push(then) });

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** Does each thing of a text. */
  each(text: string, onDone?: () => void): void {
    this.turns.each([...text], (each) => this.done.push(each), onDone);
  }

  /** The others have had their turn. Returns what was done since. */
  turn(): string {
    const before = this.done.length;
    for (const then of this.#waiting.splice(0)) then();
    return this.done.slice(before).join("");
  }
}

Deno.test("InTurns does at once what is little, and sets no turn", () => {
  const bench = new Bench();
  bench.each("ab");
  bench.each("c");
  assert.equal(bench.done.join(""), "abc");
  assert.equal(bench.waitingCount, 0);
});

Deno.test("InTurns does the first of much at once, and the rest in turns", () => {
  const bench = new Bench();
  bench.each("abcdefgh");
  assert.equal(bench.done.join(""), "abc");
  assert.deepEqual([bench.turn(), bench.turn(), bench.turn()], ["def", "gh", ""]);
  assert.equal(bench.waitingCount, 0);
});

Deno.test("what is added while there is more to do has its turn behind that, in the same turns", () => {
  const bench = new Bench();
  bench.each("abcd");
  bench.each("ef");
  assert.equal(bench.done.join(""), "abc");
  assert.equal(bench.waitingCount, 1);
  assert.deepEqual([bench.turn(), bench.turn()], ["def", ""]);
});

Deno.test("what is added by what is done has its turn behind it", () => {
  const bench = new Bench();
  bench.turns.each(["a", "b"], (each) => {
    bench.done.push(each);
    bench.each(each.toUpperCase());
  });
  assert.equal(bench.done.join(""), "abA");
  assert.equal(bench.turn(), "B");
});

Deno.test("InTurns.add() goes by what is left of each batch when it comes to it", () => {
  const bench = new Bench();
  const rest = ["d", "e", "f"];
  bench.each("abcd");
  bench.turns.add({
    get size() {
      return rest.length;
    },
    next: () => bench.done.push(rest.shift()!),
  });
  rest.splice(0, 2);
  assert.equal(bench.turn(), "df");
  bench.each("ghi");
  assert.equal(bench.turn(), "");
});

Deno.test("who waits for the end of something is told with the last of it, or at once", async () => {
  const bench = new Bench();
  const ends: string[] = [];
  bench.each("abcd", () => ends.push(bench.done.join("")));
  bench.each("", () => ends.push("nothing to do"));
  assert.deepEqual(ends, ["nothing to do"]);
  bench.turn();
  assert.deepEqual(ends, ["nothing to do", "abcd"]);
  const whenDone = bench.turns.whenEach([..."efgh"], (each) => bench.done.push(each));
  bench.turn();
  await whenDone;
  assert.equal(bench.done.join(""), "abcdefgh");
});

Deno.test("what comes behind something that fails is done all the same", () => {
  const bench = new Bench();
  let isOver = false;
  const act = (each: string) => {
    if (each === "b" || each === "e") throw new Error(each);
    bench.done.push(each);
  };
  assert.throws(() => bench.turns.each([..."abcde"], act, () => isOver = true), { message: "b" });
  bench.each("fg");
  assert.throws(() => bench.turn(), { message: "e" });
  assert.ok(isOver);
  assert.equal(bench.turn(), "fg");
  assert.equal(bench.done.join(""), "acdfg");
});
