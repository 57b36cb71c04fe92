/** Which host of a database is next, and what failures do to that. */

import assert from "node:assert/strict";
import type { ServerAddress } from "../../../src/net/network.ts";
import {
  addressKeyOf,
  addressOf,
  ServerHosts,
  type ServerHostsOptions,
} from "../../../src/server/server_hosts.ts";
import type { ServerRole } from "../../../src/server/server_role.ts";
import { FakeClock } from "../../support/fake_clock.ts";

const RETRY_MS = 15_000;
const CONNECT_TIMEOUT_MS = 15_000;
const ROLE_RETRY_MS = 1_000;

/** Hosts, the clock they go by, and those where there is no room. */
class HostsRig {
  readonly clock = new FakeClock();
  readonly full = new Set<string>();
  readonly hosts: ServerHosts;

  constructor(names: readonly string[], others: Partial<ServerHostsOptions> = {}) {
    this.hosts = new ServerHosts(names, {
      port: 5432,
      policy: "round-robin",
      attrs: "any",
      socketDirectory: "/run/postgresql",
      nowMs: () => this.clock.nowMs(),
      retryMs: () => RETRY_MS,
      connectTimeoutMs: () => CONNECT_TIMEOUT_MS,
      roleRetryMs: () => ROLE_RETRY_MS,
      hasRoomAt: (address) => !this.full.has(nameOf(address)),
      addressCountOf: () => 1,
      ...others,
    });
  }

  /** The hosts of the next connections; `?` behind those that are on trial. */
  next(count = 1, mayTrial = true): string {
    return Array.from({ length: count }, () => {
      const { address, isTrial } = this.hosts.next({ mayTrial });
      return `${nameOf(address)}${isTrial ? "?" : ""}`;
    }).join(" ");
  }

  at(name: string): ServerAddress {
    const address = this.hosts.addresses.find((each) => nameOf(each) === name);
    assert.ok(address !== undefined);
    return address;
  }

  /** Whether another host is left to try. */
  fail(name: string): boolean {
    const failure = { isUnfit: false, why: "connection refused" };
    return this.hosts.noteFailure(this.at(name), failure).isOtherLeft;
  }

  admit(name: string, role: ServerRole): "admitted" | "another is left" | "none is left" {
    const failure = this.hosts.admit(this.at(name), role);
    if (failure === undefined) return "admitted";
    return failure.isOtherLeft ? "another is left" : "none is left";
  }

  reach(name: string): void {
    this.hosts.noteSuccess(this.at(name));
  }
}

function nameOf(address: ServerAddress): string {
  return address.kind === "tcp" ? address.host : address.path;
}

Deno.test("ServerHosts takes the hosts in turn", () => {
  assert.equal(new HostsRig(["a", "b", "c"]).next(4), "a b c a");
});

Deno.test("ServerHosts stays with the first host that works when balancing is off", () => {
  const three = new HostsRig(["a", "b", "c"], { policy: "disable" });
  assert.equal(three.next(2), "a a");
  three.fail("a");
  three.fail("a");
  assert.equal(three.next(2), "b b", "though several connections failed, one host is passed over");
  three.reach("b");
  three.clock.advance(RETRY_MS);
  assert.equal(three.next(2), "b b", "it does not go back as long as that one works");
});

Deno.test("ServerHosts comes back to the first host after the last", () => {
  const two = new HostsRig(["a", "b"], { policy: "disable" });
  two.fail("a");
  two.fail("b");
  assert.equal(two.next(), "a");
});

Deno.test("a host that failed is passed over until server_login_retry is over, then tried in its turn", () => {
  const three = new HostsRig(["a", "b", "c"]);
  assert.equal(three.next(), "a");
  three.fail("a");
  assert.equal(three.next(4), "b c b c");
  three.clock.advance(RETRY_MS - 1);
  assert.equal(three.next(2), "b c");
  three.clock.advance(1);
  assert.equal(three.next(4), "a? b c b", "once: nobody else need try it meanwhile");
  three.reach("a");
  assert.equal(three.next(3), "c a b");
});

Deno.test("where nobody may be kept waiting, a host that failed is left alone as long as another works", () => {
  const two = new HostsRig(["a", "b"]);
  two.fail("a");
  two.clock.advance(RETRY_MS);
  assert.equal(two.next(2, false), "b b");
  two.fail("b");
  assert.equal(two.next(1, false), "a", "and then it is no trial");
});

Deno.test("hosts that have all failed are worth trying once server_login_retry is over for one", () => {
  const two = new HostsRig(["a", "b"]);
  two.fail("a");
  two.clock.advance(5_000);
  assert.equal(two.hosts.isOneWorthTrying, true);
  two.fail("b");
  assert.equal(two.hosts.isOneWorthTrying, false);
  two.clock.advance(RETRY_MS - 5_000);
  assert.equal(two.hosts.isOneWorthTrying, true);
  assert.equal(two.next(), "a");
});

