/** Which names a client's messages under way use. */

import assert from "node:assert/strict";
import type { Registration } from "../../../src/link/statement_book.ts";
import { StatementUses } from "../../../src/link/statement_uses.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

Deno.test("StatementUses finds what is used at a place, as long as its segment is not answered", () => {
  const random = new SeededRandom(1);
  const uses = new StatementUses();
  const model = new Map<string, Registration>();
  let [segment, index, answered] = [0, 0, 0];
  for (let i = 0; i < 20_000; i++) {
    switch (random.below(4)) {
      case 0:
        [segment, index] = [segment + 1, 0];
        break;
      case 1: {
        // Now and then all is answered.
        answered = Math.min(segment, random.below(50) === 0 ? segment : answered + 1);
        uses.endSegment(answered);
        for (const place of model.keys()) {
          if (Number(place.split(".")[0]) <= answered) model.delete(place);
        }
        if (answered === segment) [segment, index] = [segment + 1, 0];
        break;
      }
      default: {
        index += random.between(1, 3);
        const registration = { index } as Registration;
        uses.note({ segment, index }, registration);
        model.set(`${segment}.${index}`, registration);
      }
    }
    const [at, where] = [random.between(answered, segment), random.between(0, index)];
    assert.equal(uses.at(at, where), model.get(`${at}.${where}`));
  }
});

Deno.test("StatementUses has a client told by the answer with its description, and not by one that does not come", () => {
  const uses = new StatementUses();
  const registration = { toldAt: 1 } as Registration;
  const other = { toldAt: 0 } as Registration;
  uses.note({ segment: 0, index: 0 }, registration);
  uses.tellWith(1, 5);
  uses.note({ segment: 0, index: 2 }, registration);
  uses.tellWith(0, 6);
  uses.note({ segment: 0, index: 3 }, other);
  uses.endAt(0, 0);
  assert.equal(registration.toldAt, 1);
  assert.equal(uses.at(0, 0), registration, "an error of its Describe is the statement's, too");
  assert.deepEqual([uses.toldAtIn(0, registration), uses.toldAtIn(0, other)], [6, 0]);
  assert.equal(uses.toldAtIn(1, registration), 1, "behind what may be skipped");
  uses.endAt(0, 1);
  assert.equal(registration.toldAt, 5);
  uses.endSegment(0);
  assert.deepEqual([registration.toldAt, other.toldAt], [5, 0]);
  uses.note({ segment: 1, index: 0 }, registration);
  uses.endAt(1, 0);
  assert.equal(registration.toldAt, 5, "what was told is not taken from the use before");
});

Deno.test("StatementUses knows what a client is told however much is under way, and forgets it at the end", () => {
  const uses = new StatementUses();
  const registration = { toldAt: 1 } as Registration;
  const other = { toldAt: 1 } as Registration;
  for (let index = 0; index < 30_000; index++) uses.note({ segment: 0, index }, other);
  const startMs = performance.now();
  for (let index = 30_000; index < 60_000; index++) {
    assert.equal(uses.toldAtIn(0, registration), index === 30_000 ? 1 : 2);
    uses.note({ segment: 0, index }, registration);
    uses.tellWith(0, 2);
  }
  // It was more than ten times that.
  const tookMs = performance.now() - startMs;
  assert.ok(tookMs < 1_000, `${tookMs} ms`);
  uses.endSegment(0);
  assert.equal(uses.toldAtIn(0, registration), 1);
});

Deno.test("StatementUses takes no more memory than is under way, without a Sync or with any number before it", () => {
  const uses = new StatementUses();
  const registration = {} as Registration;
  for (let index = 0; index < 100_000; index++) {
    uses.note({ segment: 0, index }, registration);
    if (index >= 10) uses.endAt(0, index - 10);
  }
  assert.ok(uses.heldCount < 200, String(uses.heldCount));
  for (let index = 0; index < 300_000; index++) uses.note({ segment: 1, index }, registration);
  uses.note({ segment: 2, index: 0 }, registration);
  uses.endSegment(1);
  assert.equal(uses.at(2, 0), registration);
  uses.endSegment(2);
  assert.ok(uses.heldCount < 200, String(uses.heldCount));
});
