/** What is planned of a client's answers. */

import assert from "node:assert/strict";
import { AnswerPlan } from "../../../src/link/answer_plan.ts";

function cleared(segment: number, index: number) {
  return { segment, index, kind: "cleared" } as const;
}

Deno.test("an answer is taken at its place and nowhere else", () => {
  const plan = new AnswerPlan();
  plan.add(cleared(0, 2));
  plan.add(cleared(1, 0));
  assert.equal(plan.take(0, 0), undefined);
  assert.equal(plan.take(1, 0), undefined);
  assert.deepEqual(plan.take(0, 2), cleared(0, 2));
  assert.deepEqual(plan.take(1, 0), cleared(1, 0));
  assert.ok(plan.isEmpty);
});

Deno.test("the end of a segment takes what is left of it, and of those before", () => {
  const plan = new AnswerPlan();
  for (const segment of [0, 1, 1, 2]) plan.add(cleared(segment, 0));
  assert.equal(plan.takeSegment(1).length, 3);
  assert.equal(plan.takeSegment(1).length, 0);
  assert.deepEqual(plan.take(2, 0), cleared(2, 0));
});

Deno.test("who always has answers to come does not keep those that have come", () => {
  const plan = new AnswerPlan();
  plan.add(cleared(0, 0));
  for (let i = 1; i < 100_000; i++) {
    plan.add(cleared(0, i));
    assert.equal(plan.take(0, i - 1)?.index, i - 1);
  }
  assert.ok(plan.heldCount < 1_000, `${plan.heldCount} are held`);
});
