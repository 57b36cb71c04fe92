/** What signals ask of a pooler. */

import assert from "node:assert/strict";
import { signalActions, type SignalTarget } from "../../../src/app/signals.ts";
import { Logger } from "../../../src/log/logger.ts";
import { PgError } from "../../../src/wire/pg_error.ts";
import { SQLSTATE } from "../../../src/wire/sqlstate.ts";
import { FakeClock } from "../../support/fake_clock.ts";

/** A pooler that notes what it is asked for, and refuses as it is told. */
function fixture(refusal?: Error, isShuttingDown = false) {
  const asked: string[] = [];
  const lines: string[] = [];
  const log = new Logger({
    clock: new FakeClock(),
    processId: 1,
    verbosity: 0,
    sink: { write: (line) => void lines.push(line.replace(/^.*\[1\] /, "").trimEnd()) },
  });
  const pooler = {
    isShuttingDown,
    reload: () => Promise.resolve(asked.push("reload") > 0),
    shutdown: (mode: string) => void asked.push(mode),
    operations: {
      pause: (database: string | undefined) => {
        asked.push(`pause ${database}`);
        return refusal === undefined ? Promise.resolve() : Promise.reject(refusal);
      },
      resume: (database: string | undefined) => {
        asked.push(`resume ${database}`);
        if (refusal !== undefined) throw refusal;
      },
    },
  } as unknown as SignalTarget["pooler"];
  const end = new AbortController();
  const rotate = () => void asked.push("rotate");
  return { asked, lines, end, actions: signalActions({ pooler, log, rotate }, end.signal) };
}

/** All that was begun has been carried out. */
const settled = () => new Promise((resolve) => setTimeout(resolve));

Deno.test("each signal asks for what it asks of PgBouncer", async () => {
  const { actions, asked, lines } = fixture();
  for (const action of actions.values()) action();
  await settled();
  assert.deepEqual([...actions.keys()], [
    ...["SIGHUP", "SIGTERM", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2"],
  ]);
  assert.deepEqual(asked, [
    ...["rotate", "reload", "wait_for_clients", "wait_for_servers", "immediate"],
    ...["pause undefined", "resume undefined"],
  ]);
  assert.equal(lines[0], "LOG got SIGHUP, re-reading config");
  assert.deepEqual(lines.slice(-2), ["LOG got SIGUSR1", "LOG got SIGUSR2"]);
});

Deno.test("a signal to end while the pooler ends has it end at once", () => {
  const { actions, asked } = fixture(undefined, true);
  for (const signal of ["SIGTERM", "SIGINT"] as const) actions.get(signal)!();
  assert.deepEqual(asked, ["immediate", "immediate"]);
});

Deno.test("a signal that is refused leaves one line in the log, and nothing else", async () => {
  const refusal = new PgError(SQLSTATE.cannotConnectNow, "pooler is shutting down");
  const { actions, lines } = fixture(refusal);
  actions.get("SIGUSR1")!();
  actions.get("SIGUSR2")!();
  await settled();
  assert.deepEqual(lines.toSorted(), [
    "LOG got SIGUSR1",
    "LOG got SIGUSR2",
    "WARNING SIGUSR1 is ignored: pooler is shutting down",
    "WARNING SIGUSR2 is ignored: pooler is shutting down",
  ]);
});

Deno.test("a fault of our own met by a signal is told in full, but not a PAUSE given up at the end", async () => {
  const { actions, end, lines } = fixture(new Error("odd"));
  actions.get("SIGUSR1")!();
  await settled();
  assert.match(lines[1] ?? "", /^ERROR internal error: Error: odd/);
  end.abort();
  actions.get("SIGUSR1")!();
  await settled();
  assert.deepEqual(lines.slice(2), ["LOG got SIGUSR1"]);
});
