/**
 * Waits for all sockets of one pooler at once, and hands out what happened by plain calls.
 *
 * HOT PATH. Budget: one `epoll_wait` and one look at the clock for all that is ready; per event
 * nothing.
 *
 * How it waits. While there is traffic it blocks the thread, and hands it to the runtime after a
 * millisecond and a half, or as soon as the runtime is called by its own sockets, signals or threads:
 * console and timers are not kept waiting for longer under load. Between two events it blocks for a
 * millisecond at most. When all is calm, that is when the runtime has not been called for a while, these
 * are twenty and five, or until the next timer is due. When nothing has happened for a while it waits on
 * another thread, and costs nothing at all.
 *
 * Who is told. Descriptors are watched once, for edges: what was told is remembered by the handler.
 * Each registration has a token of its own. An event of a registration that has ended, in the same
 * round or with its descriptor's number already given out again, has a token that nobody has.
 */

import { assert } from "../../base/assert.ts";
import type { HeldClock } from "../../base/clock.ts";
import type { LoopLag } from "../../stats/loop_lag.ts";
import type { Touchable } from "../byte_stream.ts";
import { BufferPool } from "./buffer_pool.ts";
import { EVENT, EventList, type LibcCalls } from "./libc.ts";
import { ReadingPauses } from "./reading_pauses.ts";
import { SendBatch } from "./send_batch.ts";

/** How long the runtime is kept from its own work; what is being handed out then comes on top. */
const SLICE_MS = 1.5;

/** Longest wait for events while the runtime may have work that no descriptor tells of. */
const WAIT_MS = 1;

/**
 * Longest wait when all is calm. It is longer than a tick of most kernels (4 ms): a wait that would end
 * before the next tick has the processor's timer set anew, and once more when it is over; in a virtual
 * machine that is a third of what one client costs.
 */
const CALM_MS = 5;

/**
 * When all is calm, the runtime has its turn after this time though nothing calls it: by so much may come
 * late what neither the pooler's clock nor the runtime's epoll tells of.
 */
const UNCALLED_MS = 20;

/** The same where promises have run since: who awaits may have begun something with the runtime. */
const BEGUN_MS = 5;

/** The runtime was called so lately that it may have more to do: all is not calm yet. */
const CALLED_MS = 20;

/** Nothing happened for so long: others may have the processor. */
const QUIET_MS = 20;

/** As deep as the promises of a login stand in one another, and some. */
const PROMISE_TICKS = 24;

/**
 * Readers that are let go on in one round. One of them is a step of a login, and takes as long as many
 * events of clients that are being served: those come in between.
 */
const MAX_READERS = 2;

/** Readers that are remembered after they were let go on, so that few are moved up often. */
const MAX_SERVED_READERS = 256;

/** Events taken in one go: few enough not to make a slice much longer than it should be. */
const MAX_EVENTS = 64;

/** From so many events on, it pays to have the memory of all of them fetched at the same time. */
const MIN_TOUCHED = 3;

/** Of so many connections most are far from the processor when their turn comes; of fewer few are. */
const MIN_FAR = 200;

/** Whoever has a registered descriptor. */
export interface ReactorHandler extends Touchable {
  /** Of its registration; the reactor's own note. */
  token: number;
  /** Something happened (`EVENT`). */
  onEvents(events: number): void;
  /** The turn that was asked for with `again()`, or at the end of a pause. */
  onTurn(): void;
}

/** Whoever awaits a chunk by a promise. */
export interface ReactorReader {
  /** Its turn, which was asked for with `letRead()`; it may await no longer. */
  onRead(): void;
}

type State =
  /** Keeps the thread, or has just lent it to the runtime. */
  | "busy"
  /** Another thread waits. */
  | "quiet"
  | "closed";

/** Lends the thread to the runtime; `RuntimeTurn` is made for that. */
export interface ThreadLoan {
  /** Readable when something calls the runtime; undefined if there is no such descriptor. */
  readonly callDescriptor: number | undefined;
  /** Calls `then` when all that can be done without the outside world has been done. */
  settle(then: () => void): void;
  /** Calls `then` when everybody who waits for the outside world has had a look at it. */
  yield(then: () => void): void;
}

/** What a reactor is made of. */
export interface ReactorOptions {
  readonly libc: LibcCalls;
  readonly clock: HeldClock;
  readonly turn: ThreadLoan;
  /** Told of each slice how late it comes; nobody is if left out. */
  readonly loopLag?: LoopLag | undefined;
  /** Told what a handler threw: our mistake, which must not stop the others. */
  readonly onError: (error: unknown) => void;
}

