import assert from "node:assert/strict";
import { TrackedParameters } from "../../../src/link/parameter_cache.ts";
import { ServerReports } from "../../../src/server/server_reports.ts";

function loggedIn(): ServerReports {
  const reports = new ServerReports(new TrackedParameters([]));
  reports.note("session_authorization", "ada", "login");
  reports.note("ext.level", "1", "login");
  return reports;
}

Deno.test("ServerReports.atLogin keeps what is reported at login, and nothing of later", () => {
  const reports = loggedIn();
  reports.note("ext.level", "2", "active");
  reports.note("TimeZone", "UTC", "idle");
  assert.deepEqual([...reports.atLogin], [["session_authorization", "ada"], ["ext.level", "1"]]);
});

for (const state of ["active", "recovering", "being_canceled"] as const) {
  Deno.test(`ServerReports.takingBack has what is reported in state ${state}, until it is undone`, () => {
    const reports = loggedIn();
    reports.note("ext.level", "2", state);
    assert.equal(reports.takingBack, "RESET ext.level");
    reports.note("session_authorization", "eve", state);
    // The other first: it may take the rights of eve.
    assert.equal(reports.takingBack, "RESET ext.level;RESET SESSION AUTHORIZATION");
    reports.note("ext.level", "1", "tested");
    assert.equal(reports.takingBack, ";RESET SESSION AUTHORIZATION");
    reports.note("session_authorization", "ada", "tested");
    assert.equal(reports.takingBack, "");
  });
}

for (const state of ["login", "idle", "used", "tested"] as const) {
  Deno.test(`ServerReports.takingBack has no parameter that is reported in state ${state}`, () => {
    const reports = loggedIn();
    reports.note("ext.level", "2", state);
    assert.equal(reports.takingBack, "");
    assert.equal(reports.parameters.get("ext.level"), "2");
  });
}

Deno.test("ServerReports.isSomebodyElse goes by the last report, whoever brought it about", () => {
  for (const state of ["active", "idle", "tested"] as const) {
    const reports = loggedIn();
    assert.equal(reports.isSomebodyElse, false);
    reports.note("session_authorization", "eve", state);
    assert.equal(reports.isSomebodyElse, true);
  }
});
