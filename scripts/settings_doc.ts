/**
 * Writes `config.toml` and `docs/settings.md` from the table of settings; with `--check` it only
 * says whether they are as they should be. A unit test compares them too.
 */

import { tomlValue } from "../src/config/convert.ts";
import type { SettingSpec } from "../src/config/setting_spec.ts";
import {
  DATABASE_SETTINGS,
  PEER_SETTINGS,
  SERVER_SETTINGS,
  SETTINGS,
  USER_SETTINGS,
} from "../src/config/settings.ts";

/** A generated file. */
export interface GeneratedFile {
  /** From the project's folder. */
  readonly path: string;
  /** What it should hold. */
  readonly text: string;
}

/** What `config.toml` sets; all else stands in it as a comment. */
const PRESET: ReadonlyMap<string, string> = new Map([
  ["listen_addr", '"127.0.0.1"'],
  ["auth_type", '"scram-sha-256"'],
]);

/** Values for the commented examples; every key has one. */
const EXAMPLES: ReadonlyMap<string, string> = new Map([
  ["dbname", '"app_production"'],
  ["host", '"10.0.0.5,10.0.0.6"'],
  ["port", "5432"],
  ["user", '"app_server"'],
  ["password", '{ env = "APP_SERVER_PASSWORD" }'],
  ["auth_user", '"pooler"'],
  ["auth_query", `"SELECT * FROM user_lookup($1)"`],
  ["auth_dbname", '"postgres"'],
  ["pool_size", "20"],
  ["min_pool_size", "2"],
  ["reserve_pool_size", "5"],
  ["connect_query", `"SET search_path TO app"`],
  ["pool_mode", '"transaction"'],
  ["query_wait_timeout", '"30s"'],
  ["load_balance_hosts", '"round-robin"'],
  ["target_session_attrs", '"read-write"'],
  ["max_db_connections", "50"],
  ["max_replication_connections", "5"],
  ["max_db_client_connections", "500"],
  ["max_waiting_clients", "1000"],
  ["weight", "2"],
  ["server_lifetime", '"1h"'],
  ["server_channel_binding", '"require"'],
  ["server_tls13_ciphers", '"TLS_AES_256_GCM_SHA384"'],
  ["server_tls_ca_file", '"ca.crt"'],
  ["server_tls_cert_file", '"sluice.crt"'],
  ["server_tls_ciphers", '"ECDHE+AESGCM"'],
  ["server_tls_crl_file", '"ca.crl"'],
  ["server_tls_key_file", '"sluice.key"'],
  ["server_tls_negotiation", '"direct"'],
  ["server_tls_protocols", '"tlsv1.3"'],
  ["server_tls_sslmode", '"verify-full"'],
  ["client_encoding", '"UTF8"'],
  ["datestyle", '"ISO, YMD"'],
  ["timezone", '"UTC"'],
  ["application_name", '"app"'],
  ["max_user_connections", "50"],
  ["max_user_client_connections", "500"],
  ["query_timeout", '"1min"'],
  ["transaction_timeout", '"5min"'],
  ["idle_transaction_timeout", '"10s"'],
  ["client_idle_timeout", '"1h"'],
]);

/** Values of the peer's example that differ from those. */
const PEER_EXAMPLES: ReadonlyMap<string, string> = new Map([
  ["host", '"10.0.0.2"'],
  ["port", "6432"],
]);

/** The same for a physical server. */
const SERVER_EXAMPLES: ReadonlyMap<string, string> = new Map([
  ["host", '"10.0.0.5"'],
  ["max_connections", "90"],
]);

/** Column of the sentence behind an example's value. */
const SENTENCE_COLUMN = 50;

/** All generated files. */
export function generatedFiles(): GeneratedFile[] {
  return [
    { path: "config.toml", text: configToml() },
    { path: "docs/settings.md", text: settingsMarkdown() },
  ];
}

/** The commented `config.toml`. */
export function configToml(): string {
  return [
    TOML_HEAD,
    "[pooler]\n",
    ...SETTINGS.map(tomlSetting),
    `# Every database that is not named below is looked for on this server.
[databases."*"]
host = "127.0.0.1"

# A database with settings of its own. What is left out is as in [pooler].
`,
    example("databases.app", DATABASE_SETTINGS),
    `
# A user. The password may be plain, md5... or SCRAM-SHA-256$...; it goes before auth_file.
`,
    example("users.app", USER_SETTINGS),
    `
# A physical server: its limit counts for all databases and users whose host and port it is.
`,
    example("servers.main", SERVER_SETTINGS, SERVER_EXAMPLES),
    `
# Another process of the same fleet, by its peer_id.
`,
    example("peers.2", PEER_SETTINGS, PEER_EXAMPLES),
  ].join("");
}

