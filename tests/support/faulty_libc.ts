/**
 * The C library, with the faults that a kernel is free to have: it takes and gives less than it was
 * asked for, says "not now" though it could, is interrupted, and runs out of descriptors.
 *
 * A lie must not cost an edge: a kernel that says "not now" tells when it has become otherwise. So
 * after each lie the descriptor's interest is registered anew, upon which epoll tells what is there.
 */

import {
  ERRNO,
  type EventList,
  type Interest,
  type Libc,
  type LibcCalls,
  type LibcError,
  type SocketOption,
} from "../../src/net/native/libc.ts";
import type { Sends } from "../../src/net/native/send_ring.ts";
import { SingleSends } from "./single_sends.ts";

/** Calls that can be made to fail. */
export type CallName = Extract<keyof Libc, string>;

/** Which faults there are. */
export interface Faults {
  /**
   * Asked before each call, with how often that one has been made, from 1 on, and on which
   * descriptor. A negative errno is answered in place of the call; undefined lets it be made.
   */
  readonly answer?: (call: CallName, count: number, descriptor: number) => number | undefined;
  /** How much of so many bytes the kernel takes at once; at least one. */
  readonly takes?: (byteCount: number) => number;
  /** How much it gives at once. */
  readonly gives?: (byteCount: number) => number;
}

/** Where a descriptor is watched. */
interface Watch {
  readonly epoll: number;
  readonly interest: Interest;
}

/** A C library to be tried with. */
export class FaultyLibc implements LibcCalls {
  /** May be changed while it is in use. */
  faults: Faults;
  readonly #libc: LibcCalls;
  readonly #counts = new Map<CallName, number>();
  readonly #watches = new Map<number, Watch>();
  /** Descriptors whose next bytes have been shown: they are certainly there. */
  readonly #peeked = new Set<number>();
  readonly #open = new Set<number>();

  constructor(libc: LibcCalls, faults: Faults = {}) {
    this.#libc = libc;
    this.faults = faults;
  }

  /** The descriptors that were given out here and have not been given back. */
  get open(): ReadonlySet<number> {
    return this.#open;
  }

  /** How often a call was made, those that failed included. */
  callCount(call: CallName): number {
    return this.#counts.get(call) ?? 0;
  }

  /** The library belongs to whoever opened it. */
  [Symbol.dispose](): void {}

