/**
 * The SQL that the fake PostgreSQL knows, read into commands. Not an SQL parser: statements are told
 * by their first words, and whatever is not known is a syntax error.
 */

/** What a statement asks for. */
export type Command =
  | { readonly kind: "begin" }
  | { readonly kind: "commit" }
  | { readonly kind: "rollback" }
  | { readonly kind: "error"; readonly sqlstate: string; readonly text: string }
  /** Answers the text; `$1` stands for the first bound value. */
  | { readonly kind: "echo"; readonly text: string }
  | { readonly kind: "session_id" }
  /** What the server is, by the number of rows. */
  | { readonly kind: "role" }
  /** Rows of name and secret for the first bound value; with `waits`, once the test says so. */
  | { readonly kind: "look_up"; readonly waits: boolean }
  /** `count` rows of the text. */
  | { readonly kind: "rows"; readonly count: number; readonly text: string }
  | { readonly kind: "set"; readonly name: string; readonly value: string; readonly rows: boolean }
  | { readonly kind: "reset"; readonly name: string }
  | { readonly kind: "reset_all" }
  | { readonly kind: "discard_all" }
  /** Without a name: all of them. */
  | { readonly kind: "deallocate"; readonly name: string | undefined }
  | { readonly kind: "unlisten" }
  | { readonly kind: "show"; readonly name: string }
  /** Goes on when the test says so, or fails when it is cancelled. */
  | { readonly kind: "sleep" }
  /** `failAfter`: fails after so many CopyData. */
  | { readonly kind: "copy_in"; readonly failAfter: number | undefined }
  | { readonly kind: "copy_out"; readonly count: number; readonly text: string }
  /** COPY in both directions, until the client ends it. */
  | { readonly kind: "copy_both" }
  | { readonly kind: "notice"; readonly text: string }
  | { readonly kind: "misbehave"; readonly how: Misbehaviour };

/** Ways of breaking the rules, as `misbehave …` asks for them. */
const MISBEHAVIOURS = [
  "close",
  "reset",
  "fatal",
  "garbage",
  "cut",
  "huge",
  "second_ready",
  "silence",
  "bad_ready",
] as const;

/** One of them. */
export type Misbehaviour = typeof MISBEHAVIOURS[number];

type Reader = (match: RegExpExecArray) => Command;

