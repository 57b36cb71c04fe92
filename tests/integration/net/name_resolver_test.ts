import assert from "node:assert/strict";
import { NameError, NameServerResolver, SystemResolver } from "../../../src/net/name_resolver.ts";
import { NameServer } from "../../support/name_server.ts";

function resolverOf(server: NameServer, { search = [] }: { search?: readonly string[] } = {}) {
  const { address } = server;
  const times = { timeoutMs: 200, attempts: 1 };
  return new NameServerResolver({ nameServers: [address], search, minDots: 1, ...times });
}

Deno.test("the system's resolver knows localhost, and nothing of how long that is true", async () => {
  const { addresses, ttlMs } = await new SystemResolver().lookUp("localhost");
  assert.ok(addresses.includes("127.0.0.1"), addresses.join(" "));
  assert.equal(ttlMs, undefined);
});

Deno.test("the system's resolver says which name leads nowhere", async () => {
  const looking = new SystemResolver().lookUp("no.such.name.invalid");
  await assert.rejects(looking, (error) => {
    assert.ok(error instanceof NameError);
    return error.message.startsWith("no.such.name.invalid: ");
  });
});

Deno.test("a name server is asked for IPv4 and IPv6, and the shorter time counts", async () => {
  await using server = await NameServer.start();
  server.records.set("db.example", { addresses: ["10.1.2.3", "10.1.2.4"], ttlSeconds: 7 });
  server.records.set("six.example", { addresses: ["2001:db8::5"], ttlSeconds: 9 });
  const resolver = resolverOf(server);
  const both = await resolver.lookUp("db.example");
  assert.deepEqual([both.addresses.toSorted(), both.ttlMs], [["10.1.2.3", "10.1.2.4"], 7_000]);
  assert.deepEqual(await resolver.lookUp("six.example"), {
    addresses: ["2001:db8::5"],
    ttlMs: 9_000,
  });
});

Deno.test("a name with few dots is looked for in the domains of the search list", async () => {
  await using server = await NameServer.start();
  server.records.set("db.b.example", { addresses: ["10.0.0.1"] });
  const resolver = resolverOf(server, { search: ["a.example", "b.example"] });
  assert.deepEqual((await resolver.lookUp("db")).addresses, ["10.0.0.1"]);
  assert.ok(server.asked.includes("db.a.example 1"));
});

Deno.test("localhost is no name for a name server", async () => {
  await using server = await NameServer.start();
  const { addresses } = await resolverOf(server).lookUp("localhost");
  assert.ok(addresses.length > 0);
  assert.deepEqual(server.asked, []);
});

Deno.test("a name server that knows no such name, or says nothing, is a NameError", async () => {
  await using server = await NameServer.start();
  const resolver = resolverOf(server);
  await assert.rejects(resolver.lookUp("none.example"), NameError);
  server.isSilent = true;
  await assert.rejects(resolver.lookUp("db.example"), NameError);
});

Deno.test("the serial number of a zone is told", async () => {
  await using server = await NameServer.start();
  server.records.set("example", { serial: 2_026_112_701 });
  const resolver = resolverOf(server);
  assert.equal(await resolver.zoneSerial("example"), 2_026_112_701);
  await assert.rejects(resolver.zoneSerial("other"), NameError);
});
