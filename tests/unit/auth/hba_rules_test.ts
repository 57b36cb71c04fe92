import assert from "node:assert/strict";
import type { HbaConnection } from "../../../src/auth/hba_rules.ts";
import { parseIp, parsePrefix } from "../../../src/auth/ip_range.ts";
import { hbaOf } from "../../support/memory_rules.ts";

const OWN = [{ address: parseIp("10.0.0.7")!, mask: parsePrefix(parseIp("10.0.0.7")!, "24")! }];

/** `alice@app` over a unix socket, unless it is said otherwise. */
function connection(changes: Partial<Omit<HbaConnection, "address">> & { from?: string } = {}) {
  const { from, ...rest } = changes;
  return {
    ...{ user: "alice", database: "app", isTls: false, isReplication: false, ...rest },
    address: from === undefined ? undefined : parseIp(from)!,
  };
}

/** Number of the line that decides; undefined if none does. */
async function decider(text: string, asked: HbaConnection): Promise<number | undefined> {
  const { errors, rules } = await hbaOf(text);
  assert.deepEqual(errors.map(String), []);
  return rules.decide(asked, () => OWN)?.line;
}

Deno.test("HbaRules lets the first line decide that matches", async () => {
  const text = "local db2 all trust\nlocal app all reject\nlocal all all trust\n";
  assert.equal(await decider(text, connection()), 2);
  assert.equal(await decider(text, connection({ database: "db3" })), 3);
  assert.equal(await decider(text, connection({ from: "127.0.0.1" })), undefined);
});

Deno.test("HbaRules tells connections by their kind", async () => {
  const kinds = ["local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"];
  const matches: Readonly<Record<string, readonly boolean[]>> = {
    unix: [true, false, false, false, false, false],
    plain: [false, true, false, true, false, true],
    tls: [false, true, true, false, false, true],
  };
  for (const [way, expected] of Object.entries(matches)) {
    const asked = connection(way === "unix" ? {} : { from: "10.1.1.1", isTls: way === "tls" });
    for (const [at, kind] of kinds.entries()) {
      const line = `${kind} all all ${kind === "local" ? "" : "all"} trust`;
      assert.equal(await decider(line, asked) === 1, expected[at], `${kind} ${way}`);
    }
  }
});

Deno.test("HbaRules knows the addresses of this machine and of its networks", async () => {
  const cases: Readonly<Record<string, readonly [samehost: boolean, samenet: boolean]>> = {
    "10.0.0.7": [true, true],
    "10.0.0.8": [false, true],
    "10.0.1.7": [false, false],
    "::1": [false, false],
  };
  for (const [from, [isHost, isNet]] of Object.entries(cases)) {
    const asked = connection({ from });
    assert.equal(await decider("host all all samehost trust", asked) === 1, isHost, from);
    assert.equal(await decider("host all all samenet trust", asked) === 1, isNet, from);
  }
});

Deno.test("HbaRules matches physical replication by its own word only, and nothing else by it", async () => {
  const physical = connection({ isReplication: true });
  for (const database of ["all", "app", "/.*", '"replication"', "sameuser"]) {
    assert.equal(await decider(`local ${database} all trust`, physical), undefined, database);
  }
  assert.equal(await decider("local app,replication all trust", physical), 1);
  assert.equal(await decider("local replication all trust", connection()), undefined);
  const named = connection({ database: "replication" });
  assert.equal(await decider("local replication all trust", named), undefined);
  assert.equal(await decider('local "replication" all trust', named), 1);
});

Deno.test("HbaRules takes keywords in quotes for names", async () => {
  assert.equal(await decider('local "all" all trust', connection()), undefined);
  assert.equal(await decider('local all "all" trust', connection()), undefined);
  assert.equal(
    await decider('local "all" "all" trust', connection({ database: "all", user: "all" })),
    1,
  );
  assert.equal(await decider("local sameuser all trust", connection({ database: "alice" })), 1);
  assert.equal(await decider("local sameuser all trust", connection()), undefined);
  assert.equal(
    await decider('local "+x" "+x" trust', connection({ database: "+x", user: "+x" })),
    1,
  );
});

Deno.test("HbaRules says why each line before the one that decides does not match", async () => {
  const text = `host all all all trust
local db2 all trust
local all bob trust
local replication all trust
local all all md5
local all all reject`;
  const { rules } = await hbaOf(text);
  assert.deepEqual(
    rules.explain(connection(), () => OWN).map(({ mismatch, rule }) => [rule.line, mismatch]),
    [
      [1, "the connection is over a unix socket"],
      [2, "the database is another"],
      [3, "the user is another"],
      [4, "the database is another"],
      [5, undefined],
    ],
  );
});

Deno.test("readHbaFile() names every bad line at once, by file and number", async () => {
  const { errors } = await hbaOf(
    "local all all ldap ldapserver=x\ninclude more\nhost all all host.example.org md5\n\nlocal all samegroup\n",
    { more: "local all all constructor\nlocal all all trust" },
  );
  assert.deepEqual(errors.map(String), [
    'hba.conf:1: authentication method "ldap" requires argument "ldapbasedn", "ldapprefix", or "ldapsuffix" to be set',
    'hba.conf:3: "host.example.org" is no IP address; host names are not supported',
    "hba.conf:5: The line ends before the authentication method",
    'more:1: Invalid authentication method "constructor"',
  ]);
});

Deno.test("readHbaFile() does not take a file without rules for one that keeps nobody out", async () => {
  const { errors } = await hbaOf("# nothing\n");
  assert.deepEqual(errors.map(String), ["hba.conf: There are no rules in the file"]);
});
