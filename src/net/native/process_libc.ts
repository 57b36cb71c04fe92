/**
 * The calls of the C library that a process needs around its engine (Linux, glibc): datagrams on unix
 * sockets, the clock of systemd, a look at the descriptors that it was started with, its groups, and
 * its memory.
 *
 * Apart from `Libc`, since they come before the engine, outlive it, and are needed beside the portable
 * one too; and so that the engine's own calls stay the fast ones.
 */

import { ADDRESS_BYTES, cText, FAMILY, LibcError, openGlibc } from "./libc.ts";
import { encodeUnixAddress } from "./socket_address.ts";

const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const NONBLOCKING_CLOEXEC = 0o2004000; // SOCK_NONBLOCK | SOCK_CLOEXEC
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SOL_SOCKET = 1;
const SO_TYPE = 3;
const SO_ACCEPTCONN = 30;
const F_SETFD = 2;
const F_GETFL = 3;
const F_SETFL = 4;
const FD_CLOEXEC = 1;
const O_NONBLOCK = 0o4000;
const CLOCK_MONOTONIC = 1;
const ERANGE = 34;

/** Size of `struct passwd`, which begins with a pointer to the name; the same on x64 and arm64. */
const PASSWD_BYTES = 48;

/** For the texts of an account, to begin with, and at most. */
const ACCOUNT_BYTES = { least: 1_024, most: 65_536 } as const;

const SYMBOLS = {
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  // Variadic in C; on x64 and arm64 Linux such an argument travels as any other.
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  // Apart from this thread: it may ask a directory service over the network.
  getpwuid_r: {
    parameters: ["u32", "buffer", "buffer", "usize", "buffer"],
    result: "i32",
    nonblocking: true,
  },
  initgroups: { parameters: ["buffer", "u32"], result: "i32" },
  malloc_trim: { parameters: ["usize"], result: "i32" },
  recv: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  send: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  __errno_location: { parameters: [], result: "pointer" },
} as const;

/** The C library, for a process. Closed at its very end. */
export class ProcessLibc implements Disposable {
  readonly #library: Deno.DynamicLibrary<typeof SYMBOLS>;

  private constructor(library: Deno.DynamicLibrary<typeof SYMBOLS>) {
    this.#library = library;
  }

  /** @throws {NoLibcError} If this is not Linux with glibc on x64 or arm64, or FFI is not allowed. */
  static open(): ProcessLibc {
    return new ProcessLibc(openGlibc(SYMBOLS, "this part of Sluice"));
  }