/** The reactor of one pooler. */
export class Reactor implements AsyncDisposable {
  readonly buffers = new BufferPool();
  readonly sends: SendBatch;
  readonly pauses: ReadingPauses<ReactorHandler>;
  readonly #libc: LibcCalls;
  readonly #clock: HeldClock;
  readonly #turn: ThreadLoan;
  readonly #loopLag: LoopLag | undefined;
  readonly #onError: (error: unknown) => void;
  readonly #epoll: number;
  /** Wakes the thread that waits. */
  readonly #wake: number;
  readonly #events = new EventList(MAX_EVENTS);
  /** By descriptor. */
  readonly #handlers: (ReactorHandler | undefined)[] = [];
  #handlerCount = 0;
  #lastToken = 0;
  /** Of the last round; without a meaning. */
  #touched = 0;
  #state: State = "quiet";
  /** Those who have work left, and those who are having their turn. */
  #waiting: ReactorHandler[] = [];
  #served: ReactorHandler[] = [];
  /** Those who await a chunk that is there; the first `#readCount` have been let go on. */
  readonly #readers: ReactorReader[] = [];
  #readCount = 0;
  #isTurnDue = false;
  /** Whether promises have run since the runtime's turn. */
  #havePromisesRun = false;
  /** Told when something calls the runtime. Only while the thread is kept: else the runtime hears it. */
  readonly #runtime: ReactorHandler = {
    token: 0,
    onEvents: () => {
      this.#isRuntimeCalled = true;
    },
    onTurn: () => {},
  };
  readonly #pauseTimer: ReactorHandler = {
    token: 0,
    onEvents: () => this.pauses.end(),
    onTurn: () => {},
  };
  #hearsRuntime = false;
  #isRuntimeCalled = false;
  #lastCallMs = -Infinity;
  /** Awaited for a tick: anything else would be made into a promise first. */
  readonly #settled = Promise.resolve();
  /** How many sinks hold a chunk: their promises may settle unseen. */
  #heldCount = 0;
  #sliceEndMs = 0;
  /** When the runtime last had its turn. */
  #lentAtMs = 0;
  /** On the clock of the lag: when the next slice is due. */
  #sliceDueMs = 0;
  #lastEventMs = 0;
  #apart: Promise<void> | undefined;

  /** @throws {LibcError} If the system refuses. */
  constructor({ clock, libc, loopLag, onError, turn }: ReactorOptions) {
    this.#libc = libc;
    this.#onError = onError;
    this.#clock = clock;
    this.#turn = turn;
    this.#loopLag = loopLag;
    this.#epoll = this.#checked(libc.epoll());
    this.#wake = libc.counter();
    const result = this.#wake < 0
      ? this.#wake
      : libc.watch(this.#epoll, this.#wake, { events: EVENT.in, token: 0 });
    if (result < 0) {
      this.#closeDescriptors();
      throw libc.error(result);
    }
    this.sends = new SendBatch(libc, onError);
    this.pauses = new ReadingPauses({
      libc,
      watch: (timer) => this.#tryToRegister(timer, EVENT.in, this.#pauseTimer),
      again: (reader) => this.again(reader),
    });
  }

  /**
   * Watches a descriptor for edges of `events`.
   * @throws {LibcError} If the system refuses.
   */
  register(descriptor: number, events: number, handler: ReactorHandler): void {
    this.#checked(this.#tryToRegister(descriptor, events, handler));
    if (this.#state === "quiet" && this.#apart === undefined) this.#waitApart();
  }

  /** Returns a negative errno if the system refuses. */
  #tryToRegister(descriptor: number, events: number, handler: ReactorHandler): number {
    assert(this.#handlers[descriptor] === undefined, "A descriptor has one owner");
    this.#lastToken = (this.#lastToken + 1) | 0;
    handler.token = this.#lastToken;
    const interest = { events: events | EVENT.edgeTriggered, token: handler.token };
    const result = this.#libc.watch(this.#epoll, descriptor, interest);
    if (result < 0) return result;
    this.#handlers[descriptor] = handler;
    this.#handlerCount += 1;
    return result;
  }

  /** Watches for other events; what is already there is told anew. */
  watchFor(descriptor: number, events: number): void {
    const { token } = this.#handlers[descriptor]!;
    const interest = { events: events | EVENT.edgeTriggered, token };
    this.#checked(this.#libc.watchFor(this.#epoll, descriptor, interest));
  }

  /**
   * Ends a registration: no event reaches its handler again. To be called before the descriptor is
   * closed, or handed to another handler, which registers it anew.
   */
  release(descriptor: number, reason: "closing" | "handing_over" = "closing"): void {
    if (this.#handlers[descriptor] !== undefined) this.#handlerCount -= 1;
    this.#handlers[descriptor] = undefined;
    // The kernel forgets what is closed by itself.
    if (reason === "handing_over") this.#libc.unwatch(this.#epoll, descriptor);
  }

  /** Gives a handler another turn, after all others that are ready. */
  again(handler: ReactorHandler): void {
    this.#waiting.push(handler);
    if (this.#state === "quiet" && this.#waiting.length === 1) this.#turn.settle(this.#onWork);
  }

  /** Lets a reader go on whose chunk is there: in its turn, a few in a round. */
  letRead(reader: ReactorReader): void {
    this.#readers.push(reader);
    if (this.#state === "quiet" && this.#readers.length === 1) this.#turn.settle(this.#onWork);
  }

  /** A promise was settled for somebody: he is to get on before anybody blocks the thread. */
  needTurn(): void {
    this.#isTurnDue = true;
  }

  /** A sink holds a chunk: its promise may be settled by anything. */
  beginHold(): void {
    this.#heldCount += 1;
  }

  /** It holds it no longer. */
  endHold(): void {
    this.#heldCount -= 1;
  }

  /** Ends waiting; whatever is still registered hears nothing more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#state = "closed";
    this.#libc.count(this.#wake);
    await this.#apart;
    // A slice that was to come finds that it is over.
    await new Promise<void>((resolve) => this.#turn.settle(resolve));
    this.#handlers.length = 0;
    this.sends[Symbol.dispose]();
    this.pauses[Symbol.dispose]();
    this.#closeDescriptors();
  }

  #closeDescriptors(): void {
    this.#libc.close(this.#epoll);
    if (this.#wake >= 0) this.#libc.close(this.#wake);
  }

  /** Rounds until it is the runtime's turn. */
  readonly #run = (): void => {
    while (this.#state === "busy") {
      if (this.#isCalm()) this.#calmRound();
      else this.#round(this.#hasWork() ? 0 : WAIT_MS);
      if (this.#isRuntimeCalled) return this.#endSlice();
      if (this.#clock.seenMs >= this.#sliceEndMs) {
        if (this.#isTurnOfRuntime()) return this.#endSlice();
        this.#startSlice();
      }
      if (this.#isTurnDue) {
        this.#isTurnDue = false;
        this.#havePromisesRun = true;
        return void this.#runAfterPromises();
      }
      if (this.#heldCount > 0) return queueMicrotask(this.#run);
    }
  };

  /** A round after a wait until the next timer is due, within limits. */
  #calmRound(): void {
    const fromMs = this.#clock.look().seenMs;
    const timeoutMs = Math.max(WAIT_MS, this.#clock.nextDueInMs(CALM_MS));
    this.#round(timeoutMs);
    // The runtime was not called: it lacked nothing. What the wait took longer than it was to is lag.
    const untilMs = Math.min(this.#clock.seenMs, fromMs + timeoutMs);
    this.#sliceDueMs += Math.max(0, untilMs - Math.max(fromMs, this.#sliceEndMs));
  }

  /** Whether nobody has anything to do that is not told by a descriptor or due by a timer. */
  #isCalm(): boolean {
    return this.#hearsRuntime && !this.#hasWork() && this.#heldCount === 0 &&
      this.#lastEventMs - this.#lastCallMs > CALLED_MS;
  }

  /** Whether the runtime may have anything to do, at the end of a slice. */
  #isTurnOfRuntime(): boolean {
    const keptMs = this.#clock.seenMs - this.#lentAtMs;
    return !this.#isCalm() || this.#clock.nextDueInMs(1) <= 0 ||
      keptMs >= (this.#havePromisesRun ? BEGUN_MS : UNCALLED_MS);
  }

  /**
   * Goes on when those whose promises were settled have got on: a turn of the runtime would do, at
   * many times the cost. Who has further to go than this goes on after the next round, or at the
   * latest with the runtime's turn.
   */
  async #runAfterPromises(): Promise<void> {
    for (let i = 0; i < PROMISE_TICKS; i++) await this.#settled;
    this.#run();
  }

  /** Waits, and hands out what happened. */
  #round(timeoutMs: number): void {
    this.#handOut(this.#libc.wait(this.#epoll, this.#events, timeoutMs));
  }

  /** Hands out what happened, and the turns that are due. */
  #handOut(count: number): void {
    this.#clock.hold();
    this.sends.open();
    try {
      this.#dispatch(count);
      this.#serveWaiting();
      this.#serveReaders();
    } finally {
      this.#clock.release();
      this.sends.close();
    }
    // That the runtime is called is no traffic.
    if (count > (this.#isRuntimeCalled ? 1 : 0)) this.#lastEventMs = this.#clock.seenMs;
    if (this.#isRuntimeCalled) this.#lastCallMs = this.#clock.seenMs;
  }

  /** The runtime's turn; after it the next slice, or rest. */
  #endSlice(): void {
    if (this.#state === "closed") return;
    this.#isTurnDue = false;
    this.#havePromisesRun = false;
    this.#isRuntimeCalled = false;
    const isQuiet = this.#clock.seenMs - this.#lastEventMs > QUIET_MS && !this.#hasWork();
    if (isQuiet) this.#waitApart();
    else this.#turn.yield(this.#beginSlice);
  }

  readonly #beginSlice = (): void => {
    this.#startSlice();
    this.#lentAtMs = this.#clock.seenMs;
    this.#run();
  };

  #startSlice(): void {
    this.#sliceEndMs = this.#clock.look().seenMs + SLICE_MS;
    const lag = this.#loopLag;
    // As long as the one before it was to be, and the runtime's turn of no length.
    if (lag !== undefined) this.#sliceDueMs = lag.note(this.#sliceDueMs) + SLICE_MS;
  }

  /** From now on the runtime has no look at what calls it, unless it is lent the thread. */
  #hearRuntime(): void {
    const descriptor = this.#turn.callDescriptor;
    if (descriptor === undefined) return;
    this.#hearsRuntime = this.#tryToRegister(descriptor, EVENT.in, this.#runtime) >= 0;
  }

  #leaveRuntime(): void {
    if (!this.#hearsRuntime) return;
    this.#hearsRuntime = false;
    this.release(this.#turn.callDescriptor!, "handing_over");
  }

  #waitApart(): void {
    this.#state = "quiet";
    this.#leaveRuntime();
    this.#apart = this.#libc.waitApart(this.#epoll, this.#events).then(this.#onWake);
  }

  readonly #onWake = (count: number): void => {
    this.#apart = undefined;
    if (this.#state === "closed") return;
    this.#state = "busy";
    this.#hearRuntime();
    if (this.#loopLag !== undefined) this.#sliceDueMs = this.#loopLag.nowMs();
    this.#handOut(count);
    // Promises that were settled just now come first.
    this.#turn.settle(this.#beginSlice);
  };

  /** Turns asked for while another thread waits for events. */
  readonly #onWork = (): void => {
    // Whoever asks again meanwhile brings it here again.
    if (this.#state !== "quiet") return;
    this.#serveWaiting();
    this.#serveReaders();
    if (this.#readers.length > 0) this.#turn.settle(this.#onWork);
  };

  #dispatch(count: number): void {
    const events = this.#events;
    if (count >= MIN_TOUCHED && this.#handlerCount >= MIN_FAR) this.#touchAll(count);
    for (let i = 0; i < count; i++) {
      const handler = this.#handlers[events.descriptor(i)];
      if (handler === undefined || handler.token !== events.token(i)) continue;
      try {
        handler.onEvents(events.events(i));
      } catch (error) {
        this.#onError(error);
      }
    }
  }

  /** Has memory fetched that is about to be needed. */
  #touchAll(count: number): void {
    const events = this.#events;
    let sum = 0;
    for (let i = 0; i < count; i++) sum += this.#handlers[events.descriptor(i)]?.touch?.() ?? 0;
    for (let i = 0; i < count; i++) sum += this.#handlers[events.descriptor(i)]?.touchRest?.() ?? 0;
    // Kept, since the compiler leaves out what nobody can see.
    this.#touched = sum | 0;
  }

  #hasWork(): boolean {
    return this.#waiting.length > 0 || this.#readers.length > 0;
  }

  #serveReaders(): void {
    const readers = this.#readers;
    if (readers.length === 0) return;
    const end = Math.min(readers.length, this.#readCount + MAX_READERS);
    while (this.#readCount < end) {
      try {
        readers[this.#readCount++]!.onRead();
      } catch (error) {
        this.#onError(error);
      }
    }
    // A storm may go on for long: what was served is not kept until its end.
    if (this.#readCount < readers.length && this.#readCount < MAX_SERVED_READERS) return;
    readers.splice(0, this.#readCount);
    this.#readCount = 0;
  }

  #serveWaiting(): void {
    const served = this.#waiting;
    if (served.length === 0) return;
    this.#waiting = this.#served;
    this.#served = served;
    for (let i = 0; i < served.length; i++) {
      try {
        served[i]!.onTurn();
      } catch (error) {
        this.#onError(error);
      }
    }
    served.length = 0;
  }

  /** @throws {LibcError} If the call failed. */
  #checked(result: number): number {
    if (result < 0) throw this.#libc.error(result);
    return result;
  }
}
