/**
 * The hosts of one database: which one the next connection goes to, and what is known of each.
 *
 * A host that has failed is passed over for `server_login_retry`. Then it is tried again in its
 * turn, as a trial: beside the others, which go on being used meanwhile. A host that answers and
 * does not suit is passed over likewise; while no host suits, it is asked again sooner, since it is
 * there that a failover shows. Pure but for the clock.
 */

import { assert } from "../base/assert.ts";
import { isSocketDirectory } from "../config/effective_settings.ts";
import type { TargetSessionAttrs } from "../config/settings.ts";
import { type ServerAddress, unixSocketPath } from "../net/network.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { roleProblem, type ServerRole } from "./server_role.ts";

/** Whatever the settings say: else one attempt would follow the other as fast as can be. */
const LEAST_PAUSE_MS = 300;

/** What the hosts of a database are made of. */
export interface ServerHostsOptions {
  readonly port: number;
  readonly policy: "round-robin" | "disable";
  readonly attrs: TargetSessionAttrs;
  /** Where PostgreSQL's socket is, if no host is named at all. */
  readonly socketDirectory: string;
  readonly nowMs: () => number;
  /** How long a host that failed is passed over (`server_login_retry`). */
  readonly retryMs: () => number;
  /** How long a connection may take that comes to nothing (`server_connect_timeout`). */
  readonly connectTimeoutMs: () => number;
  /** How soon one is asked again that does not suit, while none does (`server_role_retry`). */
  readonly roleRetryMs: () => number;
  /** Whether limits let one more server be at an address. */
  readonly hasRoomAt: (address: ServerAddress) => boolean;
  /** Behind how many addresses there may be different servers: those of a name. */
  readonly addressCountOf: (address: ServerAddress) => number;
}

/** Where the next connection goes. */
export interface HostChoice {
  readonly address: ServerAddress;
  /** Whether it goes to a host with a problem, while there are others: nobody is to wait for it. */
  readonly isTrial: boolean;
}

/** What a connection came to that is of no use, and what that says of the others. */
export interface HostFailure {
  /** For the log. */
  readonly why: string;
  /** Whether there is another host, which was not tried since a connection last came about. */
  readonly isOtherLeft: boolean;
}

/** What is known against a host. */
interface HostProblem {
  /**
   * `failed`: it cannot be reached; `unfit`: it can, and does not suit or is not ready;
   * `second_choice`: it suits as long as there is no better one.
   */
  readonly kind: "failed" | "unfit" | "second_choice";
  readonly why: string;
  /** When that was found, or an attempt ends that was made since. */
  atMs: number;
}

/** One host, and what is known of it. */
interface Host {
  readonly address: ServerAddress;
  /** Whether it speaks no protocol but 3.0. */
  isOld: boolean;
  problem: HostProblem | undefined;
  /** How many servers in succession did not suit, of those behind its name. */
  unfitCount: number;
}

