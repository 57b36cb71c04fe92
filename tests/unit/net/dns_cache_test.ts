import assert from "node:assert/strict";
import { DnsCache } from "../../../src/net/dns_cache.ts";
import { NameError } from "../../../src/net/name_resolver.ts";
import { FakeClock, settle } from "../../support/fake_clock.ts";
import { FakeResolver } from "../../support/fake_resolver.ts";

class World {
  readonly clock = new FakeClock();
  readonly resolver = new FakeResolver();
  readonly moves: string[] = [];
  zoneCheckMs = 0;
  readonly cache = new DnsCache({
    clock: this.clock,
    resolver: this.resolver,
    maxTtlMs: () => 15_000,
    failureTtlMs: () => 5_000,
    zoneCheckMs: () => this.zoneCheckMs,
    onMove: (name, addresses) => this.moves.push(`${name} ${addresses.join(" ")}`),
  });

  async outcome(name: string): Promise<string> {
    try {
      return (await this.cache.addressesOf(name)).join(" ");
    } catch (error) {
      assert.ok(error instanceof NameError);
      return error.message;
    }
  }

  /** One round of the janitor, for which these names are in use. */
  async refresh(...inUse: readonly string[]): Promise<void> {
    this.cache.refresh((name) => inUse.includes(name));
    await settle();
  }
}

Deno.test("DnsCache asks once in dns_max_ttl, and gives each address its turn", async () => {
  const world = new World();
  world.resolver.set("db.a", ["1", "2", "3"]);
  assert.equal(await world.outcome("db.a"), "1 2 3");
  assert.equal(await world.outcome("db.a"), "2 3 1");
  world.clock.advance(14_999);
  assert.equal(await world.outcome("db.a"), "3 1 2");
  assert.equal(world.resolver.asked.length, 1);
  world.clock.advance(1);
  assert.equal(await world.outcome("db.a"), "1 2 3");
  assert.equal(world.resolver.asked.length, 2);
});

Deno.test("DnsCache keeps an answer no longer than the name service wants it kept", async () => {
  const world = new World();
  world.resolver.set("short.a", ["1"], 2_000);
  world.resolver.set("long.a", ["1"], 3_600_000);
  await world.outcome("short.a");
  await world.outcome("long.a");
  assert.deepEqual(world.cache.names, [
    { name: "short.a", addresses: ["1"], ttlMs: 2_000 },
    { name: "long.a", addresses: ["1"], ttlMs: 15_000 },
  ]);
});

Deno.test("DnsCache keeps a failure for dns_nxdomain_ttl, and then asks again", async () => {
  const world = new World();
  assert.equal(await world.outcome("db.a"), "db.a: not found");
  world.resolver.set("db.a", ["1"]);
  world.clock.advance(4_999);
  assert.equal(await world.outcome("db.a"), "db.a: not found");
  assert.deepEqual(world.cache.names, [{ name: "db.a", addresses: [], ttlMs: 1 }]);
  world.clock.advance(1);
  assert.equal(await world.outcome("db.a"), "1");
  assert.equal(world.resolver.asked.length, 2);
});

Deno.test("DnsCache has one look-up of a name under way, whose answer all share", async () => {
  const world = new World();
  const { promise, resolve } = Promise.withResolvers<void>();
  world.resolver.gate = promise;
  const all = ["db.a", "db.a", "other.a", "db.a"].map((name) => world.outcome(name));
  await world.refresh("db.a");
  assert.deepEqual(world.resolver.asked, ["db.a", "other.a"]);
  assert.equal(world.cache.pendingCount, 2);
  world.resolver.set("db.a", ["1", "2"]);
  resolve();
  assert.deepEqual(await Promise.all(all), ["1 2", "2 1", "other.a: not found", "1 2"]);
  assert.equal(world.cache.pendingCount, 0);
});

Deno.test("DnsCache tells of an address that left the answer, and of none that came", async () => {
  const world = new World();
  world.resolver.set("db.a", ["1", "2"]);
  await world.outcome("db.a");
  world.resolver.set("db.a", ["3", "2", "1"]);
  world.clock.advance(15_000);
  await world.refresh("db.a");
  assert.deepEqual(world.moves, []);
  world.resolver.set("db.a", ["3", "2"]);
  world.clock.advance(15_000);
  await world.refresh("db.a");
  assert.deepEqual(world.moves, ["db.a 3 2"]);
  assert.equal(world.cache.isCurrent("db.a", "1"), false);
  assert.equal(world.cache.isCurrent("db.a", "3"), true);
  assert.equal(world.cache.isCurrent("never.asked", "1"), true);
});

Deno.test("DnsCache looks names in use up again though nobody asks, and others not", async () => {
  const world = new World();
  world.resolver.set("used.a", ["1"]);
  world.resolver.set("unused.a", ["1"]);
  await world.outcome("used.a");
  await world.outcome("unused.a");
  world.clock.advance(15_000);
  await world.refresh("used.a");
  assert.deepEqual(world.resolver.asked, ["used.a", "unused.a", "used.a"]);
  world.clock.advance(3_600_001);
  await world.refresh("used.a");
  assert.deepEqual(world.cache.names.map(({ name }) => name), ["used.a"]);
});

Deno.test("DnsCache holds on to what it knew if a refresh fails, and tries again later", async () => {
  const world = new World();
  world.resolver.set("db.a", ["1"]);
  await world.outcome("db.a");
  world.resolver.answers.delete("db.a");
  world.clock.advance(15_000);
  await world.refresh("db.a");
  assert.deepEqual(world.moves, []);
  assert.equal(world.cache.isCurrent("db.a", "1"), true);
  await world.refresh("db.a");
  assert.equal(world.resolver.asked.length, 2);
  // Who asks is told what is true now.
  assert.equal(await world.outcome("db.a"), "db.a: not found");
  world.resolver.set("db.a", ["2"]);
  world.clock.advance(5_000);
  await world.refresh("db.a");
  assert.deepEqual(world.moves, ["db.a 2"]);
  assert.equal(await world.outcome("db.a"), "2");
});

Deno.test("DnsCache asks for what is not to be kept once a second at most by itself", async () => {
  const world = new World();
  world.resolver.set("db.a", ["1"], 0);
  assert.equal(await world.outcome("db.a"), "1");
  assert.equal(await world.outcome("db.a"), "1");
  assert.equal(world.resolver.asked.length, 2);
  for (let i = 0; i < 6; i++) {
    world.clock.advance(333);
    await world.refresh("db.a");
  }
  assert.equal(world.resolver.asked.length, 3);
});

Deno.test("DnsCache looks up anew what is in a zone whose serial number has changed", async () => {
  const world = new World();
  world.zoneCheckMs = 2_000;
  world.resolver.set("db.a.example", ["1"]);
  world.resolver.set("db.b.example", ["1"]);
  world.resolver.set("local", ["1"]);
  for (const name of ["db.a.example", "db.b.example", "local"]) await world.outcome(name);
  world.resolver.serials.set("a.example", 7);
  world.clock.advance(2_000);
  await world.refresh("db.a.example");
  assert.deepEqual(world.cache.zones, [
    { name: "a.example", serial: 7, nameCount: 1 },
    { name: "b.example", serial: 0, nameCount: 1 },
  ]);
  world.resolver.serials.set("a.example", 8);
  world.resolver.set("db.a.example", ["2"]);
  world.clock.advance(1_999);
  await world.refresh("db.a.example");
  assert.deepEqual(world.moves, []);
  world.clock.advance(1);
  await world.refresh("db.a.example");
  await world.refresh("db.a.example");
  assert.deepEqual(world.moves, ["db.a.example 2"]);
});