Deno.test("a failure tells whether another host is left that was not tried since one was reached", () => {
  const three = new HostsRig(["a", "b", "c"], { retryMs: () => 0 });
  assert.deepEqual(["a", "b", "c"].map((name) => three.fail(name)), [true, true, false]);
  three.clock.advance(1_000);
  assert.deepEqual(["a", "b"].map((name) => three.fail(name)), [true, true]);
  three.reach("a");
  three.clock.advance(1_000);
  assert.deepEqual(["b", "c", "a"].map((name) => three.fail(name)), [true, true, false]);
});

Deno.test("a host that works is left to try though it has no room; one that failed is not", () => {
  const two = new HostsRig(["a", "b"]);
  two.full.add("b");
  assert.equal(two.fail("a"), true);
  two.fail("b");
  two.clock.advance(RETRY_MS);
  assert.equal(two.fail("a"), false);
});

Deno.test("for want of room at hosts that work, one that failed is no candidate but for its trial", () => {
  const two = new HostsRig(["a", "b"]);
  const candidates = (mayTrial = true) => two.hosts.candidates({ mayTrial }).map(nameOf);
  two.full.add("a");
  two.fail("b");
  assert.deepEqual(candidates(), ["a"]);
  two.clock.advance(RETRY_MS);
  assert.deepEqual([candidates(), candidates(false)], [["a", "b"], ["a"]]);
  assert.equal(two.next(), "b?");
  assert.deepEqual(candidates(), ["a"], "as long as that goes on");
  two.fail("a");
  assert.deepEqual(candidates(), ["a", "b"], "where none works");
});

Deno.test("a host is not tried again while an attempt may still go on", () => {
  const two = new HostsRig(["a", "b"], { retryMs: () => 2_000 });
  two.fail("a");
  two.clock.advance(2_000);
  assert.equal(two.next(3), "a? b b");
  two.clock.advance(CONNECT_TIMEOUT_MS - 1);
  assert.equal(two.next(2), "b b");
  two.clock.advance(1);
  assert.equal(two.next(2), "a? b", "it has come to nothing, and nobody said so");
});

// --- with a role ---

Deno.test("of hosts with a role, those are used that have it", () => {
  const three = new HostsRig(["a", "b", "c"], { attrs: "standby" });
  assert.equal(three.next(3), "a b c");
  assert.equal(three.admit("a", "read_write_primary"), "another is left");
  assert.equal(three.admit("b", "standby"), "admitted");
  assert.equal(three.admit("c", "standby"), "admitted");
  assert.equal(three.next(4), "b c b c");
  three.clock.advance(RETRY_MS);
  assert.equal(three.next(3), "a? b c", "it may have become a standby");
});

Deno.test("while no host suits, one that answers is asked again after server_role_retry", () => {
  const two = new HostsRig(["a", "b"], { attrs: "primary" });
  two.fail("a");
  assert.equal(two.admit("b", "standby"), "none is left");
  assert.equal(two.hosts.isOneWorthTrying, false);
  two.clock.advance(ROLE_RETRY_MS);
  assert.equal(two.hosts.isOneWorthTrying, true);
  assert.equal(two.next(), "b");
  assert.equal(two.hosts.isOneWorthTrying, false, "one question at a time");
  assert.equal(two.admit("b", "read_write_primary"), "admitted");
  assert.equal(two.next(2), "b b");
});

Deno.test("while none suits, a host that answers is asked before one that failed, which is on trial", () => {
  const two = new HostsRig(["a", "b"], { attrs: "primary" });
  two.fail("a");
  two.admit("b", "standby");
  two.clock.advance(RETRY_MS);
  assert.equal(two.next(1, false), "b");
  assert.equal(two.next(1, false), "a?");
});

Deno.test("who waits is told of a host that answers, not of those that cannot be reached", () => {
  const two = new HostsRig(["a", "b"], { attrs: "read-write" });
  two.fail("a");
  assert.equal(two.hosts.unfitError, undefined);
  two.admit("b", "standby");
  const { message, sqlstate } = two.hosts.unfitError!;
  assert.equal(
    `${sqlstate} ${message}`,
    "57P03 session is read-only (target_session_attrs=read-write)",
  );
  two.fail("b");
  assert.equal(two.hosts.unfitError, undefined);
});

