/**
 * The calls of the C library that the native engine is made of (Linux, glibc, x64 and arm64), typed.
 * They answer what the call answered, or a negative errno; only this folder sees descriptors.
 *
 * HOT PATH: `receive()` and `send()` are compiled in line by the runtime, as long as all their
 * arguments are numbers of 32 bits and byte arrays. One `Libc` serves a whole process: functions of
 * several would be called the slow way.
 */

import { assert } from "../../base/assert.ts";
import { type RingCalls, SendRing, type Sends } from "./send_ring.ts";

const NONBLOCKING_CLOEXEC = 0o2004000; // SOCK_NONBLOCK | SOCK_CLOEXEC, also EFD_… and TFD_…

const MSG_PEEK = 0x2;
const MSG_NOSIGNAL = 0x4000;
const SOCK_STREAM = 1;
const SHUT_RD = 0;
const SHUT_WR = 1;
const EPOLL_CLOEXEC = 0o2000000;
const CLOCK_MONOTONIC = 1;

/** Address families. */
export const FAMILY = { unix: 1, inet: 2, inet6: 10 } as const;

/** The errnos that steer the engine; the same numbers on x64 and arm64. */
export const ERRNO = {
  notPermitted: 1,
  interrupted: 4,
  again: 11,
  exists: 17,
  brokenPipe: 32,
  noNet: 64,
  protocol: 71,
  noProtocolOption: 92,
  notSupported: 95,
  netDown: 100,
  netUnreachable: 101,
  connectionAborted: 103,
  hostDown: 112,
  hostUnreachable: 113,
  inProgress: 115,
} as const;

/** What epoll tells of a descriptor. */
export const EVENT = {
  in: 0x1,
  out: 0x4,
  error: 0x8,
  hangUp: 0x10,
  peerFinished: 0x2000,
  edgeTriggered: 0x8000_0000 | 0,
} as const;

/** Numbers of system calls that the library has no function for; the same on x64 and arm64. */
const SYSTEM_CALL = { setUpRing: 425, enterRing: 426 } as const;

const IORING_ENTER_GETEVENTS = 1;
const PROT_READ_WRITE = 3;
const MAP_SHARED_POPULATE = 0x8001;

/** `MAP_FAILED`. */
const NOT_MAPPED = 0xffff_ffff_ffff_ffffn;

/** `epoll_ctl`. */
const CONTROL = { add: 1, remove: 2, modify: 3 } as const;

