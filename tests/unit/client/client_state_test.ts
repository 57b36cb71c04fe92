import assert from "node:assert/strict";
import { type ClientStateKind, mayClientGo } from "../../../src/client/client_state.ts";

const KINDS = Object.keys(
  {
    startup: 0,
    login: 0,
    idle: 0,
    waiting: 0,
    active: 0,
    closing: 0,
    closed: 0,
  } satisfies Record<ClientStateKind, 0>,
) as ClientStateKind[];

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

Deno.test("mayClientGo() allows these changes and none besides", () => {
  const isAllowed = new Set(ALLOWED.map(([from, to]) => `${from} → ${to}`));
  for (const from of KINDS) {
    for (const to of KINDS) {
      const change = `${from} → ${to}`;
      assert.equal(mayClientGo(from, to), isAllowed.has(change), change);
    }
  }
});
