/** What systemd is told, and when. */

import assert from "node:assert/strict";
import { planNotify, ServiceNotifier } from "../../../src/app/service_notifier.ts";
import { FakeClock } from "../../support/fake_clock.ts";

function plan(env: Readonly<Record<string, string>>) {
  return planNotify((name) => env[name], 4_711);
}

function fixture(watchdogMs?: number) {
  const clock = new FakeClock();
  const sent: string[] = [];
  const notifier = new ServiceNotifier({
    clock,
    processId: 4_711,
    monotonicUs: () => 12_345n,
    send: (text) => void sent.push(text),
    watchdogMs,
  });
  return { clock, sent, notifier };
}

Deno.test("nobody is notified without NOTIFY_SOCKET, or with one of another kind", () => {
  assert.equal(plan({}), undefined);
  assert.equal(plan({ NOTIFY_SOCKET: "" }), undefined);
  assert.equal(plan({ NOTIFY_SOCKET: "vsock:2:1" }), undefined);
});

Deno.test("a sign of life is due at half of WATCHDOG_USEC, if it is asked of this process", () => {
  const socket = "@notify";
  const watchdogOf = (env: Readonly<Record<string, string>>) =>
    plan({ NOTIFY_SOCKET: socket, ...env });
  assert.deepEqual(watchdogOf({}), { socket, watchdogMs: undefined });
  assert.equal(watchdogOf({ WATCHDOG_USEC: "3000000" })?.watchdogMs, 1_500);
  assert.equal(watchdogOf({ WATCHDOG_USEC: "3000000", WATCHDOG_PID: "4711" })?.watchdogMs, 1_500);
  for (const usec of ["0", "-1", "soon", ""]) {
    assert.equal(watchdogOf({ WATCHDOG_USEC: usec })?.watchdogMs, undefined, usec);
  }
  const another = watchdogOf({ WATCHDOG_USEC: "3000000", WATCHDOG_PID: "1" });
  assert.equal(another?.watchdogMs, undefined);
});

Deno.test("the messages are those of a service of the type notify-reload", () => {
  const { notifier, sent } = fixture();
  notifier.ready("serving");
  notifier.reloading();
  notifier.reloaded("serving still");
  notifier.stopping();
  assert.deepEqual(sent, [
    "READY=1\nMAINPID=4711\nSTATUS=serving",
    "RELOADING=1\nMONOTONIC_USEC=12345",
    "READY=1\nSTATUS=serving still",
    "STOPPING=1\nSTATUS=shutting down",
  ]);
});

Deno.test("a reload that ends after the end has begun does not say that all is well", () => {
  const { notifier, sent } = fixture();
  notifier.ready("serving");
  notifier.stopping();
  notifier.reloading();
  notifier.reloaded("serving");
  assert.equal(sent.length, 2);
});

Deno.test("signs of life go out from ready on, while it ends too, until it is disposed of", async () => {
  const { clock, notifier, sent } = fixture(1_500);
  await clock.advance(10_000);
  assert.deepEqual(sent, []);
  notifier.ready("serving");
  await clock.advance(3_000);
  notifier.stopping();
  await clock.advance(1_500);
  const signs = () => sent.filter((text) => text === "WATCHDOG=1").length;
  assert.equal(signs(), 3);
  notifier[Symbol.dispose]();
  await clock.advance(10_000);
  assert.equal(signs(), 3);
});