  receive(descriptor: number, buffer: Uint8Array, length: number): number {
    const fault = this.#fault("receive", descriptor);
    // Nobody but us reads: what was there a moment ago still is.
    if (this.#peeked.delete(descriptor)) return this.#libc.receive(descriptor, buffer, length);
    if (fault !== undefined) return this.#lie(descriptor, fault);
    const wanted = this.faults.gives?.(length) ?? length;
    const count = this.#libc.receive(descriptor, buffer, wanted);
    return wanted < length ? this.#lie(descriptor, count) : count;
  }

  peek(descriptor: number, buffer: Uint8Array, length: number): number {
    const fault = this.#fault("peek", descriptor);
    if (fault !== undefined) return this.#lie(descriptor, fault);
    const wanted = this.faults.gives?.(length) ?? length;
    const count = this.#libc.peek(descriptor, buffer, wanted);
    if (count > 0) this.#peeked.add(descriptor);
    return count;
  }

  send(descriptor: number, buffer: Uint8Array, start: number, end: number): number {
    // The reactor's own bell: one byte, which always has room.
    if (!this.#watches.has(descriptor)) return this.#libc.send(descriptor, buffer, start, end);
    const fault = this.#fault("send", descriptor);
    if (fault !== undefined) return this.#lie(descriptor, fault);
    const wanted = this.faults.takes?.(end - start) ?? end - start;
    const count = this.#libc.send(descriptor, buffer, start, start + wanted);
    return start + wanted < end ? this.#lie(descriptor, count) : count;
  }

  socket(family: number): number {
    return this.#opened(this.#fault("socket", -1) ?? this.#libc.socket(family));
  }

  connect(descriptor: number, address: Uint8Array): number {
    return this.#fault("connect", descriptor) ?? this.#libc.connect(descriptor, address);
  }

  accept(descriptor: number, address: Uint8Array): number {
    const fault = this.#fault("accept", descriptor);
    if (fault !== undefined) return this.#lie(descriptor, fault);
    return this.#opened(this.#libc.accept(descriptor, address));
  }

  finishSending(descriptor: number): number {
    return this.#fault("finishSending", descriptor) ?? this.#libc.finishSending(descriptor);
  }

  finishListening(descriptor: number): number {
    return this.#fault("finishListening", descriptor) ?? this.#libc.finishListening(descriptor);
  }

  close(descriptor: number): void {
    this.#fault("close", descriptor);
    this.#watches.delete(descriptor);
    this.#peeked.delete(descriptor);
    this.#open.delete(descriptor);
    this.#libc.close(descriptor);
  }

  localAddress(descriptor: number): Uint8Array | undefined {
    if (this.#fault("localAddress", descriptor) !== undefined) return undefined;
    return this.#libc.localAddress(descriptor);
  }

  peerAddress(descriptor: number): Uint8Array | undefined {
    if (this.#fault("peerAddress", descriptor) !== undefined) return undefined;
    return this.#libc.peerAddress(descriptor);
  }

  option(
    descriptor: number,
    option: { level: number; name: number; byteCount: number },
  ): DataView | undefined {
    if (this.#fault("option", descriptor) !== undefined) return undefined;
    return this.#libc.option(descriptor, option);
  }

  setOption(descriptor: number, option: SocketOption, value: number): number {
    return this.#fault("setOption", descriptor) ??
      this.#libc.setOption(descriptor, option, value);
  }

  epoll(): number {
    return this.#opened(this.#fault("epoll", -1) ?? this.#libc.epoll());
  }

  watch(epoll: number, descriptor: number, interest: Interest): number {
    const fault = this.#fault("watch", descriptor);
    if (fault !== undefined) return fault;
    this.#watches.set(descriptor, { epoll, interest });
    return this.#libc.watch(epoll, descriptor, interest);
  }

  watchFor(epoll: number, descriptor: number, interest: Interest): number {
    const fault = this.#fault("watchFor", descriptor);
    if (fault !== undefined) return fault;
    this.#watches.set(descriptor, { epoll, interest });
    return this.#libc.watchFor(epoll, descriptor, interest);
  }

  unwatch(epoll: number, descriptor: number): void {
    this.#fault("unwatch", descriptor);
    this.#watches.delete(descriptor);
    this.#libc.unwatch(epoll, descriptor);
  }

  wait(epoll: number, events: EventList, timeoutMs: number): number {
    return this.#fault("wait", epoll) ?? this.#libc.wait(epoll, events, timeoutMs);
  }

  /** A wait apart has no reason for its failure: any answer of `answer` becomes -1. */
  waitApart(epoll: number, events: EventList): Promise<number> {
    const fault = this.#fault("waitApart", epoll);
    return fault === undefined ? this.#libc.waitApart(epoll, events) : Promise.resolve(-1);
  }

  openSends(count: number, bytes: Uint8Array<ArrayBuffer>): Sends | undefined {
    if (this.#fault("openSends", -1) !== undefined) return undefined;
    const sends = this.#libc.openSends(count, bytes);
    return sends && new FaultySends(sends, new SingleSends(this, bytes), () => this.faults);
  }

  counter(): number {
    return this.#opened(this.#fault("counter", -1) ?? this.#libc.counter());
  }

  timer(): number {
    return this.#opened(this.#fault("timer", -1) ?? this.#libc.timer());
  }

  setTimer(descriptor: number, microseconds: number): number {
    return this.#fault("setTimer", descriptor) ?? this.#libc.setTimer(descriptor, microseconds);
  }

  count(descriptor: number): void {
    this.#fault("count", descriptor);
    this.#libc.count(descriptor);
  }

  error(negativeErrno: number): LibcError {
    return this.#libc.error(negativeErrno);
  }

  #fault(call: CallName, descriptor: number): number | undefined {
    const count = (this.#counts.get(call) ?? 0) + 1;
    this.#counts.set(call, count);
    return this.faults.answer?.(call, count, descriptor);
  }

  #opened(descriptor: number): number {
    if (descriptor >= 0) this.#open.add(descriptor);
    return descriptor;
  }

  /** Answers less than the truth; what there is will be told once more. */
  #lie(descriptor: number, answer: number): number {
    const watch = this.#watches.get(descriptor);
    if (watch !== undefined) this.#libc.watchFor(watch.epoll, descriptor, watch.interest);
    return answer;
  }
}

/** Sends that are made together, unless there are faults: those are of single ones. */
class FaultySends implements Sends {
  readonly #sends: Sends;
  readonly #single: SingleSends;
  readonly #faults: () => Faults;

  constructor(sends: Sends, single: SingleSends, faults: () => Faults) {
    this.#sends = sends;
    this.#single = single;
    this.#faults = faults;
  }

  [Symbol.dispose](): void {
    this.#sends[Symbol.dispose]();
  }

  put(descriptor: number, start: number, end: number): void {
    this.#single.put(descriptor, start, end);
  }

  send(results: Int32Array): number {
    const { answer, takes } = this.#faults();
    if (answer !== undefined || takes !== undefined) return this.#single.send(results);
    this.#single.moveTo(this.#sends);
    return this.#sends.send(results);
  }
}

/** On each descriptor, every second call of these kinds fails, the first included. */
export function everySecond(calls: readonly CallName[], errno: number): Faults {
  const failed = new Set<string>();
  return {
    answer(call, _count, descriptor) {
      if (!calls.includes(call)) return undefined;
      const key = `${call} ${descriptor}`;
      if (failed.delete(key)) return undefined;
      failed.add(key);
      return -errno;
    },
  };
}

/** The first so many calls of a kind fail. */
export function atFirst(call: CallName, times: number, errno: number): Faults {
  return { answer: (name, count) => name === call && count <= times ? -errno : undefined };
}

/** Of all calls of these kinds taken together the n-th fails, from 1 on, and no other. */
export function failingAt(
  n: number,
  calls: readonly CallName[],
  errno: number,
): Faults & { readonly hasFailed: boolean } {
  let made = 0;
  return {
    get hasFailed() {
      return made >= n;
    },
    answer(call) {
      if (!calls.includes(call)) return undefined;
      made += 1;
      return made === n ? -errno : undefined;
    },
  };
}

/** A kernel that takes a big write in pieces, and its end byte by byte. */
export function takesLittle(byteCount: number): number {
  return byteCount > 200 ? Math.min(4_099, byteCount - 100) : 1;
}

/** A kernel that gives one byte, three times, and then a few. */
export function givesLittle(): (byteCount: number) => number {
  let calls = 0;
  return (byteCount) => ++calls % 4 === 0 ? Math.min(701, byteCount) : 1;
}

/** Errnos that only tests name; the same numbers on x64 and arm64. */
export const FAULT = {
  ...ERRNO,
  noMemory: 12,
  invalid: 22,
  tableFull: 23,
  tooManyFiles: 24,
  noBufferSpace: 105,
  connectionAborted: 103,
  connectionReset: 104,
  connectionRefused: 111,
} as const;
