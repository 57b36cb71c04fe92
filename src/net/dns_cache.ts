/**
 * What names stand for, kept for a while. One look-up of a name is under way at a time, and all who
 * ask meanwhile share it. Time comes in by the clock and by `refresh()`, which the janitor calls.
 *
 * A name that is in use is looked up again when its time is over, though nobody asks: who is connected
 * by it wants to know when it has moved. If that fails, what was known is still true for those who are
 * connected, and the next who asks asks anew.
 */

import type { Clock } from "../base/clock.ts";
import { ipText, peerIp } from "../base/ip_address.ts";
import { NameError, type NameResolver } from "./name_resolver.ts";

/** What a cache is made of. */
export interface DnsCacheOptions {
  readonly clock: Clock;
  readonly resolver: NameResolver;
  /** Longest that an answer is kept (`dns_max_ttl`). */
  readonly maxTtlMs: () => number;
  /** How long it is kept that there was no answer (`dns_nxdomain_ttl`). */
  readonly failureTtlMs: () => number;
  /** How often zones are asked for their serial number (`dns_zone_check_period`); 0 = never. */
  readonly zoneCheckMs: () => number;
  /** Told of a name that has lost an address, with those that it has. */
  readonly onMove: (name: string, addresses: readonly string[]) => void;
}

/** A name, as SHOW DNS_HOSTS tells of it. */
export interface KnownName {
  readonly name: string;
  /** None if it was not found. */
  readonly addresses: readonly string[];
  readonly ttlMs: number;
}

/** A zone, as SHOW DNS_ZONES tells of it. */
export interface KnownZone {
  readonly name: string;
  /** 0 before it is known. */
  readonly serial: number;
  /** Names in it. */
  readonly nameCount: number;
}

/** One name. */
interface Entry {
  readonly name: string;
  addresses: readonly string[];
  failure: NameError | undefined;
  expiresAtMs: number;
  /** When it may be looked up though nobody asks. */
  refreshAtMs: number;
  usedAtMs: number;
  /** Which address is first for the next who asks. */
  turn: number;
  underWay: Promise<NameError | undefined> | undefined;
}

/** A zone, to be written. */
interface Zone extends KnownZone {
  serial: number;
  nameCount: number;
}

/** Without being asked, nothing is looked up more often than this. */
const LEAST_REFRESH_MS = 1_000;

/** A name that nobody has asked for or used in so long is forgotten: configurations change. */
const UNUSED_MS = 3_600_000;

/** Names and their addresses. */
export class DnsCache {
  readonly #options: DnsCacheOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #zones = new Map<string, Zone>();
  #zonesCheckedAtMs: number;
  #isCheckingZones = false;

  constructor(options: DnsCacheOptions) {
    this.#options = options;
    this.#zonesCheckedAtMs = options.clock.nowMs();
  }

