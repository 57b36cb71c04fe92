import assert from "node:assert/strict";
import { FailedLogins } from "../../../src/auth/failed_logins.ts";

const HOME = { address: "10.0.0.7", user: "ada" };
const AWAY = { address: "192.0.2.66", user: "ada" };

Deno.test("FailedLogins holds refusals back twice as long each time, up to ten seconds", () => {
  const failed = new FailedLogins(() => 500);
  const delays = Array.from({ length: 8 }, () => failed.refused(HOME, 1_000));
  assert.deepEqual(delays, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000]);
  for (let i = 0; i < 5_000; i++) failed.refused(HOME, 1_000);
  assert.equal(failed.refused(HOME, 1_000), 10_000);
});

Deno.test("FailedLogins holds a right password back after failures from the same address only", () => {
  const failed = new FailedLogins(() => 500);
  assert.equal(failed.accepted(AWAY, 0), 0);
  for (let i = 0; i < 3; i++) failed.refused(AWAY, 0);
  assert.equal(failed.accepted(AWAY, 0), 2_000);
  assert.equal(failed.accepted({ ...AWAY, user: "bob" }, 0), 2_000);
  assert.equal(failed.accepted(HOME, 0), 0, "the user is not kept out");
  assert.equal(failed.refused(HOME, 0), 4_000, "guesses for the user are slow from anywhere");
  assert.equal(failed.refused({ address: HOME.address, user: "bob" }, 0), 1_000);
});

Deno.test("FailedLogins tells nothing of who exists: any name counts", () => {
  const failed = new FailedLogins(() => 100);
  const delaysOf = (user: string) =>
    [1, 2, 3].map((at) => failed.refused({ address: `10.0.${user.length}.${at}`, user }, 0));
  assert.deepEqual(delaysOf("nobody"), delaysOf("ada"));
});

Deno.test("FailedLogins forgets what is ten minutes old", () => {
  const failed = new FailedLogins(() => 500);
  failed.refused(HOME, 0);
  failed.refused(HOME, 1_000);
  assert.equal(failed.accepted(HOME, 601_000), 1_000);
  assert.equal(failed.accepted(HOME, 601_001), 0);
  assert.equal(failed.refused(HOME, 601_001), 500);
  failed.refused(AWAY, 2_000_000);
  assert.equal(failed.rememberedCount, 2, "what is forgotten takes no memory");
});

Deno.test("FailedLogins knows no address where there is none, and remembers nothing when off", () => {
  let baseMs = 500;
  const failed = new FailedLogins(() => baseMs);
  const local = { address: undefined, user: "ada" };
  assert.deepEqual([failed.refused(local, 0), failed.refused(local, 0)], [500, 1_000]);
  assert.equal(failed.accepted(local, 0), 0);
  baseMs = 0;
  assert.equal(failed.refused(AWAY, 0), 0);
  assert.equal(failed.accepted(AWAY, 0), 0);
  baseMs = 500;
  assert.equal(failed.accepted(AWAY, 0), 0);
});

Deno.test("FailedLogins remembers ten thousand addresses and names, the latest of them", () => {
  const failed = new FailedLogins(() => 1);
  const steady = { address: "steady", user: "steady" };
  for (let i = 0; i < 25_000; i++) {
    failed.refused({ address: `a${i}`, user: `u${i}` }, i / 100);
    if (i % 5_000 === 0) failed.refused(steady, i / 100);
  }
  assert.equal(failed.rememberedCount, 20_000);
  assert.equal(failed.accepted({ address: "a0", user: "" }, 250), 0);
  assert.equal(failed.accepted({ address: "a24999", user: "" }, 250), 1);
  assert.equal(failed.accepted(steady, 250), 16, "whoever goes on is not forgotten");
});
