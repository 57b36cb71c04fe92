import assert from "node:assert/strict";
import { pbkdf2Sync } from "node:crypto";
import { KeyDerivation } from "../../../src/auth/key_derivation.ts";

const PASSWORD = new TextEncoder().encode("pencil");
const SALT = new TextEncoder().encode("salt");

Deno.test("KeyDerivation.derive() is PBKDF2 with HMAC-SHA-256", async () => {
  const derived = await new KeyDerivation().derive(PASSWORD, { salt: SALT, iterations: 4096 });
  assert.deepEqual(Buffer.from(derived), pbkdf2Sync(PASSWORD, SALT, 4096, 32, "sha256"));
});

Deno.test("KeyDerivation.derive() runs at most maxRunning at once, the oldest first", async () => {
  const derivation = new KeyDerivation({ maxRunning: 2 });
  const done: number[] = [];
  let mostRunning = 0;
  const all = [1, 2, 3, 4, 5].map(async (id) => {
    await derivation.derive(PASSWORD, { salt: SALT, iterations: 20 });
    mostRunning = Math.max(mostRunning, derivation.runningCount);
    done.push(id);
  });
  assert.equal(derivation.runningCount, 2);
  assert.equal(derivation.waitingCount, 3);
  await Promise.all(all);
  assert.equal(mostRunning, 2);
  assert.equal(done.length, 5);
  assert.ok(done.indexOf(5) > 2, "the last to come is not among the first three");
  assert.deepEqual([derivation.runningCount, derivation.waitingCount], [0, 0]);
});

Deno.test("KeyDerivation.derive() gives its place back when a derivation fails", async () => {
  const derivation = new KeyDerivation({ maxRunning: 1 });
  const bad = derivation.derive(PASSWORD, { salt: SALT, iterations: 0 });
  const good = derivation.derive(PASSWORD, { salt: SALT, iterations: 1 });
  await assert.rejects(bad);
  assert.equal((await good).length, 32);
  assert.equal(derivation.runningCount, 0);
});
