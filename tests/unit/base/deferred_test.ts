import assert from "node:assert/strict";
import { Deferred } from "../../../src/base/deferred.ts";

Deno.test("Deferred resolves with the first value; later calls do nothing", async () => {
  const deferred = new Deferred<number>();
  deferred.resolve(1);
  deferred.resolve(2);
  deferred.reject(new Error("late"));
  assert.equal(await deferred.promise, 1);
});

Deno.test("Deferred rejects with the error it is given", async () => {
  const deferred = new Deferred<number>();
  const error = new Error("lost");
  deferred.reject(error);
  await assert.rejects(deferred.promise, error);
});

Deno.test("Deferred's functions may be handed on without their object", async () => {
  const { promise, resolve } = new Deferred<string>();
  resolve("done");
  assert.equal(await promise, "done");
});
