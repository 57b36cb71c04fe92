/**
 * A reactor over a C library whose events are written out by the test and a runtime whose turns the
 * test takes: nothing happens unless the test says so.
 */

import assert from "node:assert/strict";
import { HeldClock, type Timer } from "../../../src/base/clock.ts";
import { EVENT, type EventList, type Interest, type Libc } from "../../../src/net/native/libc.ts";
import { Reactor, type ReactorHandler, type ThreadLoan } from "../../../src/net/native/reactor.ts";
import { LoopLag } from "../../../src/stats/loop_lag.ts";
import { FakeClock, settle } from "../../support/fake_clock.ts";
import { SingleSends } from "../../support/single_sends.ts";

/** One event as epoll tells it. */
interface ScriptedEvent {
  readonly descriptor: number;
  readonly token: number;
  readonly events: number;
}

/** What the reactor asks of the C library. */
class ScriptedLibc {
  /** Batches for the next waits; when there are none, a wait takes a millisecond and brings nothing. */
  readonly batches: ScriptedEvent[][] = [];
  readonly interests = new Map<number, Interest>();
  readonly closed: number[] = [];
  /** The timeouts that were asked for. */
  readonly timeouts: number[] = [];
  /** How much longer a wait takes than it was to. */
  overrunMs = 0;
  /** Descriptors that cannot be watched. */
  readonly refused = new Set<number>();
  apartCount = 0;
  /** Called whenever something is sent. */
  onSend: () => void = () => {};
  readonly #clock: FakeClock;
  #apart: ((count: number) => void) | undefined;
  #apartEvents: EventList | undefined;

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  get isApart(): boolean {
    return this.#apart !== undefined;
  }

  openSends(_count: number, bytes: Uint8Array): SingleSends {
    return new SingleSends(this, bytes);
  }

  send(_descriptor: number, _buffer: Uint8Array, start: number, end: number): number {
    this.onSend();
    return end - start;
  }

  epoll(): number {
    return 100;
  }

  counter(): number {
    return 101;
  }

  /** There is none. */
  timer(): number {
    return -1;
  }

  watch(_epoll: number, descriptor: number, interest: Interest): number {
    if (this.refused.has(descriptor)) return -1;
    this.interests.set(descriptor, interest);
    return 0;
  }

  watchFor(_epoll: number, descriptor: number, interest: Interest): number {
    this.interests.set(descriptor, interest);
    return 0;
  }

  unwatch(_epoll: number, descriptor: number): void {
    this.interests.delete(descriptor);
  }

  wait(_epoll: number, events: EventList, timeoutMs: number): number {
    this.timeouts.push(timeoutMs);
    const batch = this.batches.shift();
    if (batch !== undefined) return write(events, batch);
    this.#clock.advance(timeoutMs + this.overrunMs);
    return 0;
  }

