/** The addresses of one database: which one the next connection goes to, and what is known of each. */

import { isSocketDirectory } from "../config/effective_settings.ts";
import { type ServerAddress, unixSocketPath } from "../net/network.ts";

/** Chooses among the hosts of a database, as `load_balance_hosts` says. */
export class ServerHosts {
  readonly #addresses: readonly ServerAddress[];
  readonly #policy: "round-robin" | "disable";
  /** Those that speak no protocol but 3.0. */
  readonly #old = new Set<ServerAddress>();
  #next = 0;
  /** Connections that failed since one last came about. */
  #failureCount = 0;

  /** No host at all means a unix socket in `socketDirectory`. */
  constructor(
    hosts: readonly string[],
    { port, policy, socketDirectory }: {
      port: number;
      policy: "round-robin" | "disable";
      socketDirectory: string;
    },
  ) {
    const names = hosts.length === 0 ? [socketDirectory] : hosts;
    this.#addresses = names.map((host) => addressOf(host, port));
    this.#policy = policy;
  }

  /** All of them. */
  get addresses(): readonly ServerAddress[] {
    return this.#addresses;
  }

  /** The address for the next connection: in its turn, of those where there is room, if there is any. */
  next(hasRoom: (address: ServerAddress) => boolean = () => true): ServerAddress {
    const count = this.#addresses.length;
    let at = this.#next;
    for (let i = 0; i < count && !hasRoom(this.#addresses[at]!); i++) at = (at + 1) % count;
    if (this.#policy === "round-robin") this.#next = (at + 1) % count;
    return this.#addresses[at]!;
  }

  /**
   * Takes note that an address did not work: the next connection tries another. Returns whether
   * there is one that has not failed since a connection last came about.
   */
  noteFailure(address: ServerAddress): boolean {
    // What comes back may be another program.
    this.#old.delete(address);
    if (this.#policy === "disable" && this.#addresses[this.#next] === address) this.#advance();
    this.#failureCount += 1;
    const isOtherLeft = this.#failureCount < this.#addresses.length;
    if (!isOtherLeft) this.#failureCount = 0;
    return isOtherLeft;
  }

  /** Takes note that an address refuses every protocol but 3.0, until it fails. */
  noteOldProtocol(address: ServerAddress): void {
    this.#old.add(address);
  }

  /** Whether an address is known to refuse every protocol but 3.0. */
  isOldProtocol(address: ServerAddress): boolean {
    return this.#old.has(address);
  }

  /** Takes note that a connection came about. */
  noteSuccess(): void {
    this.#failureCount = 0;
  }

  #advance(): void {
    this.#next = (this.#next + 1) % this.#addresses.length;
  }
}

/** The address that a host and a port of the configuration mean. */
export function addressOf(host: string, port: number): ServerAddress {
  if (isSocketDirectory(host)) {
    return { kind: "unix", path: unixSocketPath(host, port), port };
  }
  return { kind: "tcp", host, port };
}

/** The same for all addresses that are one and the same host and port. */
export function addressKeyOf(address: ServerAddress): string {
  if (address.kind === "unix") return address.path;
  return `${address.host.toLowerCase()}:${address.port}`;
}
