import assert from "node:assert/strict";
import {
  type AdminCommand,
  parseAdminCommand,
  SHOW_THINGS,
} from "../../../src/admin/admin_parser.ts";

const COMMANDS: readonly (readonly [text: string, command: AdminCommand])[] = [
  ["", { kind: "empty" }],
  [" ;\n; ", { kind: "empty" }],
  ["/* a */ -- b", { kind: "empty" }],
  ["SHOW POOLS", { kind: "show", thing: "pools" }],
  ["show pools;", { kind: "show", thing: "pools" }],
  ["\t Show\r\n Pools ; ;", { kind: "show", thing: "pools" }],
  ["SELECT version", { kind: "show", thing: "version" }],
  ["/* from a tool */ SHOW/**/STATS; -- done", { kind: "show", thing: "stats" }],
  ["-- first\nSHOW HELP", { kind: "show", thing: "help" }],
  ["SHOW TimeZone", { kind: "show_parameter", name: "timezone" }],
  ["select client_encoding;", { kind: "show_parameter", name: "client_encoding" }],
  [
    "SHOW default_transaction_isolation",
    { kind: "show_parameter", name: "default_transaction_isolation" },
  ],
  [
    "SHOW standard_conforming_strings",
    { kind: "show_parameter", name: "standard_conforming_strings" },
  ],
  ["SHOW datestyle", { kind: "show_parameter", name: "datestyle" }],
  ["SET client_encoding TO 'UTF8'", { kind: "set_parameter" }],
  ["set DateStyle='ISO, MDY';", { kind: "set_parameter" }],
  ["SET datestyle = ISO, MDY", { kind: "set_parameter" }],
  ["set timezone to 'a;b -- c'", { kind: "set_parameter" }],
  ["SET standard_conforming_strings = on", { kind: "set_parameter" }],
  ["RELOAD", { kind: "reload" }],
  ["reload ;", { kind: "reload" }],
  ["SHUTDOWN", { kind: "shutdown", mode: "immediate" }],
  ["shutdown Wait_For_Servers", { kind: "shutdown", mode: "wait_for_servers" }],
  ["SHUTDOWN WAIT_FOR_CLIENTS;", { kind: "shutdown", mode: "wait_for_clients" }],
];

const NO_COMMANDS: readonly string[] = [
  "SHOW",
  "SHOWPOOLS",
  "SHOW POOLS CLIENTS",
  "SHOW nonsense",
  "SHOW 'pools'",
  "SELECT 1",
  "SHOW POOLS; SHOW CLIENTS",
  "SHOW POOLS; RELOAD",
  "RELOAD now",
  "SHUTDOWN now",
  "SHUTDOWN WAIT_FOR_SERVERS WAIT_FOR_CLIENTS",
  "SET",
  "SET datestyle",
  "SET datestyle =",
  "SET datestyle 'ISO'",
  "SET datestyle = 'ISO'; RELOAD",
  "SET pool_mode = session",
  "RELOAD /* without end",
  "RELOAD /*/",
  "'RELOAD",
  "PAUSE",
  "SHOW STATS_TOTALS",
  "\0RELOAD",
];

for (const [text, command] of COMMANDS) {
  Deno.test(`parseAdminCommand() reads ${JSON.stringify(text)}`, () => {
    assert.deepEqual(parseAdminCommand(text), command);
  });
}

for (const text of NO_COMMANDS) {
  Deno.test(`parseAdminCommand() finds no command in ${JSON.stringify(text)}`, () => {
    assert.equal(parseAdminCommand(text), undefined);
  });
}

Deno.test("parseAdminCommand() knows each thing that can be shown", () => {
  for (const thing of SHOW_THINGS) {
    assert.deepEqual(parseAdminCommand(`SHOW ${thing.toUpperCase()};`), { kind: "show", thing });
  }
});

Deno.test("parseAdminCommand() reads the longest message in one pass", () => {
  // Comments and quotes that begin over and over must not be searched for their end each time.
  for (const piece of ["/*", "'\"", "--", ";", "a "]) {
    const text = piece.repeat(32_000);
    assert.ok(text.length > 0);
    parseAdminCommand(text);
  }
});
