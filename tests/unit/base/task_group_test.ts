import assert from "node:assert/strict";
import { Deferred } from "../../../src/base/deferred.ts";
import { TaskGroup } from "../../../src/base/task_group.ts";
import { eventTurn } from "../../support/event_turn.ts";

function unexpected(error: unknown): void {
  assert.fail(`A task failed: ${String(error)}`);
}

Deno.test("TaskGroup.whenIdle() waits for all tasks, also those started meanwhile", async () => {
  const group = new TaskGroup(unexpected);
  const [first, second] = [new Deferred<void>(), new Deferred<void>()];
  const ended: string[] = [];
  group.spawn(async () => {
    await first.promise;
    group.spawn(async () => {
      await second.promise;
      ended.push("second");
    });
    ended.push("first");
  });
  let isIdle = false;
  const idle = group.whenIdle().then(() => isIdle = true);
  first.resolve();
  await eventTurn();
  assert.equal(isIdle, false);
  assert.equal(group.size, 1);
  second.resolve();
  await idle;
  assert.deepEqual(ended, ["first", "second"]);
  assert.equal(group.size, 0);
});

Deno.test("TaskGroup.whenIdle() resolves at once when nothing runs", async () => {
  await new TaskGroup(unexpected).whenIdle();
});

Deno.test("a failed task is told once, and the others go on", async () => {
  const errors: unknown[] = [];
  const group = new TaskGroup((error) => errors.push(error));
  const gate = new Deferred<void>();
  const failure = new Error("broken");
  let hasEnded = false;
  group.spawn(async () => {
    await gate.promise;
    hasEnded = true;
  });
  group.spawn(() => Promise.reject(failure));
  await eventTurn();
  assert.deepEqual(errors, [failure]);
  assert.equal(group.signal.aborted, false);
  assert.equal(group.size, 1);
  gate.resolve();
  await group.whenIdle();
  assert.equal(hasEnded, true);
  assert.equal(errors.length, 1);
});

Deno.test("leaving a TaskGroup aborts its tasks and waits until they have ended", async () => {
  const steps: string[] = [];
  {
    await using group = new TaskGroup(unexpected);
    group.spawn(async (signal) => {
      const aborted = new Deferred<void>();
      signal.addEventListener("abort", () => aborted.resolve(), { once: true });
      await aborted.promise;
      await eventTurn();
      steps.push("task ended");
    });
    steps.push("block left");
  }
  steps.push("group ended");
  assert.deepEqual(steps, ["block left", "task ended", "group ended"]);
});

Deno.test("a task started after the end sees its signal aborted", async () => {
  const group = new TaskGroup(unexpected);
  await group[Symbol.asyncDispose]();
  let wasAborted: boolean | undefined;
  group.spawn((signal) => {
    wasAborted = signal.aborted;
    return Promise.resolve();
  });
  await group.whenIdle();
  assert.equal(wasAborted, true);
});