  /**
   * A datagram socket that sends to `path`, a path or an abstract name that begins with a zero byte.
   * Returns its descriptor, or a negative errno if nobody is there.
   * @throws {AddressError} If the path is too long.
   */
  connectDatagrams(path: string): number {
    return this.#datagrams(path, (descriptor, address) => {
      return this.#library.symbols.connect(descriptor, address, address.length);
    });
  }

  /**
   * A datagram socket that receives at `path`. Returns its descriptor, or a negative errno.
   * @throws {AddressError} If the path is too long.
   */
  bindDatagrams(path: string): number {
    return this.#datagrams(path, (descriptor, address) => {
      return this.#library.symbols.bind(descriptor, address, address.length);
    });
  }

  /** Sends all of `bytes` as one datagram without waiting. Returns 0, or a negative errno. */
  sendDatagram(descriptor: number, bytes: Uint8Array<ArrayBuffer>): number {
    const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    const count = this.#library.symbols.send(descriptor, bytes, bytes.length, flags);
    return count < 0 ? this.#errno() : 0;
  }

  /** Receives one datagram into `buffer` without waiting. Returns its length, or a negative errno. */
  receiveDatagram(descriptor: number, buffer: Uint8Array<ArrayBuffer>): number {
    return this.#result(
      this.#library.symbols.recv(descriptor, buffer, buffer.length, MSG_DONTWAIT),
    );
  }

  /** Gives a descriptor back to the system; whoever owns it calls this once. */
  close(descriptor: number): void {
    this.#library.symbols.close(descriptor);
  }

  /** Microseconds on the kernel's monotonic clock, by which systemd tells one reload from another. */
  monotonicUs(): bigint {
    const time = new BigInt64Array(2);
    this.#library.symbols.clock_gettime(CLOCK_MONOTONIC, time);
    return time[0]! * 1_000_000n + time[1]! / 1_000n;
  }

  /**
   * Takes on all groups of a user, and gives up those there were. The runtime can set user and group,
   * but not the groups besides: root's would be kept. Returns 0, or a negative errno.
   */
  initGroups(user: string, gid: number): number {
    return this.#result(this.#library.symbols.initgroups(cText(user), gid));
  }

  /** Gives the memory back to the system that was freed and is kept for later. */
  trimMemory(): void {
    this.#library.symbols.malloc_trim(0n);
  }

  /** The address that a descriptor listens on; undefined if it is no stream socket that listens. */
  listeningAddress(descriptor: number): Uint8Array | undefined {
    if (this.#option(descriptor, SO_TYPE) !== SOCK_STREAM) return undefined;
    if (this.#option(descriptor, SO_ACCEPTCONN) !== 1) return undefined;
    const address = new Uint8Array(ADDRESS_BYTES);
    const size = Uint32Array.of(address.length);
    if (this.#library.symbols.getsockname(descriptor, address, size) < 0) return undefined;
    return address.subarray(0, size[0]);
  }

  /** Has a descriptor neither block nor go to child processes. Returns 0, or a negative errno. */
  setOwn(descriptor: number): number {
    const { fcntl } = this.#library.symbols;
    const flags = fcntl(descriptor, F_GETFL, 0);
    if (flags < 0) return this.#errno();
    const result = fcntl(descriptor, F_SETFL, flags | O_NONBLOCK);
    return this.#result(result < 0 ? result : fcntl(descriptor, F_SETFD, FD_CLOEXEC));
  }

  /**
   * The name of a user by the number; undefined if there is none. Not to be disposed of meanwhile.
   * Rejects with a `LibcError` if it cannot be found out.
   */
  async userName(uid: number): Promise<string | undefined> {
    const { getpwuid_r } = this.#library.symbols;
    for (let size: number = ACCOUNT_BYTES.least; size <= ACCOUNT_BYTES.most; size *= 4) {
      // Buffers of their own, which stay where they are while another thread writes to them.
      const account = new BigUint64Array(new ArrayBuffer(PASSWD_BYTES));
      const found = new BigUint64Array(new ArrayBuffer(8));
      const texts = new Uint8Array(new ArrayBuffer(size));
      const errno = await getpwuid_r(uid, account, texts, BigInt(size), found);
      if (errno === ERANGE) continue;
      if (errno !== 0) throw new LibcError(`Cannot find out who user ${uid} is`, errno);
      return found[0] === 0n ? undefined : textAt(account[0]!, texts);
    }
    throw new LibcError(`Cannot find out who user ${uid} is: too much is known of it`, ERANGE);
  }

  [Symbol.dispose](): void {
    this.#library.close();
  }

  #datagrams(
    path: string,
    use: (descriptor: number, address: Uint8Array<ArrayBuffer>) => number,
  ): number {
    const address = encodeUnixAddress(path);
    const { socket } = this.#library.symbols;
    const descriptor = socket(FAMILY.unix, SOCK_DGRAM | NONBLOCKING_CLOEXEC, 0);
    if (descriptor < 0) return this.#errno();
    if (use(descriptor, address) === 0) return descriptor;
    const errno = this.#errno();
    this.close(descriptor);
    return errno;
  }

  #option(descriptor: number, name: number): number | undefined {
    const value = new Int32Array(1);
    const size = Uint32Array.of(4);
    const { getsockopt } = this.#library.symbols;
    return getsockopt(descriptor, SOL_SOCKET, name, value, size) === 0 ? value[0] : undefined;
  }

  #result(result: number): number {
    return result < 0 ? this.#errno() : result;
  }

  /** Negative, as all calls answer it. */
  #errno(): number {
    const location = this.#library.symbols.__errno_location();
    return location === null ? -1 : -new Deno.UnsafePointerView(location).getInt32();
  }
}

/** The text that a pointer into `buffer` points to; undefined if it is not within, or no text. */
function textAt(pointer: bigint, buffer: Uint8Array<ArrayBuffer>): string | undefined {
  const begin = Number(pointer - BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(buffer))));
  if (begin < 0 || begin >= buffer.length) return undefined;
  const end = buffer.indexOf(0, begin);
  if (end < 0) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(buffer.subarray(begin, end));
  } catch {
    // No name that anybody could have meant.
    return undefined;
  }
}
