/** The hosts of each database: what is known of them, for all its pools, and what follows from that. */

import type { Clock } from "../base/clock.ts";
import type { ServerPool } from "../client/relay.ts";
import type { DnsCache } from "../net/dns_cache.ts";
import type { ServerAddress } from "../net/network.ts";
import type { RoleDemand } from "../server/role_watch.ts";
import type { ServerEnd } from "../server/server_end.ts";
import { addressKeyOf, type HostFailure, ServerHosts } from "../server/server_hosts.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { LiveConfig } from "./live_config.ts";

/** Where PostgreSQL puts its socket when nothing else is said. */
const FALLBACK_SOCKET_DIRECTORY = "/tmp";

/** Why a server is closed that is at a primary for want of a standby. */
const BETTER_HOST = "another host suits target_session_attrs better";

/** What the hosts are made of. */
export interface DatabaseHostsOptions {
  readonly clock: Clock;
  readonly live: LiveConfig;
  readonly names: DnsCache;
  /** Whether limits let one more server be at an address. */
  readonly hasRoomAt: (addressKey: string) => boolean;
  /** All pools of a database. */
  readonly poolsOf: (database: string) => Iterable<ServerPool>;
}

/** The hosts of all databases that have pools. */
export class DatabaseHosts {
  readonly #options: DatabaseHostsOptions;
  readonly #hosts = new Map<string, { addresses: string; hosts: ServerHosts }>();

  constructor(options: DatabaseHostsOptions) {
    this.#options = options;
  }

  /** Forgets a database that has no pool any more. */
  forget(database: string): void {
    this.#hosts.delete(database);
  }

  /** Where servers of a database may be; nowhere if that is no longer configured. */
  addressKeysOf(database: string): string[] {
    return this.#isConfigured(database) ? this.of(database).addresses.map(addressKeyOf) : [];
  }

  /** Where the next server of a pool may be, as far as is known. */
  nextAddressKeysOf(pool: ServerPool): string[] {
    if (!this.#isConfigured(pool.database)) return [];
    const mayTrial = hasRoomForTrial(pool);
    return this.of(pool.database).candidates({ mayTrial }).map(addressKeyOf);
  }

  /** Whether a database has a host to try, as far as is known. */
  isOneWorthTrying(database: string): boolean {
    return this.#isConfigured(database) && this.of(database).isOneWorthTrying;
  }

  #isConfigured(database: string): boolean {
    return this.#options.live.databaseConfig(database) !== undefined;
  }

  /**
   * The hosts of a database; what is known of them is kept as long as they are the same.
   * @throws {PgError} If there is no such database, and never was.
   */
  of(database: string): ServerHosts {
    const config = this.#options.live.databaseConfig(database);
    const known = this.#hosts.get(database);
    if (config === undefined) {
      if (known !== undefined) return known.hosts;
      throw new PgError(SQLSTATE.invalidCatalogName, `no such database: ${database}`);
    }
    const { hosts: names, loadBalanceHosts, port, targetSessionAttrs } = config;
    const addresses = JSON.stringify([names, port, loadBalanceHosts, targetSessionAttrs]);
    if (known?.addresses === addresses) return known.hosts;
    const { clock, hasRoomAt, live, names: dns } = this.#options;
    const hosts = new ServerHosts(names, {
      port,
      policy: loadBalanceHosts,
      attrs: targetSessionAttrs,
      socketDirectory: live.settings.unixSocketDir || FALLBACK_SOCKET_DIRECTORY,
      nowMs: () => clock.nowMs(),
      retryMs: () => live.settings.serverLoginRetryMs,
      connectTimeoutMs: () => live.settings.serverConnectTimeoutMs,
      roleRetryMs: () => live.settings.serverRoleRetryMs,
      hasRoomAt: (address) => hasRoomAt(addressKeyOf(address)),
      addressCountOf: (address) => address.kind === "unix" ? 1 : dns.addressCountOf(address.host),
    });
    this.#hosts.set(database, { addresses, hosts });
    return hosts;
  }

  /** Which role a server must have; undefined where any will do. */
  roleDemand(
    database: string,
    { address, hosts }: { address: ServerAddress; hosts: ServerHosts },
  ): RoleDemand | undefined {
    if (!hosts.isRoleAsked) return undefined;
    const { live } = this.#options;
    return {
      recheckMs: () => live.settings.serverCheckDelayMs,
      admit: (role) => {
        const failure = hosts.admit(address, role);
        if (failure === undefined) return undefined;
        const { why } = failure;
        return { reason: why, ...endOf(failure, new PgError(SQLSTATE.cannotConnectNow, why)) };
      },
      recheck: (role) => {
        const why = hosts.recheck(address, role);
        if (why !== undefined) this.#doubtRoles(database, addressKeyOf(address));
        return why;
      },
    };
  }

  /** What one server has become, others at its address may have become too: they are asked. */
  #doubtRoles(database: string, addressKey: string): void {
    for (const { servers } of this.#options.poolsOf(database)) {
      for (const server of [...servers.all()]) {
        if (server.addressKey === addressKey) server.doubtRole();
      }
    }
  }

  /**
   * With `prefer-standby`, has a pool whose servers had to be at a primary come back to a standby,
   * one server at a time. A host that may have become one is tried beside the servers there are.
   */
  seekBetter(pool: ServerPool): void {
    const { database, rules, servers } = pool;
    const config = this.#options.live.databaseConfig(database);
    if (config?.targetSessionAttrs !== "prefer-standby") return;
    if (pool.isPaused || pool.isPrivate || servers.login.size > 0) return;
    const hosts = this.of(database);
    const ousted = [...servers.idle, ...servers.used, ...servers.active]
      .find(({ address, isDoomed }) => !isDoomed && hosts.isSecondChoice(address));
    const { better } = hosts;
    if (ousted === undefined || better === undefined) return;
    if (better === "there") return ousted.tag(BETTER_HOST);
    // Without one to spare, clients might have to wait for a host that does not answer.
    if (servers.count >= rules.poolSize) {
      if (servers.count < 2 || ousted.state.kind !== "idle") return;
      ousted.tag(BETTER_HOST);
    }
    // Until there is room enough, a server would only be opened at a primary once more.
    if (hasRoomForTrial(pool)) pool.openAhead();
  }
}

/** How a server ends whose host is of no use now. */
export function endOf({ isOtherLeft }: HostFailure, error: PgError): Omit<ServerEnd, "reason"> {
  return { kind: isOtherLeft ? "elsewhere" : "unreachable", error };
}

/**
 * Whether a login that fails would leave room for another that is waited for. One trial at a time:
 * without `server_connect_timeout` it may never end.
 */
export function hasRoomForTrial({ loggingIn, rules, servers, waiting }: ServerPool): boolean {
  for (const { isTrial } of servers.login) if (isTrial) return false;
  const isWaitedFor = waiting.size > 0 || loggingIn.size > 0;
  return servers.count + (isWaitedFor ? 2 : 1) <= rules.poolSize;
}