const COMMANDS: readonly (readonly [RegExp, Reader])[] = [
  [/^(?:begin|start transaction)\b/i, () => ({ kind: "begin" })],
  [/^(?:commit|end)\b/i, () => ({ kind: "commit" })],
  [/^(?:rollback|abort)\b/i, () => ({ kind: "rollback" })],
  [/^error (\w{5})(?: (.*))?$/is, ([, sqlstate, text]) => ({
    kind: "error",
    sqlstate: sqlstate!,
    text: text ?? "made to fail",
  })],
  [/^select session id$/i, () => ({ kind: "session_id" })],
  [/^select 1 from .*pg_is_in_recovery\(\)/i, () => ({ kind: "role" })],
  // What auth_query is by default, or a short form.
  [/^(?:look up \$1|select rolname, case when .* where rolname=\$1 and rolcanlogin)$/is, () => ({
    kind: "look_up",
    waits: false,
  })],
  [/^look up \$1 slowly$/i, () => ({ kind: "look_up", waits: true })],
  [/^select pg_sleep\(.*\)$/i, () => ({ kind: "sleep" })],
  [
    /^select (?:pg_catalog\.)?set_config\('([^']+)', *('.*'), *false\)$/is,
    ([, name, value]) => ({ kind: "set", name: name!, value: unquote(value!), rows: true }),
  ],
  [/^select (1|\$1)$/i, ([, text]) => ({ kind: "echo", text: text! })],
  [/^select ("[^"]*")$/i, ([, name]) => ({
    kind: "error",
    sqlstate: "42703",
    text: `column ${name} does not exist`,
  })],
  [/^select ('.*')$/is, ([, text]) => ({ kind: "echo", text: unquote(text!) })],
  [/^rows (\d+) ('.*')$/is, ([, count, text]) => ({
    kind: "rows",
    count: Number(count),
    text: unquote(text!),
  })],
  [/^set session authorization '?(\w+)'?$/i, ([, value]) => ({
    kind: "set",
    name: "session_authorization",
    value: value!,
    rows: false,
  })],
  [/^reset session authorization$/i, () => ({ kind: "reset", name: "session_authorization" })],
  [/^set (?:session )?([\w.]+) *(?:=|to) *(.*)$/is, ([, name, value]) => ({
    kind: "set",
    name: name!,
    value: unquote(value!),
    rows: false,
  })],
  [/^reset all$/i, () => ({ kind: "reset_all" })],
  [/^reset ([\w.]+)$/i, ([, name]) => ({ kind: "reset", name: name! })],
  [/^discard all$/i, () => ({ kind: "discard_all" })],
  [/^deallocate all$/i, () => ({ kind: "deallocate", name: undefined })],
  [/^deallocate (\w+)$/i, ([, name]) => ({ kind: "deallocate", name: name!.toLowerCase() })],
  [/^listen \w+$/i, () => ({ kind: "unlisten" })],
  [/^unlisten "[^"]*"$/i, () => ({ kind: "unlisten" })],
  [/^show ([\w.]+)$/i, ([, name]) => ({ kind: "show", name: name! })],
  [/^copy t from stdin(?: failing after (\d+))?$/i, ([, after]) => ({
    kind: "copy_in",
    failAfter: after === undefined ? undefined : Number(after),
  })],
  [/^copy t to stdout (\d+) ('.*')$/is, ([, count, text]) => ({
    kind: "copy_out",
    count: Number(count),
    text: unquote(text!),
  })],
  [/^start_replication$/i, () => ({ kind: "copy_both" })],
  [/^raise notice ('.*')$/is, ([, text]) => ({ kind: "notice", text: unquote(text!) })],
];

/** Reads one statement; an unknown one becomes the error it is answered with. */
export function readCommand(statement: string): Command {
  const sql = withoutComments(statement);
  for (const [pattern, read] of COMMANDS) {
    const match = pattern.exec(sql);
    if (match !== null) return read(match);
  }
  const asked = /^misbehave (\w+)$/i.exec(sql)?.[1];
  const how = MISBEHAVIOURS.find((each) => each === asked);
  if (how !== undefined) return { kind: "misbehave", how };
  return { kind: "error", sqlstate: "42601", text: `syntax error: ${sql}` };
}

/** The columns of a statement's rows; undefined where there are none. */
export function columnsOf(command: Command): readonly string[] | undefined {
  switch (command.kind) {
    case "echo":
    case "rows":
    case "show":
    case "sleep":
    case "role":
      return ["text"];
    case "session_id":
      return ["backend", "client"];
    case "look_up":
      return ["name", "secret"];
    case "set":
      return command.rows ? ["set_config"] : undefined;
    default:
      return undefined;
  }
}

/** Cuts the text of a Query into its statements; empty ones are left out. */
export function splitStatements(sql: string): string[] {
  const statements: string[] = [];
  let start = 0;
  let isQuoted = false;
  for (let at = 0; at < sql.length; at++) {
    if (sql[at] === "'") isQuoted = !isQuoted;
    if (sql[at] !== ";" || isQuoted) continue;
    statements.push(sql.slice(start, at));
    start = at + 1;
  }
  statements.push(sql.slice(start));
  return statements.map((text) => text.trim()).filter((text) => withoutComments(text) !== "");
}

/** The comment at the end of a statement, by which its sender can be told. */
export function commentOf(statement: string): string | undefined {
  return /\/\* *(.*?) *\*\//s.exec(statement)?.[1];
}

function withoutComments(sql: string): string {
  return sql.replaceAll(/\/\*.*?\*\//gs, "").trim();
}

/** The value of a literal, of an identifier or of a number. */
function unquote(literal: string): string {
  const match = /^\s*(E)?'(.*)'\s*$/is.exec(literal);
  if (match === null) return literal.trim();
  const text = match[2]!.replaceAll("''", "'");
  return match[1] === undefined ? text : text.replaceAll("\\\\", "\\");
}
