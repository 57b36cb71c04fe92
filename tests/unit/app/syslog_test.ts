/** Lines for syslog. */

import assert from "node:assert/strict";
import { formatSyslog, Syslog } from "../../../src/app/syslog.ts";
import type { LogLevel } from "../../../src/log/log_line.ts";

const AT_MS = new Date(2026, 10, 2, 9, 5, 7).getTime();

const OPTIONS = { facility: "daemon", ident: "pool", processId: 4_711 } as const;

function entry(message: string, level: LogLevel = "LOG") {
  return { level, message, wallMs: AT_MS };
}

Deno.test("formatSyslog() writes priority, local time, name, process and text", () => {
  assert.equal(formatSyslog(entry("up"), OPTIONS), "<30>Nov  2 09:05:07 pool[4711]: up");
  const late = { ...entry("up"), wallMs: new Date(2026, 0, 31, 23, 59, 59).getTime() };
  assert.match(formatSyslog(late, OPTIONS), /^<30>Jan 31 23:59:59 pool/);
});

Deno.test("the priority is made of the facility and of the level, as PgBouncer has it", () => {
  const priority = (level: LogLevel, facility: "daemon" | "local7" | "authpriv") =>
    /^<(\d+)>/.exec(formatSyslog(entry("x", level), { ...OPTIONS, facility }))?.[1];
  const levels = ["FATAL", "ERROR", "WARNING", "LOG", "DEBUG", "NOISE"] as const;
  assert.deepEqual(
    levels.map((level) => priority(level, "daemon")),
    ["26", "27", "28", "30", "31", "31"],
  );
  assert.deepEqual([priority("LOG", "local7"), priority("LOG", "authpriv")], ["190", "86"]);
});

Deno.test("lines that syslog does not take are lost, counted, and told of when it takes some", () => {
  const sent: string[] = [];
  let isTaken = true;
  const send = (text: string) => {
    if (isTaken) sent.push(text.replace(/^.*\]: /, ""));
    return isTaken;
  };
  const syslog = new Syslog({ ...OPTIONS, send });
  syslog.write(entry("one"));
  isTaken = false;
  syslog.write(entry("two"));
  syslog.write(entry("three"));
  isTaken = true;
  syslog.write(entry("four"));
  syslog.write(entry("five"));
  assert.deepEqual(sent, ["one", "2 log lines were lost", "four", "five"]);
});
