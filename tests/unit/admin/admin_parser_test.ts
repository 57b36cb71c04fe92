import assert from "node:assert/strict";
import {
  type AdminCommand,
  parameterCount,
  parseAdminCommand,
  SHOW_THINGS,
  type ShowThing,
} from "../../../src/admin/admin_parser.ts";

import { ALL_ROWS, type Selection } from "../../../src/admin/selection.ts";
import { PgError } from "../../../src/wire/pg_error.ts";

function show(thing: ShowThing, selection: Partial<Selection> = {}): AdminCommand {
  return { kind: "show", thing, selection: { ...ALL_ROWS, ...selection } };
}

const COMMANDS: readonly (readonly [text: string, command: AdminCommand])[] = [
  ["", { kind: "empty" }],
  [" ;\n; ", { kind: "empty" }],
  ["/* a */ -- b", { kind: "empty" }],
  ["SHOW POOLS", show("pools")],
  ["show pools;", show("pools")],
  ["\t Show\r\n Pools ; ;", show("pools")],
  ["SELECT version", show("version")],
  ["/* from a tool */ SHOW/**/STATS; -- done", show("stats")],
  ["-- first\nSHOW HELP", show("help")],
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
  ["RELOAD", { kind: "reload", isDry: false }],
  ["reload ;", { kind: "reload", isDry: false }],
  ["SHUTDOWN", { kind: "shutdown", mode: "immediate", limitMs: undefined }],
  ["shutdown Wait_For_Servers", { kind: "shutdown", mode: "wait_for_servers", limitMs: undefined }],
  ["SHUTDOWN WAIT_FOR_CLIENTS;", {
    kind: "shutdown",
    mode: "wait_for_clients",
    limitMs: undefined,
  }],
  [
    "SHUTDOWN WAIT_FOR_TRANSACTIONS",
    { kind: "shutdown", mode: "wait_for_transactions", limitMs: undefined },
  ],
  [
    "shutdown wait_for_transactions 2.5;",
    { kind: "shutdown", mode: "wait_for_transactions", limitMs: 2_500 },
  ],
  ["reload dry", { kind: "reload", isDry: true }],
  ["PAUSE", { kind: "pause", database: undefined }],
  ["pause Shop;", { kind: "pause", database: "Shop" }],
  ['PAUSE "my ""own"" db"', { kind: "pause", database: 'my "own" db' }],
  ["RESUME 'a;b'", { kind: "resume", database: "a;b" }],
  ["RECONNECT", { kind: "reconnect", database: undefined }],
  ["KILL shop", { kind: "kill", database: "shop" }],
  ["KILL", { kind: "kill", database: undefined }],
  ["WAIT_CLOSE shop", { kind: "wait_close", database: "shop" }],
  ["DISABLE shop", { kind: "disable", database: "shop" }],
  ["enable 1st.db", { kind: "enable", database: "1st.db" }],
  ["KILL_CLIENT 17", { kind: "kill_client", id: 17 }],
  ["KILL_CLIENT 0", { kind: "kill_client", id: 0 }],
  ["SUSPEND", { kind: "suspend" }],
  ['SHOW "pools"', show("pools")],
  ['SET "pool_mode" = session', { kind: "set", key: "pool_mode", value: "session" }],
  ["SET pool_mode = session", { kind: "set", key: "pool_mode", value: "session" }],
  ["set Query_Timeout to 2.5;", { kind: "set", key: "query_timeout", value: "2.5" }],
  ["SET server_check_query = ''", { kind: "set", key: "server_check_query", value: "" }],
  ["SET auth_query = 'it''s'", { kind: "set", key: "auth_query", value: "it's" }],
  ["SET admin_users = ada,bob", { kind: "set", key: "admin_users", value: "ada,bob" }],
  [
    "SHOW POOLS WHERE database = 'shop'",
    show("pools", { conditions: [{ column: "database", isNegated: false, value: "shop" }] }),
  ],
  [
    "show clients where state <> 'idle' and \"user\" = 'anna' order by wait desc, id limit 5;",
    show("clients", {
      conditions: [
        { column: "state", isNegated: true, value: "idle" },
        { column: "user", isNegated: false, value: "anna" },
      ],
      order: [{ column: "wait", isDescending: true }, { column: "id", isDescending: false }],
      limit: 5,
    }),
  ],
  [
    "SHOW POOLS WHERE sv_idle = 3 AND load_balance_hosts IS NOT NULL AND pool_mode is null",
    show("pools", {
      conditions: [
        { column: "sv_idle", isNegated: false, value: "3" },
        { column: "load_balance_hosts", isNegated: true, value: undefined },
        { column: "pool_mode", isNegated: false, value: undefined },
      ],
    }),
  ],
  [
    "SHOW POOLS ORDER BY user ASC",
    show("pools", { order: [{ column: "user", isDescending: false }] }),
  ],
  ["SHOW POOLS LIMIT 0", show("pools", { limit: 0 })],
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
  "SET pool_mode session",
  "SET pool_mode = session; RELOAD",
  "SET = session",
  "SET default_pool_size = 10 11",
  "SET server_check_query = select 1",
  "SET admin_users = 'ada' 'bob'",
  "RELOAD /* without end",
  "RELOAD /*/",
  "'RELOAD",
  "PAUSE shop archive",
  "PAUSE =",
  "PAUSE 'shop",
  'PAUSE "shop',
  "RESUME; PAUSE",
  "RELOAD DRY now",
  "SUSPEND shop",
  "SHUTDOWN WAIT_FOR_CLIENTS 5",
  "KILL_CLIENT 1 2",
  "PAUSE $1",
  "SHOW POOLS WHERE",
  "SHOW POOLS WHERE database",
  "SHOW POOLS WHERE database = ",
  "SHOW POOLS WHERE database = shop",
  "SHOW POOLS WHERE database LIKE 'a'",
  "SHOW POOLS WHERE database = 'a' OR user = 'b'",
  "SHOW POOLS LIMIT 1 WHERE database = 'a'",
  "SHOW POOLS ORDER user",
  "SHOW POOLS ORDER BY",
  "SHOW POOLS LIMIT -1",
  "SHOW POOLS LIMIT $1",
  "SHOW POOLS LIMIT",
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
    assert.deepEqual(parseAdminCommand(`SHOW ${thing.toUpperCase()};`), show(thing));
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

for (
  const [text, error] of [
    ["DISABLE", "42601 a database is required"],
    ["enable;", "42601 a database is required"],
    ["KILL_CLIENT abc", "42601 invalid client pointer supplied"],
    ["KILL_CLIENT", "42601 invalid client pointer supplied"],
    ["KILL_CLIENT 9999999999999999", "42601 invalid client pointer supplied"],
    ["SHUTDOWN WAIT_FOR_TRANSACTIONS soon", "42601 bad arguments"],
    ["SHUTDOWN WAIT_FOR_TRANSACTIONS 0", "42601 bad arguments"],
    ["SHUTDOWN WAIT_FOR_TRANSACTIONS 1000001", "42601 bad arguments"],
    [
      "SHOW FDS",
      "0A000 SHOW FDS is not supported: it would hand out connections together with their secrets",
    ],
  ] as const
) {
  Deno.test(`parseAdminCommand() says what is wrong with ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseAdminCommand(text), (thrown) => {
      assert.ok(thrown instanceof PgError);
      assert.deepEqual([thrown.severity, `${thrown.sqlstate} ${thrown.message}`], ["ERROR", error]);
      return true;
    });
  });
}

Deno.test("parseAdminCommand() puts values in the place of parameters, as they are", () => {
  const cases: readonly (readonly [string, readonly string[], AdminCommand])[] = [
    ["PAUSE $1", ["a'b"], { kind: "pause", database: "a'b" }],
    ["SET query_timeout = $1", ["7"], { kind: "set", key: "query_timeout", value: "7" }],
    ["KILL_CLIENT $1", ["17"], { kind: "kill_client", id: 17 }],
    [
      "SHOW POOLS WHERE database = $2 LIMIT $1",
      ["5", "x; RELOAD"],
      show("pools", {
        conditions: [{ column: "database", isNegated: false, value: "x; RELOAD" }],
        limit: 5,
      }),
    ],
  ];
  for (const [text, values, command] of cases) {
    assert.deepEqual(parseAdminCommand(text, values), command);
  }
  assert.equal(parseAdminCommand("$1", ["RELOAD"]), undefined, "a value is never a keyword");
  assert.equal(parseAdminCommand("SHOW $1", ["POOLS"]), undefined);
});

Deno.test("parameterCount() is the highest number of a parameter outside of quotes", () => {
  assert.equal(parameterCount("SHOW POOLS WHERE database = $2 LIMIT $1"), 2);
  assert.equal(parameterCount("SHOW POOLS WHERE database = '$7' -- $9"), 0);
});
