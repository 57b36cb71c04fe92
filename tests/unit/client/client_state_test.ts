import assert from "node:assert/strict";
import { type ClientStateKind, NEXT_CLIENT_STATES } from "../../../src/client/client_state.ts";

const KINDS: readonly ClientStateKind[] = [
  ...["startup", "login", "idle", "waiting", "active", "closing", "closed"] as const,
];

const ALLOWED: readonly (readonly [ClientStateKind, ClientStateKind])[] = [
  ["startup", "login"],
  ["login", "idle"],
  ["idle", "active"],
  ["idle", "waiting"],
  ["waiting", "active"],
  ["waiting", "idle"],
  ["active", "idle"],
  ["startup", "closing"],
  ["login", "closing"],
  ["idle", "closing"],
  ["waiting", "closing"],
  ["active", "closing"],
  ["startup", "closed"],
  ["login", "closed"],
  ["idle", "closed"],
  ["waiting", "closed"],
  ["active", "closed"],
  ["closing", "closed"],
];

Deno.test("NEXT_CLIENT_STATES allows these changes and none besides", () => {
  const isAllowed = new Set(ALLOWED.map(([from, to]) => `${from} → ${to}`));
  for (const from of KINDS) {
    for (const to of KINDS) {
      const change = `${from} → ${to}`;
      assert.equal(NEXT_CLIENT_STATES[from].includes(to), isAllowed.has(change), change);
    }
  }
  assert.deepEqual(Object.keys(NEXT_CLIENT_STATES).toSorted(), KINDS.toSorted());
});
