import assert from "node:assert/strict";
import { mayOpenServer, mayOpenSpareServer } from "../../../src/pool/pool_limits.ts";

const SIZES = {
  poolSize: 2,
  minPoolSize: 0,
  reservePoolSize: 1,
  reservePoolTimeoutMs: 5_000,
} as const;

const SITUATION = { serverCount: 0, loginCount: 0, waitingCount: 1, oldestWaitMs: 0 } as const;

Deno.test("mayOpenServer() opens up to pool_size for those who wait", () => {
  assert.equal(mayOpenServer(SIZES, SITUATION), true);
  assert.equal(mayOpenServer(SIZES, { ...SITUATION, serverCount: 1 }), true);
  assert.equal(mayOpenServer(SIZES, { ...SITUATION, serverCount: 2 }), false);
});

Deno.test("mayOpenServer() opens nothing when nobody waits", () => {
  assert.equal(mayOpenServer(SIZES, { ...SITUATION, waitingCount: 0 }), false);
});

Deno.test("mayOpenServer() opens nothing while a server logs in", () => {
  assert.equal(mayOpenServer(SIZES, { ...SITUATION, serverCount: 1, loginCount: 1 }), false);
});

Deno.test("mayOpenServer() opens the reserve from reserve_pool_timeout on, up to its size", () => {
  const full = { ...SITUATION, serverCount: 2 };
  assert.equal(mayOpenServer(SIZES, { ...full, oldestWaitMs: 4_999 }), false);
  assert.equal(mayOpenServer(SIZES, { ...full, oldestWaitMs: 5_000 }), true);
  assert.equal(mayOpenServer(SIZES, { ...full, serverCount: 3, oldestWaitMs: 9_000 }), false);
});

Deno.test("mayOpenServer() never opens the reserve when reserve_pool_timeout is 0", () => {
  const sizes = { ...SIZES, reservePoolTimeoutMs: 0 };
  assert.equal(mayOpenServer(sizes, { ...SITUATION, serverCount: 2, oldestWaitMs: 1e9 }), false);
});

Deno.test("mayOpenSpareServer() opens up to min_pool_size, and never beyond pool_size", () => {
  const idle = { ...SITUATION, waitingCount: 0 };
  assert.equal(mayOpenSpareServer(SIZES, idle), false);
  assert.equal(mayOpenSpareServer({ ...SIZES, minPoolSize: 1 }, idle), true);
  assert.equal(
    mayOpenSpareServer({ ...SIZES, minPoolSize: 1 }, { ...idle, serverCount: 1 }),
    false,
  );
  assert.equal(mayOpenSpareServer({ ...SIZES, minPoolSize: 9 }, { ...idle, serverCount: 1 }), true);
  assert.equal(
    mayOpenSpareServer({ ...SIZES, minPoolSize: 9 }, { ...idle, serverCount: 2 }),
    false,
  );
});

Deno.test("mayOpenSpareServer() opens nothing while a server logs in", () => {
  const sizes = { ...SIZES, minPoolSize: 2 };
  const now = { ...SITUATION, waitingCount: 0, serverCount: 1, loginCount: 1 };
  assert.equal(mayOpenSpareServer(sizes, now), false);
});
