/** Connecting to a server without blocking: `socket`, `connect`, and the reactor says how it went. */

import { Deferred } from "../../base/deferred.ts";
import { unixAddress } from "../unix_socket.ts";
import { DialError, type DialOptions, type ServerAddress } from "../network.ts";
import { ERRNO, EVENT, type LibcCalls } from "./libc.ts";
import { NativeStream } from "./native_stream.ts";
import type { Reactor, ReactorHandler } from "./reactor.ts";
import { decodeEndpoint, encodeIpAddress, encodeUnixAddress, familyOf } from "./socket_address.ts";
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
 * Connects.
 * @throws {DialError} If no connection comes about.
 */
export async function dialNative(address: ServerAddress, parts: DialParts): Promise<NativeStream> {
  try {
    return await connect(socketAddressOf(address), address, parts);
  } catch (error) {
    throw new DialError(parts.signal.aborted ? "connect timeout" : "connect failed", error);
  }
}

/** The socket address of a server. */
function socketAddressOf(address: ServerAddress): Uint8Array {
  return address.kind === "unix"
    ? encodeUnixAddress(unixAddress(address.path))
    : encodeIpAddress(address.host, address.port);
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
