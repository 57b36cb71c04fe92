/**
 * The connections that have not proved who they are, and their limit (`max_login_clients`): a flood
 * of logins that never end must starve neither those that are in nor those that come in earnest.
 *
 * The one too many is let in, and the oldest of the address that has most is ended: a flood meets
 * itself, and who logs in at an ordinary pace is through before it is the oldest of anybody.
 */

import { peerGroup } from "../base/ip_address.ts";
import type { Logger } from "../log/logger.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { ClientSession } from "./client_session.ts";

/** What the limit is made of. */
export interface LoginLimitOptions {
  /** Most connections, at least 1. */
  readonly limit: () => number;
  readonly log: Logger;
}

/** Knows who has not logged in yet, by address. */
export class LoginLimit {
  readonly #options: LoginLimitOptions;
  /** Each group oldest first; none is empty. */
  readonly #groups = new Map<string, Set<ClientSession>>();
  readonly #groupOf = new Map<ClientSession, string>();
  /** Since the last report. */
  #endedCount = 0;
  #lastGroup = "";

  constructor(options: LoginLimitOptions) {
    this.#options = options;
  }

  /** Connections that have not logged in. */
  get count(): number {
    return this.#groupOf.size;
  }

  /** A connection was accepted; another may be ended for it. */
  add(client: ClientSession): void {
    this.#put(client);
    const limit = this.#options.limit();
    while (this.count > limit) this.#endOne();
  }

  /** A connection is not from where it seemed to be. */
  move(client: ClientSession): void {
    if (this.remove(client)) this.#put(client);
  }

  /** It has logged in, turned out to want something else, or ended. Returns whether it counted. */
  remove(client: ClientSession): boolean {
    const name = this.#groupOf.get(client);
    if (name === undefined) return false;
    this.#groupOf.delete(client);
    const group = this.#groups.get(name)!;
    group.delete(client);
    if (group.size === 0) this.#groups.delete(name);
    return true;
  }

  /** Tells the log what was done since the last time. Not a line each: that would be a flood too. */
  report(): void {
    if (this.#endedCount === 0) return;
    this.#options.log.warning(
      `max_login_clients: ${this.#endedCount} connections that had not logged in were ended, ` +
        `the last of them from ${this.#lastGroup}`,
    );
    this.#endedCount = 0;
  }

  #put(client: ClientSession): void {
    const name = peerGroup(client.remote.host);
    this.#groupOf.set(client, name);
    const group = this.#groups.get(name);
    if (group === undefined) this.#groups.set(name, new Set([client]));
    else group.add(client);
  }

  #endOne(): void {
    const [name, client] = this.#oldestOfLargest();
    this.#endedCount += 1;
    this.#lastGroup = name;
    this.remove(client);
    client.turnAway(
      new PgError(SQLSTATE.tooManyConnections, "too many logins under way (max_login_clients)"),
    );
  }

  /** Of groups of the same size, the one whose oldest connection is the oldest. */
  #oldestOfLargest(): [name: string, client: ClientSession] {
    let found: [string, ClientSession] | undefined;
    let size = 0;
    for (const [name, group] of this.#groups) {
      if (group.size < size) continue;
      const [oldest] = group;
      const isLarger = group.size > size;
      if (isLarger || oldest!.id < found![1].id) found = [name, oldest!];
      size = group.size;
    }
    return found!;
  }
}