const TOML_HEAD = `# Sluice's configuration: every setting, as a comment where it has its default.
# Written by "deno task docs" from src/config/settings.ts.
#
# Times are seconds, fractions allowed, or texts with a unit: "250ms", "15s", "5min", "1h", "1d".
# Sizes are bytes, or texts with a unit: "64kB", "1MB".
# Yes and no are true and false, or 1 and 0. Lists are texts with commas, or arrays of texts.
# A password is a text, { env = "NAME" } or { file = "path" }, and so may be any other value.
# "Restart": taken over only at start, not by a reload.
# Other files, relative to this one, would be included here:
# include = ["databases.toml"]

`;

function tomlSetting(spec: SettingSpec): string {
  const preset = PRESET.get(spec.name);
  const fallback = spec.default === undefined ? '""' : tomlValue(spec, spec.default);
  const notes = notesOf(spec).map((note) => ` ${note}.`).join("");
  const choices = spec.choices === undefined ? "" : `# One of ${spec.choices.join(", ")}.\n`;
  const head = `# ${spec.meaning}${notes}\n${choices}`;
  if (preset === undefined) return `${head}# ${spec.name} = ${fallback}\n\n`;
  return `${head}# Default: ${fallback}.\n${spec.name} = ${preset}\n\n`;
}

function example(
  header: string,
  table: readonly SettingSpec[],
  special: ReadonlyMap<string, string> = new Map(),
): string {
  const lines = table.map((spec) => {
    const value = special.get(spec.name) ?? EXAMPLES.get(spec.name);
    if (value === undefined) throw new Error(`No example for ${spec.name}`);
    const notes = notesOf(spec).map((note) => ` ${note}.`).join("");
    return `# ${spec.name} = ${value}`.padEnd(SENTENCE_COLUMN) + `# ${spec.meaning}${notes}\n`;
  });
  return `# [${header}]\n${lines.join("")}`;
}

/** `docs/settings.md`. */
export function settingsMarkdown(): string {
  return [
    MARKDOWN_HEAD,
    "## `[pooler]`\n\n",
    "In PgBouncer's INI this section is called `[pgbouncer]`.\n\n",
    markdownTable(SETTINGS, true),
    ...longDefaults(),
    choicesTable(),
    refusalsTable(),
    "\n## `[databases.NAME]`\n\n",
    'NAME is what clients ask for; the entry `"*"` serves every name that has none of its own. A name\n' +
    "with anything but letters, digits, `_` and `-` needs quotes. `pgbouncer` is the console's.\n\n",
    markdownTable(DATABASE_SETTINGS, false),
    "\n## `[users.NAME]`\n\n",
    markdownTable(USER_SETTINGS, false),
    "\n## `[servers.NAME]`\n\n",
    "Sluice's own: a physical server, whatever databases are on it. NAME is for people.\n\n",
    markdownTable(SERVER_SETTINGS, false),
    "\n## `[peers.ID]`\n\n",
    "ID is the `peer_id` of the other process, 1 to 16383.\n\n",
    markdownTable(PEER_SETTINGS, false),
  ].join("");
}

const MARKDOWN_HEAD = `# Settings

Written by \`deno task docs\` from \`src/config/settings.ts\`. The names, units and defaults are
PgBouncer's. Sluice's own are those that say so, and \`count_session_features\`, \`io_engine\`,
\`log_format\`, \`on_client_loss\`, \`server_protocol\` and \`warn_session_features\`.

- A **time** is a number of seconds, fractions allowed, or a text with a unit: \`"250ms"\`, \`"15s"\`,
  \`"5min"\`, \`"1h"\`, \`"1d"\`. \`tcp_user_timeout\` alone is in milliseconds.
- A **size** is a number of bytes or a text with a unit: \`"64kB"\`, \`"1MB"\`.
- A **yes/no** is \`true\` or \`false\`, or 1 or 0.
- A **list** is a text with commas or an array of texts.
- A **secret** is a text, \`{ env = "NAME" }\` or \`{ file = "path" }\`. A path is relative to the file
  it stands in; one line end at the end of the secret's file is not part of the secret. Every other
  setting may be written so, too: what is found there is the value without quotes around it.
- \`include = ["other.toml"]\` at the top of a file reads other files, relative to it.
- **Applies**: at a reload, or only at a restart.

A \`pgbouncer.ini\` is read as it is; \`sluice convert FILE.ini\` prints it as TOML.

`;

