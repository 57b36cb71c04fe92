/** The table of settings, and SHOW CONFIG. */

import assert from "node:assert/strict";
import { propertyOf } from "../../../src/config/setting_spec.ts";
import {
  DATABASE_SETTINGS,
  PEER_SETTINGS,
  SETTINGS,
  showSettings,
  USER_SETTINGS,
} from "../../../src/config/settings.ts";
import { defaultSettings } from "../../../src/config/validate.ts";

Deno.test("SETTINGS is in the order of SHOW CONFIG", () => {
  const names = SETTINGS.map(({ name }) => name);
  const sorted = names.toSorted();
  const idle = sorted.indexOf("pool_idle_timeout");
  assert.equal(sorted[idle + 1], "pool_mode");
  sorted.splice(idle, 2, "pool_mode", "pool_idle_timeout");
  assert.deepEqual(names, sorted);
});

Deno.test("each setting has a name of its own, one sentence and a default that can be read", () => {
  for (const table of [SETTINGS, DATABASE_SETTINGS, USER_SETTINGS, PEER_SETTINGS]) {
    const names = table.flatMap(({ name, aliases }) => [name, ...(aliases ?? [])]);
    assert.equal(new Set(names).size, names.length);
    for (const { name, meaning } of table) assert.match(meaning, /^[^.].*\.$/, name);
  }
  assert.equal(Object.keys(defaultSettings()).length, SETTINGS.length);
});

Deno.test("propertyOf() gives the properties of Settings, with their units", () => {
  const settings = defaultSettings();
  for (const spec of SETTINGS) assert.ok(propertyOf(spec) in settings, spec.name);
  assert.equal(settings.serverIdleTimeoutMs, 600_000);
  assert.equal(settings.tcpUserTimeoutMs, 0);
  assert.equal(settings.pktBufBytes, 4096);
  assert.equal(settings.unixSocketMode, 0o777);
  assert.equal(settings.clientTls13Ciphers, undefined);
  assert.deepEqual(settings.trackExtraParameters, ["IntervalStyle"]);
  assert.equal(settings.serverCheckQuery, "");
  assert.equal(settings.logConnections, true);
});

Deno.test("showSettings() prints the defaults of an untouched configuration", () => {
  for (const { key, value, default: fallback } of showSettings(defaultSettings())) {
    assert.equal(value, key === "conffile" ? "config.toml" : fallback, key);
  }
});

Deno.test("showSettings() prints values in the units of the file", () => {
  const shown = showSettings(defaultSettings({
    serverLifetimeMs: 1500,
    tcpUserTimeoutMs: 250,
    pktBufBytes: 8192,
    logStats: false,
    unixSocketMode: 0o700,
    adminUsers: ["a", "b"],
    authFile: undefined,
    serverCheckQuery: undefined,
  }));
  const values = Object.fromEntries(shown.map(({ key, value }) => [key, value]));
  assert.equal(values["server_lifetime"], "1.5");
  assert.equal(values["tcp_user_timeout"], "250");
  assert.equal(values["pkt_buf"], "8192");
  assert.equal(values["log_stats"], "0");
  assert.equal(values["unix_socket_mode"], "0700");
  assert.equal(values["admin_users"], "a,b");
  assert.equal(values["auth_file"], undefined);
  assert.equal(values["server_check_query"], "");
});

Deno.test("showSettings() says which settings only a restart changes", () => {
  const fixed = showSettings(defaultSettings())
    .filter(({ changeable }) => changeable === "no").map(({ key }) => key);
  assert.deepEqual(fixed, [
    "disable_pqexec",
    "io_engine",
    "job_name",
    "listen_addr",
    "listen_backlog",
    "listen_port",
    "pidfile",
    "pkt_buf",
    "readiness_file",
    "resolv_conf",
    "so_reuseport",
    "track_extra_parameters",
    "unix_socket_dir",
    "unix_socket_group",
    "unix_socket_mode",
    "user",
  ]);
});
