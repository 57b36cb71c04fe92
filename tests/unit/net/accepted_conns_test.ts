import assert from "node:assert/strict";
import { acceptedConns } from "../../../src/net/portable/accepted_conns.ts";
import { FakeClock } from "../../support/fake_clock.ts";

/** A listener whose accepts end as listed; then it is closed. */
function listenerOf(outcomes: readonly (Error | Deno.Conn)[]): Deno.Listener {
  const left = [...outcomes];
  const accept = () => {
    const next = left.shift() ?? new Deno.errors.BadResource("Listener has been closed");
    return next instanceof Error ? Promise.reject(next) : Promise.resolve(next);
  };
  return { accept } as unknown as Deno.Listener;
}

const CONN = {} as Deno.Conn;

for (
  const [what, error] of [
    ["reset before it was accepted", new Deno.errors.NotConnected("not connected (os error 107)")],
    ["aborted", new Deno.errors.ConnectionAborted("aborted")],
    ["reset", new Deno.errors.ConnectionReset("reset")],
  ] as const
) {
  Deno.test(`acceptedConns() goes on at once after a connection that was ${what}`, async () => {
    const clock = new FakeClock();
    const errors: unknown[] = [];
    const listener = listenerOf([error, error, CONN]);
    const conns: Deno.Conn[] = [];
    for await (const conn of acceptedConns(listener, { clock, onError: (e) => errors.push(e) })) {
      conns.push(conn);
    }
    assert.deepEqual([conns.length, errors.length, clock.timerCount], [1, 0, 0]);
  });
}

Deno.test("acceptedConns() pauses when descriptors are short, tells why, and goes on", async () => {
  const clock = new FakeClock();
  const errors: unknown[] = [];
  const shortage = new Error("Too many open files (os error 24)");
  const conns = acceptedConns(listenerOf([shortage, CONN]), {
    clock,
    onError: (error) => errors.push(error),
  });
  const next = conns.next();
  while (clock.timerCount === 0) await Promise.resolve();
  assert.deepEqual(errors, [shortage]);
  await clock.advanceAsync(1_000);
  assert.equal((await next).value, CONN);
  assert.equal((await conns.next()).done, true);
});
