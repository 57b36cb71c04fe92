import assert from "node:assert/strict";
import type { ServerAddress } from "../../../src/net/network.ts";
import { addressKeyOf, addressOf, ServerHosts } from "../../../src/server/server_hosts.ts";

function hosts(names: readonly string[], policy: "round-robin" | "disable" = "round-robin") {
  return new ServerHosts(names, { port: 5432, policy, socketDirectory: "/run/postgresql" });
}

function tcp(host: string) {
  return { kind: "tcp", host, port: 5432 };
}

Deno.test("ServerHosts takes the hosts in turn", () => {
  const three = hosts(["a", "b", "c"]);
  const taken = Array.from({ length: 4 }, () => three.next());
  assert.deepEqual(taken, [tcp("a"), tcp("b"), tcp("c"), tcp("a")]);
});

Deno.test("ServerHosts stays with the first host that works when balancing is off", () => {
  const three = hosts(["a", "b", "c"], "disable");
  const first = three.next();
  assert.deepEqual(three.next(), first);
  three.noteFailure(first);
  assert.deepEqual(three.next(), tcp("b"));
  assert.deepEqual(three.next(), tcp("b"));
});

Deno.test("ServerHosts passes over a host once, though several connections to it failed", () => {
  const three = hosts(["a", "b", "c"], "disable");
  const first = three.next();
  three.noteFailure(first);
  three.noteFailure(first);
  assert.deepEqual(three.next(), tcp("b"));
});

Deno.test("ServerHosts comes back to the first host after the last", () => {
  const two = hosts(["a", "b"], "disable");
  two.noteFailure(two.next());
  two.noteFailure(two.next());
  assert.deepEqual(two.next(), tcp("a"));
});

Deno.test("ServerHosts knows a failure of a host in turn without changing the turn", () => {
  const two = hosts(["a", "b"]);
  two.noteFailure(two.next());
  assert.deepEqual(two.next(), tcp("b"));
});

Deno.test("ServerHosts reads a path and an abstract name as unix sockets", () => {
  const path = "/tmp/.s.PGSQL.5432";
  assert.deepEqual(hosts(["/tmp"]).next(), { kind: "unix", path, port: 5432 });
  assert.deepEqual(hosts(["@x"]).next(), { kind: "unix", path: "@x/.s.PGSQL.5432", port: 5432 });
});

Deno.test("ServerHosts looks for PostgreSQL's socket when no host is named", () => {
  const path = "/run/postgresql/.s.PGSQL.5432";
  assert.deepEqual(hosts([]).next(), { kind: "unix", path, port: 5432 });
});

Deno.test("ServerHosts remembers which host speaks no new protocol, until that host fails", () => {
  const two = hosts(["a", "b"]);
  const [a, b] = [two.next(), two.next()];
  two.noteOldProtocol(a);
  assert.deepEqual([two.isOldProtocol(a), two.isOldProtocol(b)], [true, false]);
  two.noteFailure(b);
  two.noteSuccess();
  assert.equal(two.isOldProtocol(two.next()), true, "a is the next in turn");
  two.noteFailure(a);
  assert.equal(two.isOldProtocol(a), false);
});

Deno.test("ServerHosts passes over a host where there is no room, and takes its turn if there is none anywhere", () => {
  const hasRoom = (names: readonly string[]) => (address: ServerAddress) =>
    address.kind === "tcp" && names.includes(address.host);
  const three = hosts(["a", "b", "c"]);
  const taken = [["b", "c"], ["a", "c"], ["b"], []].map((free) => three.next(hasRoom(free)));
  assert.deepEqual(taken, [tcp("b"), tcp("c"), tcp("b"), tcp("c")]);
  const fixed = hosts(["a", "b"], "disable");
  assert.deepEqual(fixed.next(hasRoom(["b"])), tcp("b"));
  assert.deepEqual(fixed.next(), tcp("a"), "it stays the first");
});

Deno.test("addressKeyOf() is the same for the same host and port, however it is written", () => {
  assert.equal(addressKeyOf(addressOf("DB.example", 5432)), "db.example:5432");
  assert.notEqual(addressKeyOf(addressOf("db.example", 5433)), "db.example:5432");
  assert.equal(addressKeyOf(addressOf("/tmp", 5432)), "/tmp/.s.PGSQL.5432");
});
