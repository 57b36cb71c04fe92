import assert from "node:assert/strict";
import { acceptedConns } from "../../../../src/net/portable/accepted_conns.ts";
import { FakeClock, settle } from "../../../support/fake_clock.ts";

/** A listener whose every `accept()` is answered as listed; then it is closed. */
function scriptedListener(answers: readonly (Deno.Conn | Error)[]): Deno.Listener {
  const rest = [...answers, new Deno.errors.BadResource("Listener has been closed")];
  const accept = () => {
    const answer = rest.shift()!;
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  };
  return { accept } as unknown as Deno.Listener;
}

function conn(name: string): Deno.Conn {
  return { name } as unknown as Deno.Conn;
}

/** Runs the loop over a script, letting a pause pass whenever one is taken. */
async function run(answers: readonly (Deno.Conn | Error)[]) {
  const clock = new FakeClock();
  const errors: unknown[] = [];
  const accepted: Deno.Conn[] = [];
  const options = { clock, onError: (error: unknown) => errors.push(error) };
  const loop = (async () => {
    for await (const taken of acceptedConns(scriptedListener(answers), options)) {
      accepted.push(taken);
    }
  })();
  const pauses: number[] = [];
  await settle();
  while (clock.nextTimerAtMs !== undefined) {
    pauses.push(clock.nextTimerAtMs - clock.nowMs());
    clock.fireNextTimer();
    await settle();
  }
  await loop;
  return { accepted, errors, pauses };
}

Deno.test("acceptedConns() pauses when descriptors run out, and goes on", async () => {
  const [a, b] = [conn("a"), conn("b")];
  const outOf = new Error("Too many open files (os error 24)");
  const { accepted, errors, pauses } = await run([a, outOf, outOf, b]);
  assert.deepEqual(accepted, [a, b]);
  assert.deepEqual(errors, [outOf, outOf]);
  assert.deepEqual(pauses, [1_000, 1_000]);
});

Deno.test("acceptedConns() makes nothing of a peer that left before it was accepted", async () => {
  const a = conn("a");
  const { accepted, errors, pauses } = await run([
    new Deno.errors.ConnectionAborted("gone"),
    new Deno.errors.ConnectionReset("gone"),
    new Deno.errors.NotConnected("not connected (os error 107)"),
    a,
  ]);
  assert.deepEqual({ accepted, errors, pauses }, { accepted: [a], errors: [], pauses: [] });
});

Deno.test("acceptedConns() ends when the listener is closed under it", async () => {
  const { accepted, errors } = await run([new Deno.errors.Interrupted("closed"), conn("never")]);
  assert.deepEqual({ accepted, errors }, { accepted: [], errors: [] });
});
