import assert from "node:assert/strict";
import { DnsCache } from "../../../src/net/dns_cache.ts";
import { DialError, type ServerAddress } from "../../../src/net/network.ts";
import { ResolvingNetwork } from "../../../src/net/resolving_network.ts";
import { FakeClock, settle } from "../../support/fake_clock.ts";
import { FakeResolver } from "../../support/fake_resolver.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { SimNetwork } from "../../support/sim_net.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";

const OPTIONS = { receiveBytes: 1024, maxBusyReads: 0, tcp: SYSTEM_TCP, timeoutMs: 5_000 };
const DB = { kind: "tcp", host: "db.example", port: 5432 } as const;

class World {
  readonly clock = new FakeClock();
  readonly resolver = new FakeResolver();
  readonly engine = new SimNetwork({
    random: new SeededRandom(1),
    clock: this.clock,
    isAutomatic: true,
  });
  readonly network = new ResolvingNetwork({
    engine: this.engine,
    clock: this.clock,
    names: new DnsCache({
      clock: this.clock,
      resolver: this.resolver,
      maxTtlMs: () => 15_000,
      failureTtlMs: () => 15_000,
      zoneCheckMs: () => 0,
      onMove: () => {},
    }),
  });

  async listen(...hosts: readonly string[]): Promise<void> {
    for (const host of hosts) {
      await this.network.listen({ kind: "tcp", host, port: 5432, backlog: 8 }, () => OPTIONS);
    }
  }

  /** Where a dial ended, or how it failed. */
  async outcome(address: ServerAddress = DB, signal?: AbortSignal): Promise<string> {
    try {
      const options = signal === undefined ? OPTIONS : { ...OPTIONS, signal };
      return (await this.network.dial(address, options)).remote.host;
    } catch (error) {
      assert.ok(error instanceof DialError, String(error));
      return error.failure;
    }
  }
}

Deno.test("ResolvingNetwork dials the addresses of a name in turn", async () => {
  const world = new World();
  await world.listen("10.0.0.1", "10.0.0.2");
  world.resolver.set("db.example", ["10.0.0.1", "10.0.0.2"]);
  const hosts = [await world.outcome(), await world.outcome(), await world.outcome()];
  assert.deepEqual(hosts, ["10.0.0.1", "10.0.0.2", "10.0.0.1"]);
});

Deno.test("ResolvingNetwork goes on to the next address where nobody listens at one", async () => {
  const world = new World();
  await world.listen("10.0.0.3");
  world.resolver.set("db.example", ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
  assert.equal(await world.outcome(), "10.0.0.3");
  world.resolver.set("db2.example", ["10.0.0.1", "10.0.0.2"]);
  assert.equal(await world.outcome({ ...DB, host: "db2.example" }), "connect failed");
});

Deno.test("ResolvingNetwork asks nobody for an address, or for a unix socket", async () => {
  const world = new World();
  await world.listen("10.0.0.1");
  assert.equal(await world.outcome({ ...DB, host: "10.0.0.1" }), "10.0.0.1");
  assert.equal(await world.outcome({ ...DB, host: "2001:db8::1" }), "connect failed");
  assert.equal(await world.outcome({ ...DB, host: "fe80::1%eth0" }), "connect failed");
  await world.outcome({ kind: "unix", path: "/run/.s.PGSQL.5432", port: 5432 });
  assert.deepEqual(world.resolver.asked, []);
});

Deno.test("ResolvingNetwork says of a name that leads nowhere: server DNS lookup failed", async () => {
  assert.equal(await new World().outcome(), "server DNS lookup failed");
});

Deno.test("ResolvingNetwork waits for a name service no longer than for the whole dial", async () => {
  const world = new World();
  world.resolver.gate = new Promise(() => {});
  const outcome = world.outcome();
  await settle();
  world.clock.advance(5_000);
  assert.equal(await outcome, "connect timeout");
  assert.equal(world.clock.timerCount, 0);
});

Deno.test("ResolvingNetwork gives up a dial that nobody wants any more, at any moment", async () => {
  const world = new World();
  const { promise, resolve } = Promise.withResolvers<void>();
  world.resolver.gate = promise;
  const abort = new AbortController();
  const outcome = world.outcome(DB, abort.signal);
  await settle();
  abort.abort();
  assert.equal(await outcome, "connect timeout");
  // Others get the answer that it was waiting for.
  world.resolver.set("db.example", ["10.0.0.1"]);
  resolve();
  await world.listen("10.0.0.1");
  assert.equal(await world.outcome(), "10.0.0.1");
  assert.equal(world.resolver.asked.length, 1);
});
