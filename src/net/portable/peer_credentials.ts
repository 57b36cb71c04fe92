/**
 * Who is behind a unix socket, by SO_PEERCRED through FFI (Linux).
 *
 * Deno gives no descriptor of an accepted unix connection. It is found among the process's open
 * descriptors: the one not known before that is an AF_UNIX socket, not listening, and bound to our
 * path. That is only sound synchronously after `accept()` and before the next one. When not
 * exactly one fits, the peer is unknown, and nobody is let in on the strength of a guess.
 * Source: getsockopt(2), unix(7).
 */

import { assert } from "../../base/assert.ts";

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_ACCEPTCONN = 30;
const SO_COOKIE = 57;
const AF_UNIX = 1;

/** pid, uid, gid: three 32-bit numbers. */
const UCRED_BYTES = 12;

/** sockaddr_un: a family of 2 bytes and a path of 108. */
const SOCKADDR_UN_BYTES = 110;

/** Descriptors are given out lowest first, so a gap this long means there are no more. */
const MAX_DESCRIPTOR_GAP = 4_096;

const SYMBOLS = {
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
} as const;

/** Looks up the user behind the newest connection of a unix listener. */
export class PeerCredentials implements Disposable {
  readonly #library: Deno.DynamicLibrary<typeof SYMBOLS>;
  /**
   * The kernel's cookies of the connections seen before and still open at the last look. Cookies,
   * since the number of a closed descriptor is given out again.
   */
  #known: ReadonlySet<bigint> = new Set();

  private constructor(library: Deno.DynamicLibrary<typeof SYMBOLS>) {
    this.#library = library;
  }

  /** Opens the C library; undefined where there is no such thing or no permission. */
  static open(): PeerCredentials | undefined {
    if (Deno.build.os !== "linux") return undefined;
    try {
      return new PeerCredentials(Deno.dlopen("libc.so.6", SYMBOLS));
    } catch {
      // No glibc, or no permission for FFI: peers stay unknown, and the caller is told so.
      return undefined;
    }
  }

  /** User ID of the peer accepted last at `path`, or undefined if it cannot be told for certain. */
  uidOfNewest(path: string): number | undefined {
    const open = new Set<bigint>();
    const fresh: number[] = [];
    let gap = 0;
    for (let descriptor = 3; gap < MAX_DESCRIPTOR_GAP; descriptor++) {
      const kind = this.#kind(descriptor, path);
      gap = kind === "closed" ? gap + 1 : 0;
      if (kind !== "connection") continue;
      const cookie = this.#cookie(descriptor);
      open.add(cookie);
      if (!this.#known.has(cookie)) fresh.push(descriptor);
    }
    this.#known = open;
    return fresh.length === 1 ? this.#peerUid(fresh[0]!) : undefined;
  }

  [Symbol.dispose](): void {
    this.#library.close();
  }

  #kind(descriptor: number, path: string): "closed" | "other" | "connection" {
    const address = new Uint8Array(SOCKADDR_UN_BYTES);
    const length = new Uint32Array([SOCKADDR_UN_BYTES]);
    if (this.#library.symbols.getsockname(descriptor, address, new Uint8Array(length.buffer)) < 0) {
      // Either no such descriptor, or one that is not a socket: told apart is not needed.
      return "closed";
    }
    const view = new DataView(address.buffer);
    if (view.getUint16(0, true) !== AF_UNIX) return "other";
    if (socketName(address.subarray(2, length[0]!)) !== path) return "other";
    return this.#option(descriptor, SO_ACCEPTCONN, 4).getUint32(0, true) === 0
      ? "connection"
      : "other";
  }

  #cookie(descriptor: number): bigint {
    return this.#option(descriptor, SO_COOKIE, 8).getBigUint64(0, true);
  }

  #peerUid(descriptor: number): number {
    return this.#option(descriptor, SO_PEERCRED, UCRED_BYTES).getUint32(4, true);
  }

  /** @throws {AssertionError} If the kernel refuses; the descriptor is known to be a socket. */
  #option(descriptor: number, option: number, sizeBytes: number): DataView {
    const value = new Uint8Array(sizeBytes);
    const length = new Uint8Array(new Uint32Array([sizeBytes]).buffer);
    const result = this.#library.symbols.getsockopt(descriptor, SOL_SOCKET, option, value, length);
    assert(result === 0, `getsockopt(${option}) must work on a socket`);
    return new DataView(value.buffer);
  }
}

function socketName(name: Uint8Array): string {
  if (name[0] === 0) return `@${new TextDecoder().decode(name.subarray(1))}`;
  const end = name.indexOf(0);
  return new TextDecoder().decode(end < 0 ? name : name.subarray(0, end));
}
