/**
 * The hosts of one database: which one the next connection goes to, and what is known of each.
 *
 * A host that has failed is passed over for `server_login_retry`. Then it is tried again in its
 * turn, as a trial: beside the others, which go on being used meanwhile. Pure but for the clock.
 */

import { assert } from "../base/assert.ts";
import { isSocketDirectory } from "../config/effective_settings.ts";
import { type ServerAddress, unixSocketPath } from "../net/network.ts";

/** What the hosts of a database are made of. */
export interface ServerHostsOptions {
  readonly port: number;
  readonly policy: "round-robin" | "disable";
  /** Where PostgreSQL's socket is, if no host is named at all. */
  readonly socketDirectory: string;
  readonly nowMs: () => number;
  /** How long a host that failed is passed over (`server_login_retry`). */
  readonly retryMs: () => number;
  /** Whether limits let one more server be at an address. */
  readonly hasRoomAt: (address: ServerAddress) => boolean;
}

/** Where the next connection goes. */
export interface HostChoice {
  readonly address: ServerAddress;
  /** Whether it goes to a host that failed, while there are others: nobody is to wait for it. */
  readonly isTrial: boolean;
}

/** One host, and what is known of it. */
interface Host {
  readonly address: ServerAddress;
  /** Whether it speaks no protocol but 3.0. */
  isOld: boolean;
  /** When it failed, or was last tried since; undefined if nothing is known against it. */
  failedAtMs: number | undefined;
}

/** Chooses among the hosts of a database, as `load_balance_hosts` says. */
export class ServerHosts {
  readonly #options: ServerHostsOptions;
  readonly #hosts: readonly Host[];
  /** Those that came to nothing since a connection last came about, or since all had. */
  readonly #tried = new Set<Host>();
  #next = 0;

  constructor(names: readonly string[], options: ServerHostsOptions) {
    this.#options = options;
    const hosts = names.length === 0 ? [options.socketDirectory] : names;
    this.#hosts = hosts.map((host) => ({
      address: addressOf(host, options.port),
      isOld: false,
      failedAtMs: undefined,
    }));
  }

  /** All of them. */
  get addresses(): readonly ServerAddress[] {
    return this.#hosts.map(({ address }) => address);
  }

  /** Whether there is a host that has not failed, or not lately. */
  get isOneWorthTrying(): boolean {
    return this.#hosts.some((host) => this.#isWorthTrying(host));
  }

  /**
   * The host for the next connection: in its turn, of those that work and where there is room, if
   * there are any.
   * @param mayTrial Whether there may be a connection that nobody waits for.
   */
  next({ mayTrial = true } = {}): HostChoice {
    const host = this.#choose(mayTrial);
    if (this.#options.policy === "round-robin") this.#passTurn(host);
    const isTrial = host.failedAtMs !== undefined && this.#hosts.some(isGood);
    // Nobody else need try it meanwhile.
    if (host.failedAtMs !== undefined) host.failedAtMs = this.#options.nowMs();
    return { address: host.address, isTrial };
  }

  #choose(mayTrial: boolean): Host {
    const turn = this.#hosts.map((_, at) => this.#hosts[(this.#next + at) % this.#hosts.length]!);
    const roomy = turn.filter(({ address }) => this.#options.hasRoomAt(address));
    return roomy.find((host) => isGood(host) || mayTrial && this.#isWorthTrying(host)) ??
      roomy.find((host) => this.#isWorthTrying(host)) ?? roomy[0] ?? turn[0]!;
  }

  /**
   * Takes note that a connection came to nothing. Returns whether there is another host to try,
   * which has not been tried since a connection last came about.
   */
  noteFailure(address: ServerAddress): boolean {
    const host = this.#hostAt(address);
    // What comes back may be another program.
    host.isOld = false;
    host.failedAtMs = this.#options.nowMs();
    if (this.#options.policy === "disable" && this.#hosts[this.#next] === host) {
      this.#passTurn(host);
    }
    this.#tried.add(host);
    const isOtherLeft = this.#hosts.some((each) =>
      !this.#tried.has(each) && this.#options.hasRoomAt(each.address) && this.#isWorthTrying(each)
    );
    if (!isOtherLeft) this.#tried.clear();
    return isOtherLeft;
  }

  /** Takes note that an address refuses every protocol but 3.0, until it fails. */
  noteOldProtocol(address: ServerAddress): void {
    this.#hostAt(address).isOld = true;
  }

  /** Whether an address is known to refuse every protocol but 3.0. */
  isOldProtocol(address: ServerAddress): boolean {
    return this.#hostAt(address).isOld;
  }

  /** Takes note that a connection came about. */
  noteSuccess(address: ServerAddress): void {
    this.#hostAt(address).failedAtMs = undefined;
    this.#tried.clear();
  }

  #isWorthTrying({ failedAtMs }: Host): boolean {
    const { nowMs, retryMs } = this.#options;
    return failedAtMs === undefined || nowMs() - failedAtMs >= retryMs();
  }

  #hostAt(address: ServerAddress): Host {
    const host = this.#hosts.find((each) => each.address === address);
    assert(host !== undefined, "An address is one of those that were given out");
    return host;
  }

  #passTurn(host: Host): void {
    this.#next = (this.#hosts.indexOf(host) + 1) % this.#hosts.length;
  }
}

function isGood({ failedAtMs }: Host): boolean {
  return failedAtMs === undefined;
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
