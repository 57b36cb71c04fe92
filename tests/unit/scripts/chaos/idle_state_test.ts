/** What counts as the same idle state. */

import assert from "node:assert/strict";
import { countServers, idleFaults, type IdleState } from "../../../../scripts/chaos/idle_state.ts";

const BEFORE: IdleState = {
  freeServers: { "a/b": 5 },
  busyServers: 0,
  clients: 0,
  descriptors: 30,
  memoryBytes: 100 * 2 ** 20,
};

Deno.test("countServers() counts idle and used servers by pool, and all others together", () => {
  const rows = [
    { database: "a", user: "b", state: "idle" },
    { database: "a", user: "b", state: "used" },
    { database: "a", user: "c", state: "active" },
  ];
  assert.deepEqual(countServers(rows), { busyServers: 1, freeServers: { "a/b": 2 } });
});

Deno.test("idleFaults() takes a tenth more memory, or less, for the same", () => {
  assert.deepEqual(idleFaults(BEFORE, { ...BEFORE, memoryBytes: 109 * 2 ** 20 }), []);
  assert.deepEqual(idleFaults(BEFORE, { ...BEFORE, memoryBytes: 50 * 2 ** 20 }), []);
  const [fault] = idleFaults(BEFORE, { ...BEFORE, memoryBytes: 111 * 2 ** 20 });
  assert.equal(fault, "memory: 100.0 MB before, 111.0 MB after");
});

Deno.test("idleFaults() takes fewer descriptors for the same", () => {
  assert.deepEqual(idleFaults(BEFORE, { ...BEFORE, descriptors: 29 }), []);
});

Deno.test("idleFaults() names servers, clients and descriptors that are not as before", () => {
  const after = { freeServers: { "a/b": 4 }, busyServers: 1, clients: 2, descriptors: 31 };
  assert.deepEqual(idleFaults(BEFORE, { ...BEFORE, ...after }), [
    'free servers: {"a/b":5} before, {"a/b":4} after',
    "servers not free: 0 before, 1 after",
    "clients: 0 before, 2 after",
    "descriptors: 30 before, 31 after",
  ]);
});
