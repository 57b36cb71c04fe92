/** A name service that the test writes. */

import { type NameAnswer, NameError, type NameResolver } from "../../src/net/name_resolver.ts";

/** Knows what it is told. */
export class FakeResolver implements NameResolver {
  readonly answers = new Map<string, NameAnswer>();
  readonly serials = new Map<string, number>();
  /** Names, and zones behind `SOA`. */
  readonly asked: string[] = [];
  /** Waited for before an answer. */
  gate: Promise<void> = Promise.resolve();

  async lookUp(name: string): Promise<NameAnswer> {
    this.asked.push(name);
    await this.gate;
    const answer = this.answers.get(name);
    if (answer === undefined) throw new NameError(`${name}: not found`);
    return answer;
  }

  zoneSerial(zone: string): Promise<number> {
    this.asked.push(`SOA ${zone}`);
    const serial = this.serials.get(zone);
    return serial === undefined ? Promise.reject(new NameError(zone)) : Promise.resolve(serial);
  }

  set(name: string, addresses: readonly string[], ttlMs?: number): void {
    this.answers.set(name, { addresses, ttlMs });
  }
}
