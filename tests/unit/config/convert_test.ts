/** INI to TOML: the result means the same. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { convertIni, tomlString } from "../../../src/config/convert.ts";
import { loadConfig } from "../../../src/config/load.ts";
import { DATABASE_SETTINGS, SETTINGS, USER_SETTINGS } from "../../../src/config/settings.ts";
import { refusalOf } from "../../../src/config/assign.ts";
import type { SettingSpec } from "../../../src/config/setting_spec.ts";
import { parseValue } from "../../../src/config/values.ts";
import { memoryIo, plain } from "./memory_files.ts";

/** Both files loaded, for comparing. */
async function bothWays(
  ini: string,
  others: Record<string, string> = {},
): Promise<[unknown, unknown]> {
  const io = memoryIo({ "p.ini": ini, ...others });
  const toml = await convertIni("p.ini", io);
  const fromToml = await loadConfig("p.toml", memoryIo({ "p.toml": toml }));
  return [plain(await loadConfig("p.ini", io)), plain(fromToml)];
}

Deno.test("convertIni() gives TOML that means the same", async () => {
  const ini = `
; the pooler
[databases]
* = host=127.0.0.1
"a ""b"".c" = host=/run/pg,10.0.0.1 port=5433 dbname='it''s \\n' password='p"w' pool_size=0x10
'single "quotes"' = host=10.0.0.2 pool_size=-1 max_db_connections=-1
reserve = reserve_pool=3 server_lifetime=0.5 application_name='x y' datestyle=ISO
%include more.ini
[pgbouncer]
listen_addr = *
listen_port = 16432
unix_socket_mode = 0770
log_connections = no
log_stats = 2
admin_users = a,,b,
max_user_connections = -1
pool_mode = STATEMENT
server_check_query =
server_reset_query = DISCARD "ALL" -- \\ #
client_idle_timeout = 0.25
track_extra_parameters = IntervalStyle, search_path
max_prepared_statements = 0
service_name = old
user =
[users]
alice = pool_mode=transaction query_wait_timeout=3 query_timeout=0 max_user_connections=0
[peers]
3 = host=10.0.0.9
`;
  const [before, after] = await bothWays(ini, {
    "more.ini": "inc = port=1\n[users]\nbob = pool_size=2",
  });
  assert.deepEqual(after, before);
});

Deno.test("convertIni() writes numbers, booleans and names as TOML has them", async () => {
  const ini =
    "[pgbouncer]\nlisten_port = 1\nlog_stats = off\nlogfile = a\\b\n[databases]\n* = port=2";
  assert.equal(
    await convertIni("p.ini", memoryIo({ "p.ini": ini })),
    `# Converted from "p.ini".

[pooler]
listen_port = 1
log_stats = false
logfile = "a\\\\b"

[databases."*"]
port = 2
`,
  );
});

Deno.test("convertIni() converts what is refused so far, and reports what is wrong", async () => {
  const hba = memoryIo({ "p.ini": "[pgbouncer]\nauth_type = hba" });
  assert.match(await convertIni("p.ini", hba), /^auth_type = "hba"$/m);
  const wrong = memoryIo({ "p.ini": "[pgbouncer]\nauth_typo = hba\nlisten_port = x" });
  await assert.rejects(convertIni("p.ini", wrong), /p.ini:2: Unknown.*\n.*p.ini:3: "listen_port"/);
  const broken = memoryIo({ "p.ini": "[pgbouncer]\nauth_typo = hba\nlisten_port" });
  await assert.rejects(convertIni("p.ini", broken), /^ConfigErrors: p.ini:3: [^\n]*$/);
});

Deno.test("tomlString() escapes what TOML wants escaped", () => {
  assert.equal(tomlString('a"\\\n\x7f\0é'), '"a\\"\\\\\\n\\u007f\\u0000é"');
});

Deno.test("convertIni() keeps any good values", async () => {
  const setting = (table: readonly SettingSpec[]) =>
    fc.constantFrom(...table).chain((spec) => fc.tuple(fc.constant(spec), textFor(spec))).filter((
      [spec, text],
    ) => isHonest(spec, text));
  const settings = fc.array(setting(SETTINGS));
  const name = fc.string({ minLength: 1 }).filter((text) => !/[\0\r\n]/.test(text));
  const keys = (table: readonly SettingSpec[]) =>
    fc.array(setting(table).filter(([, text]) => text !== ""));
  const sections = (table: readonly SettingSpec[]) => fc.array(fc.tuple(name, keys(table)));
  await fc.assert(fc.asyncProperty(
    settings,
    sections(DATABASE_SETTINGS),
    sections(USER_SETTINGS),
    async (pooler, databases, users) => {
      const ini = [
        "[pgbouncer]",
        ...pooler.map(([spec, text]) => `${spec.name} = ${text}`),
        // Otherwise there may be nothing to listen on.
        "unix_socket_dir = /tmp",
        // What modes of TLS need, and none that goes badly with a database's.
        ...["cert", "key", "ca"].flatMap((kind) =>
          ["client", "server"].map((side) => `${side}_tls_${kind}_file = ${kind}`)
        ),
        "server_tls_sslmode = require",
        "server_channel_binding = prefer",
        "server_tls_negotiation = postgres",
        "[databases]",
        ...databases.map(iniLine),
        "[users]",
        ...users.map(iniLine),
      ].join("\n");
      const [before, after] = await bothWays(ini);
      assert.deepEqual(after, before);
    },
  ));
});

/** A value that is neither cut at its ends by the INI nor refused by today's Sluice. */
function isHonest(spec: SettingSpec, text: string): boolean {
  const parsed = parseValue(spec, text, "ini");
  if (text === "direct" || text === "require" && spec.name === "server_channel_binding") {
    return false;
  }
  return text === text.trim() && !text.includes("\n") && !("problem" in parsed) &&
    refusalOf(spec, parsed.value) === undefined;
}

function textFor(spec: SettingSpec): fc.Arbitrary<string> {
  if (spec.choices !== undefined) return fc.constantFrom(...spec.choices);
  switch (spec.kind) {
    case "integer":
    case "bytes":
    case "milliseconds":
      return fc.integer({ min: spec.min ?? 0, max: spec.max ?? 2 ** 31 - 1 }).map(String);
    case "seconds":
      return fc.integer({ min: 200, max: 2 ** 31 }).map((ms) => String(ms / 1000));
    case "boolean":
      return fc.constantFrom("0", "1", "yes", "off");
    case "mode":
      return fc.constantFrom("0700", "777");
    default:
      return fc.string();
  }
}

function iniLine([name, keys]: [string, [SettingSpec, string][]]): string {
  const pairs = keys.map(([spec, text]) => `${spec.name}='${text.replaceAll("'", "''")}'`);
  return `"${name.replaceAll('"', '""')}" = ${pairs.join(" ")}`;
}
