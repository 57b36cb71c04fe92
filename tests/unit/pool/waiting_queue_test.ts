import assert from "node:assert/strict";
import fc from "fast-check";
import { AssertionError } from "../../../src/base/assert.ts";
import { WaitingPlace, WaitingQueue } from "../../../src/pool/waiting_queue.ts";

/** A moment, in milliseconds. */
function at(seenMs: number): { seenMs: number } {
  return { seenMs };
}

Deno.test("WaitingQueue gives the oldest first and says since when it waits", () => {
  const queue = new WaitingQueue<string>();
  queue.add(new WaitingPlace("a"), at(10));
  queue.add(new WaitingPlace("b"), at(20));
  assert.equal(queue.oldest?.owner, "a");
  assert.equal(queue.oldest?.sinceMs, 10);
  assert.deepEqual([queue.shift(), queue.shift(), queue.shift()], ["a", "b", undefined]);
  assert.equal(queue.oldest, undefined);
});

Deno.test("WaitingQueue.remove() takes out a place at either end and in the middle", () => {
  for (const leaver of [0, 1, 2]) {
    const queue = new WaitingQueue<number>();
    const places = [0, 1, 2].map((owner) => new WaitingPlace(owner));
    for (const place of places) queue.add(place, at(0));
    assert.equal(queue.remove(places[leaver]!), true);
    assert.equal(queue.remove(places[leaver]!), false);
    assert.equal(queue.size, 2);
    const owners = [...queue.places()].map(({ owner }) => owner);
    assert.deepEqual(owners, [0, 1, 2].filter((owner) => owner !== leaver));
  }
});

Deno.test("WaitingQueue.remove() leaves a place alone that stands in another queue", () => {
  const [one, other] = [new WaitingQueue<string>(), new WaitingQueue<string>()];
  const place = new WaitingPlace("a");
  one.add(place, at(0));
  assert.equal(other.remove(place), false);
  assert.equal(one.size, 1);
});

Deno.test("WaitingQueue.nextInMoment() walks on in one moment, and begins anew in the next", () => {
  const queue = new WaitingQueue<string>();
  assert.equal(queue.nextInMoment(at(1)), undefined);
  const places = ["a", "b", "c"].map((owner) => new WaitingPlace(owner));
  for (const place of places) queue.add(place, at(0));
  const walk = (nowMs: number, times: number) =>
    Array.from({ length: times }, () => queue.nextInMoment(at(nowMs)) ?? "-").join("");
  assert.equal(walk(1, 2), "ab");
  assert.equal(walk(2, 4), "abc-");
  assert.equal(walk(3, 2), "ab");
  queue.remove(places[1]!);
  assert.equal(walk(3, 3), "ac-", "who has left is not gone on from");
  assert.equal(queue.takeAll().nextInMoment(at(3)), "a");
  assert.equal(walk(3, 1), "-");
});

Deno.test("a place stands in one queue at a time and can be used again after it has left", () => {
  const queue = new WaitingQueue<string>();
  const place = new WaitingPlace("a");
  queue.add(place, at(1));
  assert.throws(() => queue.add(place, at(2)), AssertionError);
  queue.shift();
  queue.add(place, at(3));
  assert.equal(place.sinceMs, 3);
  assert.equal(queue.size, 1);
});

Deno.test("WaitingQueue.takeAll() leaves nobody, and those taken wait on where they are", () => {
  const queue = new WaitingQueue<string>();
  const [first, second] = [new WaitingPlace("a"), new WaitingPlace("b")];
  queue.add(first, at(10));
  queue.add(second, at(20));
  const taken = queue.takeAll();
  const late = new WaitingPlace("c");
  queue.add(late, at(30));
  assert.equal(queue.remove(first), false);
  assert.deepEqual([...queue.places()], [late]);
  assert.deepEqual([...taken.places()], [first, second]);
  assert.deepEqual([taken.size, taken.oldest?.sinceMs], [2, 10]);
  assert.equal(taken.takeAll().takeAll().size, 2);
  assert.deepEqual([taken.size, taken.oldest], [0, undefined]);
});

Deno.test("WaitingPlace.leave() leaves whichever queue it is in", () => {
  const queue = new WaitingQueue<string>();
  const place = new WaitingPlace("a");
  assert.equal(place.leave(), false);
  queue.add(place, at(0));
  const taken = queue.takeAll();
  assert.equal(place.leave(), true);
  assert.equal(place.leave(), false);
  assert.equal(taken.size, 0);
});

Deno.test("WaitingQueue.places() shows all, oldest first, and removes none", () => {
  const queue = new WaitingQueue<string>();
  for (const name of ["a", "b", "c"]) queue.add(new WaitingPlace(name), at(0));
  assert.deepEqual([...queue.places()].map((place) => place.owner), ["a", "b", "c"]);
  assert.equal(queue.size, 3);
});

Deno.test("WaitingQueue.takeOut() takes those that are meant, with their times, and leaves the others", () => {
  const queue = new WaitingQueue<number>();
  const places = [1, 2, 3, 4].map((number) => new WaitingPlace(number));
  for (const place of places) queue.add(place, at(place.owner));
  const taken = queue.takeOut(({ owner }) => owner % 2 === 0);
  assert.deepEqual([...taken.places()], [places[1], places[3]]);
  assert.deepEqual([...queue.places()], [places[0], places[2]]);
  assert.deepEqual([taken.size, queue.size, places[3]!.sinceMs], [2, 2, 4]);
  assert.equal(places[1]!.leave(), true);
  assert.equal(taken.oldest, places[3]);
});

Deno.test("WaitingQueue behaves as a plain list under any sequence of operations", () => {
  const operation = fc.tuple(fc.constantFrom("add", "shift", "remove", "take all"), fc.nat(20));
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
      let queue = new WaitingQueue<number>();
      const model: WaitingPlace<number>[] = [];
      const all: WaitingPlace<number>[] = [];
      for (const [kind, choice] of operations) {
        if (kind === "add") {
          const place = new WaitingPlace(all.length);
          all.push(place);
          model.push(place);
          queue.add(place, at(choice));
        } else if (kind === "shift") {
          assert.equal(queue.shift(), model.shift()?.owner);
        } else if (kind === "take all") {
          const taken = queue.takeAll();
          assert.equal(queue.size, 0);
          queue = taken;
        } else if (all.length > 0) {
          const place = all[choice % all.length]!;
          const at = model.indexOf(place);
          assert.equal(queue.remove(place), at >= 0);
          if (at >= 0) model.splice(at, 1);
        }
        assert.equal(queue.size, model.length);
        assert.equal(queue.oldest, model[0]);
        const owners = [...queue.places()].map((place) => place.owner);
        assert.deepEqual(owners, model.map((place) => place.owner));
      }
    }),
  );
});
