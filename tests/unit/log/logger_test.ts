import assert from "node:assert/strict";
import { formatSecond, jsonLine, LineTimes } from "../../../src/log/log_line.ts";
import { Logger } from "../../../src/log/logger.ts";
import { FakeClock } from "../../support/fake_clock.ts";

function loggerAt(verbosity: number): { log: Logger; lines: string[] } {
  const lines: string[] = [];
  const clock = new FakeClock({ wallStartMs: Date.UTC(2026, 10, 22, 10, 35, 55, 34) });
  const sink = { write: (line: string) => void lines.push(line) };
  return { log: new Logger({ clock, processId: 4711, sink, verbosity }), lines };
}

function writeAll(log: Logger): void {
  log.fatal("f");
  log.error("e");
  log.warning("w");
  log.log("l");
  log.debug("d");
  log.noise("n");
}

Deno.test("Logger writes PgBouncer's line format: time in UTC, process, level, message", () => {
  const { log, lines } = loggerAt(0);
  log.log("C-0x1: db/user@127.0.0.1:53412 closing because: client close request (age=3s)");
  assert.deepEqual(lines, [
    "2026-11-22 10:35:55.034 UTC [4711] LOG C-0x1: db/user@127.0.0.1:53412 closing because: " +
    "client close request (age=3s)\n",
  ]);
});

Deno.test("Logger shows LOG and above, DEBUG from verbosity 1 and NOISE from 2", () => {
  const levels = (verbosity: number) => {
    const { log, lines } = loggerAt(verbosity);
    writeAll(log);
    return lines.map((line) => line.split(" ").at(-2));
  };
  assert.deepEqual(levels(0), ["FATAL", "ERROR", "WARNING", "LOG"]);
  assert.deepEqual(levels(1), ["FATAL", "ERROR", "WARNING", "LOG", "DEBUG"]);
  assert.deepEqual(levels(2), ["FATAL", "ERROR", "WARNING", "LOG", "DEBUG", "NOISE"]);
});

Deno.test("Logger.verbosity can be changed while running", () => {
  const { log, lines } = loggerAt(0);
  assert.equal(log.isNoisy, false);
  log.verbosity = 2;
  assert.equal(log.isNoisy, true);
  log.debug("seen");
  assert.equal(lines.length, 1);
});

Deno.test("a message is one line: a peer cannot forge a line of its own", () => {
  const { log, lines } = loggerAt(0);
  log.log("user\r\n2026-11-22 10:35:55.034 UTC [1] FATAL forged\0\n");
  assert.equal(lines.length, 1);
  assert.equal(lines[0]!.indexOf("\n"), lines[0]!.length - 1);
  assert.ok(!/[\r\0]/.test(lines[0]!));
});

Deno.test("LineTimes shows milliseconds with three digits", () => {
  const times = new LineTimes(" ");
  assert.equal(times.textOf(0), "1970-01-01 00:00:00.000");
  assert.equal(times.textOf(Date.UTC(2026, 0, 2, 3, 4, 5, 6)), "2026-01-02 03:04:05.006");
  assert.equal(times.textOf(Date.UTC(2026, 0, 2, 3, 4, 5, 67)), "2026-01-02 03:04:05.067");
  assert.equal(times.textOf(Date.UTC(2026, 0, 2, 3, 4, 5, 678)), "2026-01-02 03:04:05.678");
});

Deno.test("LineTimes follows a clock over seconds and years, by leaps, and back", () => {
  const newYear = Date.UTC(2027, 0, 1);
  const steps = [
    -1,
    0,
    1,
    999,
    999.9,
    1_000,
    1_001,
    59_999,
    60_000,
    3_600_000,
    86_400_000,
    1,
    0,
    -1,
  ];
  const moments = [...steps, -1_000, 999, -31_536_000_000, 0].map((step) => newYear + step);
  for (const separator of [" ", "T"]) {
    const times = new LineTimes(separator);
    assert.deepEqual(
      moments.map((wallMs) => times.textOf(wallMs)),
      moments.map((wallMs) => new Date(wallMs).toISOString().slice(0, 23).replace("T", separator)),
    );
  }
});

Deno.test("formatSecond() shows no more than the second", () => {
  assert.equal(formatSecond(Date.UTC(2026, 0, 2, 3, 4, 5, 999)), "2026-01-02 03:04:05");
});

Deno.test("Logger writes JSON of always the same fields once its lines are to be that, and back", () => {
  const { log, lines } = loggerAt(0);
  const before = log.lineOf;
  log.lineOf = jsonLine({ job: "sluice-1", processId: 4711 });
  log.log('C-0x1: "db"/üser\\@127.0.0.1:53412 closing because: …\n\x1b');
  log.fatal("");
  log.lineOf = before;
  log.log("back");
  assert.deepEqual(lines.slice(0, 2).map((line) => JSON.parse(line)), [
    {
      time: "2026-11-22T10:35:55.034Z",
      level: "LOG",
      job: "sluice-1",
      pid: 4711,
      message: 'C-0x1: "db"/üser\\@127.0.0.1:53412 closing because: … ',
    },
    { time: "2026-11-22T10:35:55.034Z", level: "FATAL", job: "sluice-1", pid: 4711, message: "" },
  ]);
  assert.ok(lines.every((line) => line.indexOf("\n") === line.length - 1));
  assert.equal(lines[2], "2026-11-22 10:35:55.034 UTC [4711] LOG back\n");
});
