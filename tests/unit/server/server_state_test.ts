import assert from "node:assert/strict";
import { mayServerGo, type ServerStateKind } from "../../../src/server/server_state.ts";

const KINDS = Object.keys(
  {
    login: 0,
    idle: 0,
    used: 0,
    tested: 0,
    active: 0,
    being_canceled: 0,
    recovering: 0,
    closed: 0,
  } satisfies Record<ServerStateKind, 0>,
) as ServerStateKind[];

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

Deno.test("mayServerGo() allows these changes and none besides", () => {
  const isAllowed = new Set(ALLOWED.map(([from, to]) => `${from} → ${to}`));
  for (const from of KINDS) {
    for (const to of KINDS) {
      const change = `${from} → ${to}`;
      assert.equal(mayServerGo(from, to), isAllowed.has(change), change);
    }
  }
});

Deno.test("mayServerGo() lets every server be closed, once", () => {
  for (const from of KINDS) {
    assert.equal(mayServerGo(from, "closed"), from !== "closed", from);
  }
});
