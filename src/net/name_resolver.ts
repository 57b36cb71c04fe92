/**
 * Asks who a name is: the system, as all programs on the machine do, or the name servers of a file in
 * the form of resolv.conf. Nothing is kept here; that is `dns_cache.ts`.
 */

import { promises as dns } from "node:dns";
import { errorText } from "../base/error_text.ts";
import { candidateNames, type ResolvConf } from "./resolv_conf.ts";

/** What a name stands for. */
export interface NameAnswer {
  /** At least one, IPv4 or IPv6. */
  readonly addresses: readonly string[];
  /** How long the name service wants it kept; undefined where it is not known. */
  readonly ttlMs: number | undefined;
}

/** A name that leads nowhere. The message says why. */
export class NameError extends Error {
  override readonly name = "NameError";
}

/** Looks names up. */
export interface NameResolver {
  /** @throws {NameError} If there is no such name, or nobody answers. */
  lookUp(name: string): Promise<NameAnswer>;
  /**
   * The serial number of a zone, which changes whenever anything in it does.
   * @throws {NameError} If there is no such zone, or nobody answers.
   */
  zoneSerial(zone: string): Promise<number>;
}

/** The system: its file of hosts and its name servers, in the order it has for them. */
export class SystemResolver implements NameResolver {
  async lookUp(name: string): Promise<NameAnswer> {
    const found = await named(name, () => dns.lookup(name, { all: true, order: "verbatim" }));
    return answer(name, { addresses: found.map(({ address }) => address), ttlMs: undefined });
  }

  zoneSerial(zone: string): Promise<number> {
    return serialBy(new dns.Resolver(), zone);
  }
}

/** The name that needs no name service; it is not to be asked for this one (RFC 6761). */
const LOCALHOST = /^(.+\.)?localhost\.?$/i;

/** Name servers that are told, asked by their protocol. */
export class NameServerResolver implements NameResolver {
  readonly #conf: ResolvConf;
  readonly #resolver: dns.Resolver;
  readonly #system = new SystemResolver();

  /** Addresses of name servers may have a port. */
  constructor(conf: ResolvConf) {
    this.#conf = conf;
    this.#resolver = new dns.Resolver({ timeout: conf.timeoutMs, tries: conf.attempts });
    this.#resolver.setServers([...conf.nameServers]);
  }

  async lookUp(name: string): Promise<NameAnswer> {
    if (LOCALHOST.test(name)) return await this.#system.lookUp("localhost");
    let failure = new NameError(`there is no name to ask for in place of ${name}`);
    for (const candidate of candidateNames(name, this.#conf)) {
      try {
        return await this.#ask(candidate);
      } catch (error) {
        if (!(error instanceof NameError)) throw error;
        failure = error;
      }
    }
    throw failure;
  }

  zoneSerial(zone: string): Promise<number> {
    return serialBy(this.#resolver, zone);
  }

  /** Asks for both kinds at once; either will do. */
  async #ask(name: string): Promise<NameAnswer> {
    const options = { ttl: true } as const;
    const results = await Promise.allSettled([
      this.#resolver.resolve4(name, options),
      this.#resolver.resolve6(name, options),
    ]);
    const records = results.flatMap((each) => each.status === "fulfilled" ? each.value : []);
    const [first] = results;
    if (records.length === 0 && first.status === "rejected") throw nameError(name, first.reason);
    const ttlMs = Math.min(...records.map(({ ttl }) => ttl)) * 1000;
    return answer(name, { addresses: records.map(({ address }) => address), ttlMs });
  }
}

function answer(name: string, found: NameAnswer): NameAnswer {
  if (found.addresses.length === 0) throw new NameError(`${name} has no address`);
  return found;
}

async function serialBy(resolver: dns.Resolver, zone: string): Promise<number> {
  return (await named(zone, () => resolver.resolveSoa(zone))).serial;
}

async function named<T>(name: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    throw nameError(name, error);
  }
}

function nameError(name: string, cause: unknown): NameError {
  return new NameError(`${name}: ${errorText(cause)}`, { cause });
}