Deno.test("prefer-standby takes a primary once no other host is known to be good", () => {
  const two = new HostsRig(["a", "b"], { attrs: "prefer-standby" });
  assert.equal(two.admit("a", "read_write_primary"), "another is left");
  assert.equal(two.fail("b"), true, "the primary");
  assert.equal(two.next(), "a");
  assert.equal(two.admit("a", "read_write_primary"), "admitted");
  assert.deepEqual([two.hosts.isSecondChoice(two.at("a")), two.hosts.better], [true, undefined]);
  two.clock.advance(RETRY_MS);
  assert.equal(two.hosts.better, "to_be_tried");
  assert.equal(two.next(2), "b? a");
  assert.equal(two.admit("b", "standby"), "admitted");
  assert.equal(two.hosts.better, "there");
  assert.equal(two.hosts.recheck(two.at("b"), "read_write_primary"), undefined, "none is better");
});

Deno.test("ServerHosts that stays with a host stays with the one that suits", () => {
  const three = new HostsRig(["a", "b", "c"], { attrs: "primary", policy: "disable" });
  assert.equal(three.next(), "a");
  three.admit("a", "standby");
  assert.equal(three.next(), "b");
  three.admit("b", "read_write_primary");
  three.clock.advance(RETRY_MS);
  assert.equal(three.next(2), "b b");
});

Deno.test("behind a name with several addresses, each is asked before the host is unfit", () => {
  const one = new HostsRig(["a"], { attrs: "primary", addressCountOf: () => 3 });
  const found = Array.from({ length: 6 }, () => one.admit("a", "standby"));
  const round = ["another is left", "another is left", "none is left"];
  assert.deepEqual(found, [...round, ...round]);
  assert.equal(one.admit("a", "standby"), "another is left");
  assert.equal(one.admit("a", "read_write_primary"), "admitted");
  assert.match(one.hosts.recheck(one.at("a"), "standby") ?? "", /^server is in hot standby mode/);
  assert.equal(one.hosts.unfitError, undefined, "one server says nothing of the others");
});

Deno.test("a server that has become something else is to go, and its host is passed over", () => {
  const two = new HostsRig(["a", "b"], { attrs: "standby" });
  const { hosts } = two;
  assert.equal(hosts.recheck(two.at("a"), "standby"), undefined);
  const why = "server is not in hot standby mode (target_session_attrs=standby)";
  assert.equal(hosts.recheck(two.at("a"), "read_write_primary"), why);
  assert.equal(two.next(2), "b b");
  assert.equal(hosts.recheck(two.at("a"), "standby"), undefined);
  assert.equal(two.next(2), "a b");
});

// --- addresses ---

Deno.test("ServerHosts reads a path and an abstract name as unix sockets", () => {
  const path = "/tmp/.s.PGSQL.5432";
  assert.deepEqual(new HostsRig(["/tmp"]).hosts.addresses, [{ kind: "unix", path, port: 5432 }]);
  const abstract = { kind: "unix", path: "@x/.s.PGSQL.5432", port: 5432 };
  assert.deepEqual(new HostsRig(["@x"]).hosts.addresses, [abstract]);
});

Deno.test("ServerHosts looks for PostgreSQL's socket when no host is named", () => {
  assert.equal(new HostsRig([]).next(), "/run/postgresql/.s.PGSQL.5432");
});

Deno.test("ServerHosts remembers which host speaks no new protocol, until that host fails", () => {
  const two = new HostsRig(["a", "b"]);
  two.hosts.noteOldProtocol(two.at("a"));
  const areOld = () => ["a", "b"].map((name) => two.hosts.isOldProtocol(two.at(name)));
  assert.deepEqual(areOld(), [true, false]);
  two.fail("b");
  two.reach("a");
  assert.deepEqual(areOld(), [true, false]);
  two.fail("a");
  assert.deepEqual(areOld(), [false, false]);
});

Deno.test("ServerHosts passes over a host where there is no room, and takes its turn if there is none anywhere", () => {
  const three = new HostsRig(["a", "b", "c"]);
  const taken = [["a"], ["b"], ["a", "c"], ["a", "b", "c"]].map((full) => {
    three.full.clear();
    for (const name of full) three.full.add(name);
    return three.next();
  });
  assert.deepEqual(taken, ["b", "c", "b", "c"]);
  const fixed = new HostsRig(["a", "b"], { policy: "disable" });
  fixed.full.add("a");
  assert.equal(fixed.next(), "b");
  fixed.full.clear();
  assert.equal(fixed.next(), "a", "it stays the first");
});

Deno.test("addressKeyOf() is the same for the same host and port, however it is written", () => {
  assert.equal(addressKeyOf(addressOf("DB.example", 5432)), "db.example:5432");
  assert.notEqual(addressKeyOf(addressOf("db.example", 5433)), "db.example:5432");
  assert.equal(addressKeyOf(addressOf("/tmp", 5432)), "/tmp/.s.PGSQL.5432");
});