  waitApart(_epoll: number, events: EventList): Promise<number> {
    assert.equal(this.#apart, undefined, "One thread waits");
    this.apartCount += 1;
    this.#apartEvents = events;
    return new Promise((resolve) => this.#apart = resolve);
  }

  /** Lets the wait apart end with a batch, or with a failure. */
  wake(batch: ScriptedEvent[] | "failed"): void {
    const apart = this.#apart!;
    this.#apart = undefined;
    apart(batch === "failed" ? -1 : write(this.#apartEvents!, batch));
  }

  /** Wakes the wait apart, as the counter that it watches does. */
  count(_descriptor: number): void {
    if (this.isApart) this.wake([]);
  }

  close(descriptor: number): void {
    this.closed.push(descriptor);
  }

  error(negativeErrno: number): Error {
    return new Error(`os error ${-negativeErrno}`);
  }
}

/** Writes a batch as the kernel does. */
function write(events: EventList, batch: readonly ScriptedEvent[]): number {
  const words = new Int32Array(events.bytes.buffer);
  const size = words.length / events.capacity;
  for (const [i, event] of batch.entries()) {
    words[i * size] = event.events;
    words[i * size + size - 2] = event.descriptor;
    words[i * size + size - 1] = event.token;
  }
  return batch.length;
}

/** Turns that are had when the test takes them; only then timers fire, as the runtime's do. */
class ScriptedTurn implements ThreadLoan {
  readonly settling: (() => void)[] = [];
  readonly yielding: (() => void)[] = [];
  callDescriptor: number | undefined;
  yieldCount = 0;
  readonly #clock: FakeClock;
  #timers: { readonly dueMs: number; readonly fire: () => void }[] = [];

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  startTimer(delayMs: number, fire: () => void): Timer {
    const timer = { dueMs: this.#clock.nowMs() + delayMs, fire };
    this.#timers.push(timer);
    return { cancel: () => this.#timers = this.#timers.filter((other) => other !== timer) };
  }

  settle(then: () => void): void {
    this.settling.push(then);
  }

  yield(then: () => void): void {
    this.yieldCount += 1;
    this.yielding.push(then);
  }

  /** One turn of the runtime: all that waited for it before. */
  take(): void {
    const due = [...this.settling.splice(0), ...this.yielding.splice(0)];
    const nowMs = this.#clock.nowMs();
    const timers = this.#timers.filter(({ dueMs }) => dueMs <= nowMs);
    this.#timers = this.#timers.filter(({ dueMs }) => dueMs > nowMs);
    for (const { fire } of timers) fire();
    for (const then of due) then();
  }
}

/** A handler that notes what it is told, and does what the test wants. */
export class ScriptedHandler implements ReactorHandler {
  token = 0;
  readonly told: number[] = [];
  turns = 0;
  onEventsDo: (events: number) => void = () => {};
  onTurnDo: () => void = () => {};
  touch?: () => number;
  touchRest?: () => number;

  onEvents(events: number): void {
    this.told.push(events);
    this.onEventsDo(events);
  }

  onTurn(): void {
    this.turns += 1;
    this.onTurnDo();
  }
}

/** A reactor and all that it stands on. */
export class ReactorWorld implements AsyncDisposable {
  readonly base = new FakeClock();
  readonly turn = new ScriptedTurn(this.base);
  readonly clock = new HeldClock({
    seenMs: 0,
    look: () => this.base.look(),
    nowMs: () => this.base.nowMs(),
    wallMs: () => this.base.wallMs(),
    startTimer: (delayMs, fire) => this.turn.startTimer(delayMs, fire),
  });
  readonly libc = new ScriptedLibc(this.base);
  readonly errors: unknown[] = [];
  readonly loopLag = new LoopLag(this.base);
  readonly reactor = new Reactor({
    libc: this.libc as unknown as Libc,
    clock: this.clock,
    turn: this.turn,
    loopLag: this.loopLag,
    onError: (error) => this.errors.push(error),
  });

  add(descriptor: number, events: number = EVENT.in): ScriptedHandler {
    const handler = new ScriptedHandler();
    this.reactor.register(descriptor, events, handler);
    return handler;
  }

  /** An event of a registration that is in force now. */
  event(descriptor: number, events: number = EVENT.in): ScriptedEvent {
    return { descriptor, token: this.libc.interests.get(descriptor)!.token, events };
  }

  /** Brings a batch to a reactor that is at rest. */
  async wake(...batch: ScriptedEvent[]): Promise<void> {
    this.libc.wake(batch);
    await settle();
  }

  /** Takes turns until the reactor is at rest. */
  async rest(): Promise<void> {
    for (let i = 0; !this.libc.isApart; i++) {
      assert.ok(i < 1_000, "It comes to rest");
      this.turn.take();
      await settle();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const disposing = this.reactor[Symbol.asyncDispose]();
    await settle();
    this.turn.take();
    await disposing;
    this.turn.take();
    assert.deepEqual(this.libc.closed, [100, 101]);
    assert.equal(this.libc.isApart, false);
  }
}

/** A test of a reactor in a world of its own. */
export function test(title: string, run: (world: ReactorWorld) => Promise<void>): void {
  Deno.test(`Reactor: ${title}`, async () => {
    await using world = new ReactorWorld();
    await run(world);
  });
}