function markdownTable(table: readonly SettingSpec[], withApplies: boolean): string {
  const head = ["Setting", "Type", "Default", ...(withApplies ? ["Applies"] : [])];
  const rows = table.map((spec) => [
    [spec.name, ...(spec.aliases ?? [])].map((name) => `\`${name}\``).join(" or "),
    typeName(spec),
    defaultCell(spec),
    ...(withApplies ? [spec.reloadable ? "reload" : "restart"] : []),
    codeSpans(spec.meaning),
  ]);
  return alignedTable([[...head, "Meaning"], ...rows]);
}

/** As the formatter wants it; the first row is the head. */
function alignedTable(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows;
  const widths = head.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const rule = widths.map((width) => "-".repeat(width));
  return [head, rule, ...body].map((row) => tableRow(row, widths)).join("");
}

function tableRow(cells: readonly string[], widths: readonly number[]): string {
  return `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |\n`;
}

/** A default too long for a column stands below the table. */
const MAX_DEFAULT_LENGTH = 24;

function defaultCell(spec: SettingSpec): string {
  if (spec.default === undefined) return "";
  if (spec.default === "") return "empty";
  return spec.default.length > MAX_DEFAULT_LENGTH ? "below" : `\`${spec.default}\``;
}

function longDefaults(): string[] {
  return SETTINGS.filter((spec) => (spec.default?.length ?? 0) > MAX_DEFAULT_LENGTH)
    .map((spec) => `\nDefault of \`${spec.name}\`:\n\n\`\`\`sql\n${spec.default}\n\`\`\`\n`);
}

/** The words of the settings that take one of a few. */
function choicesTable(): string {
  const rows = SETTINGS.filter(({ choices }) => choices !== undefined).map((spec) => [
    `\`${spec.name}\``,
    (spec.choices ?? []).map((choice) => `\`${choice}\``).join(", "),
  ]);
  return `\nThe words that a setting may be:\n\n${alignedTable([["Setting", "One of"], ...rows])}`;
}

/** The values that are refused, and why. */
function refusalsTable(): string {
  const rows = SETTINGS.flatMap(({ name, refusals = {} }: SettingSpec) =>
    Object.entries(refusals).map(([value, why]) => [`\`${name} = ${value}\``, why])
  );
  return `\nValues that are refused:\n\n${alignedTable([["Value", "Because"], ...rows])}`;
}

function typeName(spec: SettingSpec): string {
  switch (spec.kind) {
    case "integer":
      return "number";
    case "seconds":
      return "time";
    case "milliseconds":
      return "time, ms";
    case "bytes":
      return "size";
    case "boolean":
      return "yes/no";
    case "choice":
      return "word";
    case "mode":
      return "octal text";
    case "check_query":
      return "text";
    default:
      return spec.kind;
  }
}

/** Signs that Markdown would take for its own become code. */
function codeSpans(sentence: string): string {
  return sentence.replace(/<empty>|"\*"|\*|SCRAM-SHA-256\$\.\.\./g, (found) => `\`${found}\``);
}

function notesOf(spec: SettingSpec): string[] {
  return spec.reloadable ? [] : ["Restart"];
}

/** Writes the files, or compares them; answers those that differed. */
export async function updateFiles(
  files: readonly GeneratedFile[],
  options: { folder: URL; write: boolean },
): Promise<string[]> {
  const differing: string[] = [];
  for (const { path, text } of files) {
    const url = new URL(path, options.folder);
    const found = await Deno.readTextFile(url).catch((error: unknown) => {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    });
    if (found === text) continue;
    differing.push(path);
    if (options.write) await Deno.writeTextFile(url, text);
  }
  return differing;
}

if (import.meta.main) {
  const isCheck = Deno.args.includes("--check");
  const folder = new URL("../", import.meta.url);
  const differing = await updateFiles(generatedFiles(), { folder, write: !isCheck });
  for (const path of differing) console.log(isCheck ? `${path} is out of date` : `${path} written`);
  if (isCheck && differing.length > 0) Deno.exit(1);
}