const SYMBOLS = {
  __errno_location: { parameters: [], result: "pointer" },
  accept4: { parameters: ["i32", "buffer", "buffer", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  epoll_create1: { parameters: ["i32"], result: "i32" },
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  epoll_wait: { parameters: ["i32", "buffer", "i32", "i32"], result: "i32" },
  epoll_wait_apart: {
    name: "epoll_wait",
    parameters: ["i32", "buffer", "i32", "i32"],
    result: "i32",
    nonblocking: true,
  },
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  eventfd_write: { parameters: ["i32", "u64"], result: "i32" },
  getpeername: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  io_uring_enter: {
    name: "syscall",
    parameters: ["i32", "i32", "u32", "u32", "u32", "pointer", "u32"],
    result: "i32",
  },
  io_uring_setup: { name: "syscall", parameters: ["i32", "u32", "buffer"], result: "i32" },
  mmap: {
    parameters: ["pointer", "usize", "i32", "i32", "i32", "i64"],
    result: "pointer",
  },
  munmap: { parameters: ["pointer", "usize"], result: "i32" },
  recv: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  send: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  strerror: { parameters: ["i32"], result: "pointer" },
  timerfd_create: { parameters: ["i32", "i32"], result: "i32" },
  timerfd_settime: { parameters: ["i32", "i32", "buffer", "pointer"], result: "i32" },
} as const;

/** Why there is no C library to call. */
export class NoLibcError extends Error {
  override readonly name = "NoLibcError";
}

/**
 * Opens the C library with some of its functions, for `user`, which the error names.
 * @throws {NoLibcError} If this is not Linux with glibc on x64 or arm64, or FFI is not allowed.
 */
export function openGlibc<Symbols extends Deno.ForeignLibraryInterface>(
  symbols: Symbols,
  user: string,
): Deno.DynamicLibrary<Symbols> {
  return openLibrary({ file: "libc.so.6", name: "glibc" }, symbols, user);
}

/**
 * Opens a library of C, called `name`, in the same way.
 * @throws {NoLibcError} If it is not there, this is not Linux, or FFI is not allowed.
 */
export function openLibrary<Symbols extends Deno.ForeignLibraryInterface>(
  { file, name }: { readonly file: string; readonly name: string },
  symbols: Symbols,
  user: string,
): Deno.DynamicLibrary<Symbols> {
  const { arch, os } = Deno.build;
  if (os !== "linux") throw new NoLibcError(`${user} is for Linux, and this is ${os}`);
  if (arch !== "x86_64" && arch !== "aarch64") {
    throw new NoLibcError(`${user} does not know the processor ${arch}`);
  }
  // Asked first: a call that is not allowed would put a question to whoever is at the terminal.
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") {
    throw new NoLibcError("the permission --allow-ffi is missing");
  }
  try {
    return Deno.dlopen(file, symbols);
  } catch (error) {
    throw new NoLibcError(`there is no ${name} (${file})`, { cause: error });
  }
}

/** For C: bytes with a zero behind them. */
export function cText(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\0`);
}

/** A call of the C library that failed for a reason worth telling. */
export class LibcError extends Error {
  override readonly name = "LibcError";
  readonly errno: number;

  constructor(message: string, errno: number) {
    super(message);
    this.errno = errno;
  }
}

/** The C library. */
export class Libc implements Disposable {
  readonly #library: Deno.DynamicLibrary<typeof SYMBOLS>;
  readonly #call: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];
  /** Where the last call that failed has left its reason; read as memory, so at no cost. */
  readonly #errno: Int32Array;
  /** Length of an address or an option: in and out. */
  readonly #size = new Uint32Array(new ArrayBuffer(4));
  readonly #sizeBytes = new Uint8Array(this.#size.buffer);
  /** struct itimerspec: seconds and nanoseconds of 64 bits, first of what is repeated: nothing. */
  readonly #timerSpec = new Int32Array(8);
  readonly #timerSpecBytes = new Uint8Array(this.#timerSpec.buffer);
  readonly #control: Int32Array;
  readonly #controlBytes: Uint8Array<ArrayBuffer>;

  private constructor(library: Deno.DynamicLibrary<typeof SYMBOLS>) {
    this.#library = library;
    this.#call = library.symbols;
    const location = this.#call.__errno_location();
    assert(location !== null, "errno is somewhere");
    this.#errno = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(location, 4));
    this.#control = new Int32Array(EVENT_WORDS);
    this.#controlBytes = new Uint8Array(this.#control.buffer as ArrayBuffer);
  }

  /**
   * Opens the library.
   * @throws {NoLibcError} If this is not Linux with glibc on x64 or arm64, or FFI is not allowed.
   */
  static open(): Libc {
    return new Libc(openGlibc(SYMBOLS, "the native engine"));
  }

  [Symbol.dispose](): void {
    this.#library.close();
  }

  /** Bytes received into `buffer`, at most `length`; 0 at the end of the stream. */
  receive(descriptor: number, buffer: Uint8Array, length: number): number {
    const count = this.#call.recv(descriptor, buffer as Bytes, length, 0);
    if (count < 0) return -this.#errno[0]!;
    // Before anything else can be wrong: the kernel was given the length that was meant.
    assert(count <= length && length <= buffer.length, "recv() stays within the buffer");
    return count;
  }

  /** As `receive()`, and the bytes stay where they are. */
  peek(descriptor: number, buffer: Uint8Array, length: number): number {
    return this.#result(this.#call.recv(descriptor, buffer as Bytes, length, MSG_PEEK));
  }

  /** Bytes taken of `buffer` from `start` to `end`; never raises SIGPIPE. */
  send(descriptor: number, buffer: Uint8Array, start: number, end: number): number {
    const bytes = start === 0 ? buffer : buffer.subarray(start, end);
    const count = this.#call.send(descriptor, bytes as Bytes, end - start, MSG_NOSIGNAL);
    return count < 0 ? -this.#errno[0]! : count;
  }

  /** A new stream socket that does not block and is closed in child processes. */
  socket(family: number): number {
    return this.#result(this.#call.socket(family, SOCK_STREAM | NONBLOCKING_CLOEXEC, 0));
  }

  /** Begins to connect; `-ERRNO.inProgress` is the ordinary answer of TCP. */
  connect(descriptor: number, address: Uint8Array): number {
    return this.#result(this.#call.connect(descriptor, address as Bytes, address.length));
  }

  /** Takes a connection; `address` gets the peer's. Returns its descriptor. */
  accept(descriptor: number, address: Uint8Array): number {
    this.#size[0] = address.length;
    return this.#result(
      this.#call.accept4(descriptor, address as Bytes, this.#sizeBytes, NONBLOCKING_CLOEXEC),
    );
  }

  /** Says that nothing more will be sent. */
  finishSending(descriptor: number): number {
    return this.#result(this.#call.shutdown(descriptor, SHUT_WR));
  }

  /** Has a socket listen no more, at once, whoever else still holds it. */
  finishListening(descriptor: number): number {
    return this.#result(this.#call.shutdown(descriptor, SHUT_RD));
  }

  /** Gives a descriptor back to the system; whoever owns it calls this once. */
  close(descriptor: number): void {
    this.#call.close(descriptor);
  }

  /** Our own address; undefined if the descriptor is not an open socket. */
  localAddress(descriptor: number): Uint8Array | undefined {
    return this.#address(descriptor, this.#call.getsockname);
  }

  /** The peer's address; undefined if there is none. */
  peerAddress(descriptor: number): Uint8Array | undefined {
    return this.#address(descriptor, this.#call.getpeername);
  }

  /** Value of an option; undefined if the kernel refuses. */
  option(
    descriptor: number,
    { level, name, byteCount }: { level: number; name: number; byteCount: number },
  ): DataView | undefined {
    const value = new Uint8Array(byteCount);
    this.#size[0] = byteCount;
    const { getsockopt } = this.#call;
    const result = getsockopt(descriptor, level, name, value, this.#sizeBytes);
    return result === 0 ? new DataView(value.buffer) : undefined;
  }

  /** Sets an option to a number. */
  setOption(descriptor: number, { level, name }: SocketOption, value: number): number {
    const bytes = new Uint8Array(new Int32Array([value]).buffer);
    return this.#result(this.#call.setsockopt(descriptor, level, name, bytes, bytes.length));
  }

  /** A new epoll. */
  epoll(): number {
    return this.#result(this.#call.epoll_create1(EPOLL_CLOEXEC));
  }

  /** Watches a descriptor; events carry it together with `token`. */
  watch(epoll: number, descriptor: number, { events, token }: Interest): number {
    return this.#controlEpoll(epoll, CONTROL.add, descriptor, events, token);
  }

  /** Changes what is watched for; what is already there is told anew. */
  watchFor(epoll: number, descriptor: number, { events, token }: Interest): number {
    return this.#controlEpoll(epoll, CONTROL.modify, descriptor, events, token);
  }

  /** Watches a descriptor no longer. */
  unwatch(epoll: number, descriptor: number): void {
    this.#controlEpoll(epoll, CONTROL.remove, descriptor, 0, 0);
  }

  /** Waits at most `timeoutMs`, blocking the thread. Returns how many events there are. */
  wait(epoll: number, events: EventList, timeoutMs: number): number {
    const count = this.#call.epoll_wait(epoll, events.bytes, events.capacity, timeoutMs);
    return this.#result(count);
  }

  /**
   * Waits without limit, on a thread of the runtime's. Resolves to how many events there are, or
   * to -1: the reason stays with that thread.
   */
  waitApart(epoll: number, events: EventList): Promise<number> {
    return this.#call.epoll_wait_apart(epoll, events.bytes, events.capacity, -1);
  }

  /** A counter that can be waited for. */
  counter(): number {
    return this.#result(this.#call.eventfd(0, NONBLOCKING_CLOEXEC));
  }

  /** Wakes who waits for a counter. */
  count(descriptor: number): void {
    this.#call.eventfd_write(descriptor, 1n);
  }

  /** A timer that can be waited for; it is not running. */
  timer(): number {
    return this.#result(this.#call.timerfd_create(CLOCK_MONOTONIC, NONBLOCKING_CLOEXEC));
  }

  /** Has a timer go off, once, after less than a second. */
  setTimer(descriptor: number, microseconds: number): number {
    this.#timerSpec[6] = microseconds * 1_000;
    return this.#result(
      this.#call.timerfd_settime(descriptor, 0, this.#timerSpecBytes, null),
    );
  }

  /** Opens what makes up to `count` sends of parts of `bytes` at once; undefined if there is no such. */
  openSends(count: number, bytes: Uint8Array<ArrayBuffer>): Sends | undefined {
    return SendRing.open(this.#ringCalls(), count, bytes);
  }

  /** A failed call as an error, in the system's words. */
  error(negativeErrno: number): LibcError {
    const text = this.#call.strerror(-negativeErrno);
    const words = text === null ? "unknown" : Deno.UnsafePointerView.getCString(text);
    return new LibcError(`${words} (os error ${-negativeErrno})`, -negativeErrno);
  }

  #ringCalls(): RingCalls {
    const call = this.#call;
    return {
      open: (entryCount, params) => {
        const bytes = new Uint8Array(params.buffer);
        return this.#result(call.io_uring_setup(SYSTEM_CALL.setUpRing, entryCount, bytes));
      },
      enter: (descriptor, submit, wait) => {
        const flags = IORING_ENTER_GETEVENTS;
        const number = SYSTEM_CALL.enterRing;
        return this.#result(
          call.io_uring_enter(number, descriptor, submit, wait, flags, null, 0),
        );
      },
      map: (descriptor, byteCount, offset) => {
        const size = BigInt(byteCount);
        const from = BigInt(offset);
        const at = call.mmap(null, size, PROT_READ_WRITE, MAP_SHARED_POPULATE, descriptor, from);
        const isMapped = at !== null && Deno.UnsafePointer.value(at) !== NOT_MAPPED;
        return isMapped ? Deno.UnsafePointerView.getArrayBuffer(at, byteCount) : undefined;
      },
      unmap: (memory) => {
        const at = Deno.UnsafePointer.of(new Uint8Array(memory));
        call.munmap(at, BigInt(memory.byteLength));
      },
      addressOf: (bytes) => Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes)),
      close: (descriptor) => this.close(descriptor),
    };
  }

  #result(result: number): number {
    return result < 0 ? -this.#errno[0]! : result;
  }

  #address(
    descriptor: number,
    call: (descriptor: number, address: Bytes, size: Bytes) => number,
  ): Uint8Array | undefined {
    const address = new Uint8Array(ADDRESS_BYTES);
    this.#size[0] = address.length;
    if (call(descriptor, address, this.#sizeBytes) < 0) return undefined;
    return address.subarray(0, this.#size[0]);
  }

  #controlEpoll(
    epoll: number,
    operation: number,
    descriptor: number,
    events: number,
    token: number,
  ): number {
    const words = this.#control;
    words[0] = events;
    words[EVENT_WORDS - 2] = descriptor;
    words[EVENT_WORDS - 1] = token;
    return this.#result(
      this.#call.epoll_ctl(epoll, operation, descriptor, this.#controlBytes),
    );
  }
}

/** The calls alone: what the engine asks of the C library, and a test may answer in its place. */
export type LibcCalls = { readonly [Name in keyof Libc]: Libc[Name] };

type Bytes = Uint8Array<ArrayBuffer>;

/** sockaddr_storage. */
export const ADDRESS_BYTES = 128;

/** Which option. */
export interface SocketOption {
  readonly level: number;
  readonly name: number;
}

/** What is watched for, and the number by which its owner knows it is meant. */
export interface Interest {
  readonly events: number;
  readonly token: number;
}

/** struct epoll_event: on x64 packed, elsewhere with four bytes between events and data. */
const EVENT_WORDS = Deno.build.arch === "x86_64" ? 3 : 4;

/** Room for what epoll tells. */
export class EventList {
  readonly capacity: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #words: Int32Array;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#words = new Int32Array(new ArrayBuffer(capacity * EVENT_WORDS * 4));
    this.bytes = new Uint8Array(this.#words.buffer as ArrayBuffer);
  }

  /** What happened. */
  events(index: number): number {
    return this.#words[index * EVENT_WORDS]!;
  }

  /** To which descriptor. */
  descriptor(index: number): number {
    return this.#words[index * EVENT_WORDS + EVENT_WORDS - 2]!;
  }

  /** Registered with which token. */
  token(index: number): number {
    return this.#words[index * EVENT_WORDS + EVENT_WORDS - 1]!;
  }
}
