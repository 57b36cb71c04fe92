/**
 * What one server knows of its own role, and when it has to be asked again. Pure.
 *
 * Since PostgreSQL 14 a server reports with its answers that it has become a primary. One that was
 * not asked anything says nothing, and an older one never does: they are asked.
 */

import { answeredRole, READ_ONLY, reportedRole, type ServerRole } from "./server_role.ts";
import type { ParameterCache } from "../link/parameter_cache.ts";
import type { ServerEnd } from "./server_end.ts";

/** What is demanded of a server's role; there is none where any will do. */
export interface RoleDemand {
  /** How long an answer counts, where the server does not report its role; 0 = for good. */
  readonly recheckMs: () => number;
  /** Judges a server that has logged in. Returns how it ends, if it does not suit. */
  admit(role: ServerRole): ServerEnd | undefined;
  /** Judges one that was admitted. Returns why it is to go, if so. */
  recheck(role: ServerRole): string | undefined;
}

/** The role of one server. */
export class RoleWatch {
  readonly #demand: RoleDemand;
  #role: ServerRole | undefined;
  /** What it is if it is no standby. */
  #primaryRole: ServerRole = "read_write_primary";
  #isReported = false;
  /** Those to whom the server said that they are read-only, as long as it is not known why. */
  readonly #readOnlyClients = new Set<ParameterCache>();
  #isInDoubt = false;
  #knownAtMs = 0;

  constructor(demand: RoleDemand) {
    this.#demand = demand;
  }

  /** Takes over what was reported at login. Returns whether the role is among that. */
  noteReports(parameters: ReadonlyMap<string, string>): boolean {
    this.#role = reportedRole(parameters);
    this.#isReported = this.#role !== undefined;
    if (parameters.get(READ_ONLY) === "on") {
      this.#primaryRole = "read_only_primary";
    }
    return this.#isReported;
  }

  /** Takes over the answer to `ROLE_QUERY`. Returns whether it is one. */
  noteAnswer(tag: string | undefined, nowMs: number): boolean {
    const role = answeredRole(tag);
    if (role === undefined) return false;
    this.#role = role;
    if (role !== "standby") this.#primaryRole = role;
    if (role === "read_only_primary") {
      for (const client of this.#readOnlyClients) client.takeBack(READ_ONLY, "off");
    }
    this.#readOnlyClients.clear();
    this.#isInDoubt = false;
    this.#knownAtMs = nowMs;
    return true;
  }

  /** Takes over that `in_hot_standby` was reported anew. Returns why the server is to go, if so. */
  noteHotStandby(isStandby: boolean): string | undefined {
    if (this.#role === undefined) {
      // In one breath with the end of the login, which said something else.
      this.doubt();
      return undefined;
    }
    this.#role = isStandby ? "standby" : this.#primaryRole;
    return this.#demand.recheck(this.#role);
  }

  /** The role may have changed. */
  doubt(): void {
    this.#isInDoubt = true;
  }

  /** The role may have changed, if it was one in which the server writes. Returns whether it was. */
  doubtWrites(): boolean {
    if (this.#role !== "read_write_primary") return false;
    this.doubt();
    return true;
  }

  /**
   * A session that writes has become read-only: its client has asked for that, or the server was made
   * so. Which of the two, the server tells when it is asked.
   */
  noteReadOnly(client: ParameterCache): void {
    if (this.doubtWrites()) this.#readOnlyClients.add(client);
  }

  /** Whether the server has to be asked before anybody gets it. HOT: asked at every release. */
  isDue(nowMs: number): boolean {
    if (this.#isInDoubt) return true;
    if (this.#isReported || this.#role === undefined) return false;
    const recheckMs = this.#demand.recheckMs();
    return recheckMs > 0 && nowMs - this.#knownAtMs > recheckMs;
  }

  /** How the server ends that has just logged in, if it does not suit. */
  admit(): ServerEnd | undefined {
    return this.#role && this.#demand.admit(this.#role);
  }

  /** Why the server is to go, if it does not suit any more. */
  recheck(): string | undefined {
    return this.#role && this.#demand.recheck(this.#role);
  }
}