  /** All names, by the time they were first asked for. */
  get names(): KnownName[] {
    const nowMs = this.#options.clock.nowMs();
    return [...this.#entries.values()].map(({ addresses, expiresAtMs, failure, name }) => ({
      name,
      addresses: failure === undefined ? addresses : [],
      ttlMs: Math.max(0, expiresAtMs - nowMs),
    }));
  }

  /** All zones that are watched. */
  get zones(): readonly KnownZone[] {
    return [...this.#zones.values()];
  }

  /** Look-ups under way. */
  get pendingCount(): number {
    return [...this.#entries.values()].filter(({ underWay }) => underWay !== undefined).length;
  }

  /**
   * The addresses of a name, each time another one first.
   * @throws {NameError} If it has none.
   */
  async addressesOf(name: string): Promise<readonly string[]> {
    const entry = this.#entries.get(name) ?? this.#add(name);
    entry.usedAtMs = this.#options.clock.nowMs();
    if (entry.expiresAtMs <= entry.usedAtMs) this.#note(entry, await this.#lookUp(entry));
    if (entry.failure !== undefined) throw entry.failure;
    return inTurn(entry);
  }

  /** Who asked in vain keeps others from asking for a while. */
  #note(entry: Entry, failure: NameError | undefined): void {
    if (failure === undefined) return;
    const { clock, failureTtlMs } = this.#options;
    entry.failure = failure;
    entry.expiresAtMs = clock.nowMs() + failureTtlMs();
  }

  /**
   * Whether a server at an address is where its name leads, as far as is known: while nothing is
   * known of a name, it is.
   */
  isCurrent(name: string, address: string): boolean {
    const addresses = this.#entries.get(name)?.addresses ?? [];
    if (addresses.length === 0) return true;
    const wanted = plainText(address);
    return addresses.some((each) => plainText(each) === wanted);
  }

  /** How many addresses a name has, as far as is known; one if nothing is. */
  addressCountOf(name: string): number {
    return Math.max(1, this.#entries.get(name)?.addresses.length ?? 1);
  }

  /** Looks up what is over of the names in use, and forgets those that nobody uses. */
  refresh(isInUse: (name: string) => boolean): void {
    const nowMs = this.#options.clock.nowMs();
    for (const entry of this.#entries.values()) {
      const isDue = entry.expiresAtMs <= nowMs && entry.refreshAtMs <= nowMs;
      if (!isDue || entry.underWay !== undefined) continue;
      if (isInUse(entry.name)) {
        entry.usedAtMs = nowMs;
        void this.#lookUp(entry);
      } else if (nowMs - entry.usedAtMs > UNUSED_MS) {
        this.#forget(entry.name);
      } else {
        entry.refreshAtMs = nowMs + LEAST_REFRESH_MS;
      }
    }
    if (this.#isZoneCheckDue(nowMs)) void this.#checkZones();
  }

  #add(name: string): Entry {
    const entry: Entry = {
      name,
      addresses: [],
      failure: undefined,
      expiresAtMs: 0,
      refreshAtMs: 0,
      usedAtMs: 0,
      turn: 0,
      underWay: undefined,
    };
    this.#entries.set(name, entry);
    const zone = zoneOf(name);
    if (zone === undefined) return entry;
    const known = this.#zones.get(zone);
    if (known === undefined) this.#zones.set(zone, { name: zone, serial: 0, nameCount: 1 });
    else known.nameCount += 1;
    return entry;
  }

  #forget(name: string): void {
    this.#entries.delete(name);
    const zone = this.#zones.get(zoneOf(name) ?? "");
    if (zone === undefined) return;
    zone.nameCount -= 1;
    if (zone.nameCount === 0) this.#zones.delete(zone.name);
  }

  /** Resolves to why nothing was found, if so. One at a time. */
  #lookUp(entry: Entry): Promise<NameError | undefined> {
    entry.underWay ??= this.#lookUpOnce(entry);
    return entry.underWay;
  }

  async #lookUpOnce(entry: Entry): Promise<NameError | undefined> {
    const { clock, failureTtlMs, maxTtlMs, resolver } = this.#options;
    let keepMs = 0;
    try {
      const { addresses, ttlMs = Infinity } = await resolver.lookUp(entry.name);
      keepMs = Math.min(ttlMs, maxTtlMs());
      entry.failure = undefined;
      entry.expiresAtMs = clock.nowMs() + keepMs;
      this.#take(entry, addresses);
      return undefined;
    } catch (error) {
      if (!(error instanceof NameError)) throw error;
      keepMs = failureTtlMs();
      return error;
    } finally {
      entry.refreshAtMs = clock.nowMs() + Math.max(keepMs, LEAST_REFRESH_MS);
      entry.underWay = undefined;
    }
  }

  #take(entry: Entry, addresses: readonly string[]): void {
    const isLost = entry.addresses.some((address) => !addresses.includes(address));
    entry.addresses = addresses;
    if (isLost) this.#options.onMove(entry.name, addresses);
  }

  #isZoneCheckDue(nowMs: number): boolean {
    const periodMs = this.#options.zoneCheckMs();
    return periodMs > 0 && !this.#isCheckingZones && nowMs - this.#zonesCheckedAtMs >= periodMs;
  }

  /** Asks all zones whether anything in them is new; names of those that say so are over. */
  async #checkZones(): Promise<void> {
    this.#isCheckingZones = true;
    await Promise.all([...this.#zones.values()].map((zone) => this.#checkZone(zone)));
    this.#zonesCheckedAtMs = this.#options.clock.nowMs();
    this.#isCheckingZones = false;
  }

  async #checkZone(zone: Zone): Promise<void> {
    try {
      const serial = await this.#options.resolver.zoneSerial(zone.name);
      const isNews = zone.serial !== 0 && serial !== zone.serial;
      zone.serial = serial;
      if (isNews) this.#expire(zone.name);
    } catch (error) {
      // What a zone is called is a guess: that there is none by that name is nothing to be told.
      if (!(error instanceof NameError)) throw error;
    }
  }

  #expire(zone: string): void {
    for (const entry of this.#entries.values()) {
      if (zoneOf(entry.name) === zone) entry.expiresAtMs = entry.refreshAtMs = 0;
    }
  }
}

/** There is more than one way to write an IPv6 address. */
function plainText(address: string): string {
  const bytes = peerIp(address);
  return bytes === undefined ? address : ipText(bytes);
}

/** The addresses of a name, beginning with another one each time. */
function inTurn(entry: Entry): readonly string[] {
  const first = entry.turn++ % entry.addresses.length;
  return [...entry.addresses.slice(first), ...entry.addresses.slice(0, first)];
}

/** What is behind the first dot; undefined if there is none. */
function zoneOf(name: string): string | undefined {
  const zone = name.replace(/\.$/, "").split(".").slice(1).join(".");
  return zone === "" ? undefined : zone;
}