/** Chooses among the hosts of a database, as `load_balance_hosts` and `target_session_attrs` say. */
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
      problem: undefined,
      unfitCount: 0,
    }));
  }

  /** All of them. */
  get addresses(): readonly ServerAddress[] {
    return this.#hosts.map(({ address }) => address);
  }

  /**
   * Those that the next connection may go to, once there is room: a host that has failed is no place
   * to go to for want of room at those that work.
   * @param mayTrial As for `next()`.
   */
  candidates({ mayTrial }: { mayTrial: boolean }): readonly ServerAddress[] {
    if (!this.#hosts.some(isUsable)) return this.addresses;
    return this.#hosts
      .filter((host) => isUsable(host) || mayTrial && this.#isDueForTrial(host))
      .map(({ address }) => address);
  }

  /** Whether a server must have some role. */
  get isRoleAsked(): boolean {
    return this.#options.attrs !== "any";
  }

  /** Whether there is a host that has no problem, or had it long enough ago. */
  get isOneWorthTrying(): boolean {
    return this.#hosts.some((host) => this.#isWorthTrying(host));
  }

  /**
   * What those are told who wait, as far as a host that answers may yet become what is asked for:
   * undefined if none does.
   */
  get unfitError(): PgError | undefined {
    const problem = this.#hosts.find(({ problem }) => problem?.kind === "unfit")?.problem;
    return problem && new PgError(SQLSTATE.cannotConnectNow, problem.why);
  }

  /**
   * The host for the next connection: in its turn, of those that work and where there is room, if
   * there are any.
   * @param mayTrial Whether there may be a connection that nobody waits for.
   */
  next({ mayTrial = true } = {}): HostChoice {
    const host = this.#choose(mayTrial);
    if (this.#options.policy === "round-robin") this.#passTurn(host);
    const isTrial = this.#hosts.some((other) => isAhead(other, host));
    if (host.problem !== undefined) host.problem.atMs = this.#attemptEndMs(host.problem);
    return { address: host.address, isTrial };
  }

  /** As long as an attempt goes on, nobody else need make one. */
  #attemptEndMs({ kind }: HostProblem): number {
    const { connectTimeoutMs, nowMs, retryMs } = this.#options;
    const isSlow = kind === "failed";
    return nowMs() + (isSlow ? Math.max(0, connectTimeoutMs() - retryMs()) : 0);
  }

  #choose(mayTrial: boolean): Host {
    const turn = this.#hosts.map((_, at) => this.#hosts[(this.#next + at) % this.#hosts.length]!);
    const roomy = turn.filter((host) => this.#hasRoom(host));
    return roomy.find((host) => isGood(host) || mayTrial && this.#isDueForTrial(host)) ??
      roomy.find(isSecondChoice) ??
      roomy.find((host) => host.problem?.kind === "unfit" && this.#isWorthTrying(host)) ??
      roomy.find((host) => this.#isWorthTrying(host)) ?? roomy[0] ?? turn[0]!;
  }

  /**
   * Takes note that no connection came about, for a reason; `isUnfit` if the host answered, and is
   * only not ready yet.
   */
  noteFailure(
    address: ServerAddress,
    { isUnfit, why }: { isUnfit: boolean; why: string },
  ): HostFailure {
    const host = this.#hostAt(address);
    // What comes back may be another program.
    host.isOld = false;
    return this.#fail(host, { kind: isUnfit ? "unfit" : "failed", why });
  }

  /** Takes note that an address refuses every protocol but 3.0, until it fails. */
  noteOldProtocol(address: ServerAddress): void {
    this.#hostAt(address).isOld = true;
  }

  /** Whether an address is known to refuse every protocol but 3.0. */
  isOldProtocol(address: ServerAddress): boolean {
    return this.#hostAt(address).isOld;
  }

  /** Takes note that a connection came about, where no role is asked for. */
  noteSuccess(address: ServerAddress): void {
    const host = this.#hostAt(address);
    host.unfitCount = 0;
    this.#settle(host, undefined);
  }

  /** Judges the role of a server that has logged in. Returns undefined if it is to be used. */
  admit(address: ServerAddress, role: ServerRole): HostFailure | undefined {
    const why = this.#problemOf(role);
    if (why === undefined) {
      this.noteSuccess(address);
      return undefined;
    }
    const host = this.#hostAt(address);
    host.unfitCount += 1;
    // Each dial takes the next address of a name.
    const isNextAddressLeft = host.unfitCount < this.#options.addressCountOf(address);
    if (isNextAddressLeft) return { why, isOtherLeft: true };
    host.unfitCount = 0;
    if (!this.#isSecondChoiceEnough()) return this.#fail(host, { kind: "unfit", why });
    const kind = "second_choice";
    if (this.#isBetterThan(host)) return this.#fail(host, { kind, why });
    this.#settle(host, { kind, why, atMs: this.#options.nowMs() });
    return undefined;
  }

  /**
   * Judges the role of a server that was admitted, and has become another or was asked anew. Returns
   * why it is not to be used any more, if so.
   */
  recheck(address: ServerAddress, role: ServerRole): string | undefined {
    const why = this.#problemOf(role);
    const host = this.#hostAt(address);
    // Of the servers behind one name, one says nothing of the others.
    const isAlone = this.#options.addressCountOf(address) === 1;
    if (why === undefined) {
      if (isAlone && host.problem?.kind !== "failed") host.problem = undefined;
      return undefined;
    }
    const kind = this.#isSecondChoiceEnough() ? "second_choice" : "unfit";
    if (isAlone) host.problem = { kind, why, atMs: this.#options.nowMs() };
    return kind === "unfit" || this.#isBetterThan(host) ? why : undefined;
  }

  /** Whether servers at an address are only used for want of better ones. */
  isSecondChoice(address: ServerAddress): boolean {
    return this.#hosts.some((host) => host.address === address && isSecondChoice(host));
  }

  /** Whether a better host than that of a second choice is there, or one to be tried. */
  get better(): "there" | "to_be_tried" | undefined {
    const roomy = this.#hosts.filter((host) => this.#hasRoom(host));
    if (roomy.some(isGood)) return "there";
    return roomy.some((host) => this.#isDueForTrial(host)) ? "to_be_tried" : undefined;
  }

  #problemOf(role: ServerRole): string | undefined {
    const { attrs } = this.#options;
    const why = roleProblem(attrs, role);
    return why && `${why} (target_session_attrs=${attrs})`;
  }

  #isSecondChoiceEnough(): boolean {
    return this.#options.attrs === "prefer-standby";
  }

  #isBetterThan(host: Host): boolean {
    return this.#hosts.some((each) => each !== host && isGood(each) && this.#hasRoom(each));
  }

  #fail(host: Host, { kind, why }: Omit<HostProblem, "atMs">): HostFailure {
    host.problem = { kind, why, atMs: this.#options.nowMs() };
    if (this.#options.policy === "disable" && this.#hosts[this.#next] === host) {
      this.#passTurn(host);
    }
    this.#tried.add(host);
    const isOtherLeft = this.#hosts.some((each) =>
      (this.#hasRoom(each) || isUsable(each)) &&
      (isSecondChoice(each) || !this.#tried.has(each) && this.#isWorthTrying(each))
    );
    if (!isOtherLeft) this.#tried.clear();
    return { why, isOtherLeft };
  }

  /** A connection has come about that is used. */
  #settle(host: Host, problem: HostProblem | undefined): void {
    host.problem = problem;
    this.#tried.clear();
    // Without balancing, what works is stayed with.
    const { policy } = this.#options;
    if (policy === "disable" && !isGood(this.#hosts[this.#next]!)) {
      this.#next = this.#hosts.indexOf(host);
    }
  }

  #isWorthTrying({ problem }: Host): boolean {
    if (problem === undefined) return true;
    const { retryMs, roleRetryMs } = this.#options;
    const isAskedSoon = problem.kind === "unfit" && this.isRoleAsked;
    return this.#isOver(problem, isAskedSoon ? Math.min(roleRetryMs(), retryMs()) : retryMs());
  }

  /** Whether a host with a problem may be tried beside others that have none. */
  #isDueForTrial({ problem }: Host): boolean {
    if (problem === undefined || problem.kind === "second_choice") return false;
    return this.#isOver(problem, this.#options.retryMs());
  }

  /** Whether a host was left alone for long enough. */
  #isOver({ atMs }: HostProblem, pauseMs: number): boolean {
    return this.#options.nowMs() - atMs >= Math.max(LEAST_PAUSE_MS, pauseMs);
  }

  #hasRoom({ address }: Host): boolean {
    return this.#options.hasRoomAt(address);
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

function isGood({ problem }: Host): boolean {
  return problem === undefined;
}

function isSecondChoice({ problem }: Host): boolean {
  return problem?.kind === "second_choice";
}

/** Whether it works, as far as is known. */
function isUsable(host: Host): boolean {
  return isGood(host) || isSecondChoice(host);
}

/** Whether nobody need wait for the one host, since there is the other, or it is likelier. */
function isAhead(other: Host, host: Host): boolean {
  return rankOf(other) < rankOf(host);
}

function rankOf({ problem }: Host): number {
  switch (problem?.kind) {
    case undefined:
    case "second_choice":
      return 0;
    case "unfit":
      return 1;
    case "failed":
      return 2;
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
