/** Connecting to a server without blocking: `socket`, `connect`, and the reactor says how it went. */

import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { Deferred } from "../../base/deferred.ts";
import { unixAddress } from "../unix_socket.ts";
import { DialError, type DialOptions, type ServerAddress } from "../network.ts";
import { ERRNO, EVENT, type LibcCalls } from "./libc.ts";
import { NativeStream } from "./native_stream.ts";
import type { Reactor, ReactorHandler } from "./reactor.ts";
import {
  AddressError,
  decodeEndpoint,
  encodeIpAddress,
  encodeUnixAddress,
  familyOf,
} from "./socket_address.ts";
import { pendingError, setTcpOptions } from "./socket_options.ts";

/** What dialing needs. */
export interface DialParts {
  readonly libc: LibcCalls;
  readonly reactor: Reactor;
  /** Aborted when the dial has taken too long or nobody wants it any more. */
  readonly signal: AbortSignal;
  readonly options: DialOptions;
}

/**
 * Connects; tries one address of a name after the other.
 * @throws {DialError} If no connection comes about.
 */
export async function dialNative(address: ServerAddress, parts: DialParts): Promise<NativeStream> {
  let failure: unknown = new Error("no address");
  for (const each of await addressesOf(address, parts.signal)) {
    if (parts.signal.aborted) break;
    try {
      return await connect(each, address, parts);
    } catch (error) {
      failure = error;
    }
  }
  throw new DialError(parts.signal.aborted ? "connect timeout" : "connect failed", failure);
}

/** The socket addresses of a server. */
async function addressesOf(
  address: ServerAddress,
  signal: AbortSignal,
): Promise<readonly Uint8Array[]> {
  try {
    if (address.kind === "unix") return [encodeUnixAddress(unixAddress(address.path))];
    const { host, port } = address;
    const isLiteral = isIP(host.replace(/%.*/, "")) !== 0;
    const found = isLiteral ? [host] : await abortable(lookUp(host), signal);
    return found.map((ip) => encodeIpAddress(ip, port));
  } catch (error) {
    throw error instanceof AddressError ? new DialError("connect failed", error) : error;
  }
}

/** As the system resolves names, its hosts file included. @throws {DialError} If it cannot. */
async function lookUp(host: string): Promise<readonly string[]> {
  try {
    const found = await lookup(host, { all: true, order: "verbatim" });
    return found.map(({ address }) => address);
  } catch (error) {
    throw new DialError("server DNS lookup failed", error);
  }
}

/** Does not wait for a name longer than for the whole dial. */
async function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = new Deferred<never>();
  const abort = () => aborted.reject(new DialError("connect timeout", signal.reason));
  signal.addEventListener("abort", abort);
  try {
    if (signal.aborted) abort();
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

async function connect(
  socketAddress: Uint8Array,
  address: ServerAddress,
  { libc, options, reactor, signal }: DialParts,
): Promise<NativeStream> {
  const descriptor = libc.socket(familyOf(socketAddress));
  if (descriptor < 0) throw libc.error(descriptor);
  const attempt = new Attempt(reactor, descriptor);
  try {
    if (address.kind === "tcp") setTcpOptions(libc, descriptor, options.tcp);
    const begun = libc.connect(descriptor, socketAddress);
    if (begun < 0 && begun !== -ERRNO.inProgress) throw libc.error(begun);
    if (begun < 0) await attempt.outcome(signal);
    const error = pendingError(libc, descriptor);
    if (error < 0) throw libc.error(error);
    return new NativeStream({
      libc,
      reactor,
      descriptor,
      options,
      remote: decodeEndpoint(socketAddress, address.port),
      isUnix: address.kind === "unix",
      unixPort: address.port,
    });
  } catch (error) {
    libc.close(descriptor);
    throw error;
  }
}

/** A socket that is being connected. */
class Attempt implements ReactorHandler {
  token = 0;
  readonly #reactor: Reactor;
  readonly #descriptor: number;
  readonly #settled = new Deferred<void>();

  constructor(reactor: Reactor, descriptor: number) {
    this.#reactor = reactor;
    this.#descriptor = descriptor;
  }

  /** Resolves when the kernel has decided, rejects when it is too late. */
  async outcome(signal: AbortSignal): Promise<void> {
    this.#reactor.register(this.#descriptor, EVENT.out, this);
    const abort = () => this.#settled.reject(signal.reason);
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
    try {
      await this.#settled.promise;
    } finally {
      signal.removeEventListener("abort", abort);
      this.#reactor.release(this.#descriptor, "handing_over");
    }
  }

  onEvents(_events: number): void {
    this.#reactor.needTurn();
    this.#settled.resolve();
  }

  onTurn(): void {}
}
