/**
 * A network that is given names: looks them up in a cache, and has an engine dial the addresses, one
 * after the other. Engines themselves know addresses only.
 */

import type { Clock } from "../base/clock.ts";
import { Deferred } from "../base/deferred.ts";
import { peerIp } from "../base/ip_address.ts";
import type { ByteStream } from "./byte_stream.ts";
import { dialWithin } from "./dial_limit.ts";
import type { DnsCache } from "./dns_cache.ts";
import { NameError } from "./name_resolver.ts";
import {
  DialError,
  type DialOptions,
  type ListenAddress,
  type Listener,
  type Network,
  type ServerAddress,
  type StreamOptions,
} from "./network.ts";
import type { TlsEngine } from "./tls.ts";

/** What it is made of. */
export interface ResolvingNetworkOptions {
  readonly engine: Network;
  readonly names: DnsCache;
  readonly clock: Clock;
}

/** An engine, and who knows names. */
export class ResolvingNetwork implements Network {
  readonly #engine: Network;
  readonly #names: DnsCache;
  readonly #clock: Clock;

  constructor({ clock, engine, names }: ResolvingNetworkOptions) {
    this.#engine = engine;
    this.#names = names;
    this.#clock = clock;
  }

  get tls(): TlsEngine {
    return this.#engine.tls;
  }

  listen(address: ListenAddress, options: () => StreamOptions): Promise<Listener> {
    return this.#engine.listen(address, options);
  }

  dial(address: ServerAddress, options: DialOptions): Promise<ByteStream> {
    if (address.kind === "unix" || peerIp(address.host) !== undefined) {
      return this.#engine.dial(address, options);
    }
    const { host, port } = address;
    return dialWithin(options, this.#clock, async (signal) => {
      let failure: unknown;
      for (const each of await this.#lookUp(host, signal)) {
        try {
          const place = { kind: "tcp", host: each, port } as const;
          return await this.#engine.dial(place, { ...options, timeoutMs: 0, signal });
        } catch (error) {
          if (!(error instanceof DialError) || signal.aborted) throw error;
          failure = error;
        }
      }
      throw failure;
    });
  }

  /** Does not wait for a name longer than for the whole dial; the cache gets its answer all the same. */
  async #lookUp(host: string, signal: AbortSignal): Promise<readonly string[]> {
    const aborted = new Deferred<never>();
    const abort = () => aborted.reject(new DialError("connect timeout", signal.reason));
    signal.addEventListener("abort", abort);
    try {
      if (signal.aborted) abort();
      return await Promise.race([this.#names.addressesOf(host), aborted.promise]);
    } catch (error) {
      throw error instanceof NameError ? new DialError("server DNS lookup failed", error) : error;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }
}
