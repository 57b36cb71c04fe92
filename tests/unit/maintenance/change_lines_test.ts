import assert from "node:assert/strict";
import { changeLines } from "../../../src/maintenance/change_lines.ts";
import type { ReloadChange } from "../../../src/maintenance/reload_plan.ts";

function change(kind: ReloadChange["kind"], more: Partial<ReloadChange> = {}): ReloadChange {
  return { kind, name: "app", before: "a", after: "b", effect: "at once", ...more };
}

Deno.test("changeLines() has of settings the values, of all else the names, and what it means", () => {
  assert.deepEqual(
    changeLines([
      change("setting", { name: "query_timeout", before: "0", after: "7" }),
      change("setting", { name: "logfile", before: "", after: undefined }),
      change("database", { before: undefined }),
      change("database", { effect: "servers are recycled" }),
      change("user", { after: undefined }),
      change("server"),
      change("auth_file", { before: undefined }),
      change("rules", { name: "auth_hba_file" }),
      change("tls_file", { name: "server_tls_ca_file", effect: "servers are recycled" }),
    ]),
    [
      "query_timeout changed: 0 -> 7",
      'logfile changed: "" -> (none)',
      'database "app" added',
      'database "app" changed (servers are recycled)',
      'user "app" removed',
      'server "app" changed',
      'user "app" of auth_file added',
      "content of auth_hba_file changed",
      "content of server_tls_ca_file changed (servers are recycled)",
    ],
  );
});

Deno.test("changeLines() leaves out what needs a restart, of which a warning tells", () => {
  assert.deepEqual(changeLines([change("setting", { effect: "needs a restart" })]), []);
});

Deno.test("changeLines() is bounded, in lines and in their length", () => {
  const many = (count: number) => changeLines(Array(count).fill(change("auth_file")));
  assert.equal(many(50).length, 50);
  assert.deepEqual(many(51).slice(50), ["and 1 more change"]);
  assert.deepEqual(many(9_999).slice(50), ["and 9949 more changes"]);
  const long = "x".repeat(1_000);
  for (const kind of ["setting", "database", "auth_file"] as const) {
    const [line] = changeLines([change(kind, { name: long.slice(0, 400), before: long })]);
    assert.ok(line!.length < 600, kind);
  }
});
