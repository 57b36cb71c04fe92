import assert from "node:assert/strict";
import {
  answeredRole,
  reportedRole,
  roleProblem,
  type ServerRole,
} from "../../../src/server/server_role.ts";

const ROLES: readonly ServerRole[] = ["read_write_primary", "read_only_primary", "standby"];

/** What is wrong with a read-write primary, a read-only one, and a standby. */
const PROBLEMS = {
  "any": [undefined, undefined, undefined],
  "read-write": [undefined, "session is read-only", "session is read-only"],
  "read-only": ["session is not read-only", undefined, undefined],
  "primary": [undefined, undefined, "server is in hot standby mode"],
  "standby": ["server is not in hot standby mode", "server is not in hot standby mode", undefined],
  "prefer-standby": [
    "server is not in hot standby mode",
    "server is not in hot standby mode",
    undefined,
  ],
} as const;

for (const [attrs, problems] of Object.entries(PROBLEMS)) {
  Deno.test(`roleProblem() means by ${attrs} what libpq means`, () => {
    const found = ROLES.map((role) => roleProblem(attrs as keyof typeof PROBLEMS, role));
    assert.deepEqual(found, problems);
  });
}

Deno.test("reportedRole() needs both parameters", () => {
  const report = (...pairs: [string, string][]) => reportedRole(new Map(pairs));
  assert.equal(report(["in_hot_standby", "on"]), undefined);
  assert.equal(report(["default_transaction_read_only", "off"]), undefined);
  const both = (standby: string, readOnly: string) =>
    report(["in_hot_standby", standby], ["default_transaction_read_only", readOnly]);
  assert.deepEqual(
    [both("off", "off"), both("off", "on"), both("on", "off"), both("on", "on")],
    ["read_write_primary", "read_only_primary", "standby", "standby"],
  );
});

Deno.test("answeredRole() reads the number of rows, and nothing else", () => {
  assert.deepEqual(["SELECT 0", "SELECT 1", "SELECT 2"].map(answeredRole), ROLES);
  const others = [undefined, "", "SELECT", "SELECT 3", "SELECT 10", "SET", "INSERT 0 1"];
  for (const tag of others) assert.equal(answeredRole(tag), undefined);
});
