import assert from "node:assert/strict";
import { NEXT_SERVER_STATES, type ServerStateKind } from "../../../src/server/server_state.ts";

const KINDS: readonly ServerStateKind[] = [
  ...[
    "login",
    "idle",
    "used",
    "tested",
    "active",
    "being_canceled",
    "recovering",
    "closed",
  ] as const,
];

/** Every change that is allowed, and why there is no other. */
const ALLOWED: readonly (readonly [ServerStateKind, ServerStateKind])[] = [
  ["login", "idle"],
  ["login", "closed"],
  ["idle", "active"],
  ["idle", "used"],
  ["idle", "tested"],
  ["idle", "closed"],
  ["used", "idle"],
  ["used", "tested"],
  ["used", "closed"],
  ["tested", "idle"],
  ["tested", "used"],
  ["tested", "closed"],
  ["active", "idle"],
  ["active", "used"],
  ["active", "tested"],
  ["active", "being_canceled"],
  ["active", "recovering"],
  ["active", "closed"],
  ["being_canceled", "idle"],
  ["being_canceled", "used"],
  ["being_canceled", "tested"],
  ["being_canceled", "closed"],
  ["recovering", "idle"],
  ["recovering", "used"],
  ["recovering", "tested"],
  ["recovering", "closed"],
];

Deno.test("NEXT_SERVER_STATES allows these changes and none besides", () => {
  const isAllowed = new Set(ALLOWED.map(([from, to]) => `${from} → ${to}`));
  for (const from of KINDS) {
    for (const to of KINDS) {
      const change = `${from} → ${to}`;
      assert.equal(NEXT_SERVER_STATES[from].includes(to), isAllowed.has(change), change);
    }
  }
  assert.deepEqual(Object.keys(NEXT_SERVER_STATES).toSorted(), KINDS.toSorted());
});

Deno.test("NEXT_SERVER_STATES lets every server be closed, once", () => {
  for (const from of KINDS) {
    assert.equal(NEXT_SERVER_STATES[from].includes("closed"), from !== "closed", from);
  }
});
