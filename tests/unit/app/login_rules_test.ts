/** What a login meets by auth_type hba and peer, from the startup packet to the answer and the log. */

import assert from "node:assert/strict";
import { ADA, PoolerWorld, type WorldOptions } from "../../support/pooler_world.ts";
import type { LoginOptions } from "../../support/test_client.ts";

const HBA = 'auth_type = "hba"\nauth_hba_file = "hba.conf"\nunix_socket_dir = "/run/sluice"';

const NAMES: Readonly<Record<number, string>> = { 1000: "ada", 1001: "eve" };

/** A pooler with these rules; users of the system are "ada" (1000) and "eve" (1001). */
function worldWith(
  hba: string,
  { ident, ...options }: WorldOptions & { ident?: string } = {},
): Promise<PoolerWorld> {
  const files = { "hba.conf": hba, ...(ident === undefined ? {} : { "ident.conf": ident }) };
  return PoolerWorld.open({
    pooler: ident === undefined ? HBA : `${HBA}\nauth_ident_file = "ident.conf"`,
    files,
    systemUserOf: (uid) => Promise.resolve(NAMES[uid]),
    ...options,
  });
}

/** How a login goes: over the unix socket by a process of user `uid`, or over TCP. */
async function outcome(
  world: PoolerWorld,
  { uid, ...login }: Partial<LoginOptions> & { uid?: number } = {},
): Promise<string> {
  world.network.peerUid = uid;
  const client = uid === undefined ? await world.connect() : await world.connectBySocket();
  return await client.outcome({ ...ADA, ...login });
}

const REJECTED = "FATAL 28000: login rejected";
const NO_RULE = "FATAL 28000: no authentication method is found";
const NOT_THE_PEER = "FATAL 28000: unix socket login rejected";

Deno.test("LoginRules lets the line that decides say what is asked for", async () => {
  await using world = await worldWith(
    "host all bob all reject\nhost app ada 127.0.0.1/32 scram-sha-256\nhost other all all trust\nhost plain all all password\n",
  );
  assert.equal(await outcome(world), "in");
  assert.equal(
    await outcome(world, { password: "wrong" }),
    "FATAL 28P01: SASL authentication failed",
  );
  assert.equal(await outcome(world, { user: "bob" }), REJECTED);
  assert.equal(await outcome(world, { database: "third" }), NO_RULE);
  assert.equal(await outcome(world, { database: "other", password: "" }), "in");
  assert.equal(
    await outcome(world, { database: "plain", password: "wrong" }),
    "FATAL 28P01: password authentication failed",
  );
});

Deno.test("LoginRules does not tell by its answer whether a database exists", async () => {
  await using world = await worldWith("host app,nowhere ada all md5\n", {
    sections: '[databases.app]\nhost = "127.0.0.1"\n[users.ada]\npassword = "secret"\n',
  });
  const wrong = "FATAL 28P01: password authentication failed";
  for (const database of ["app", "nowhere"]) {
    assert.equal(await outcome(world, { database, password: "wrong" }), wrong);
    assert.equal(await outcome(world, { database, user: "bob" }), NO_RULE);
  }
});

Deno.test("LoginRules names the line that rejects in the log, and not to the client", async () => {
  await using world = await worldWith("host all bob all reject\nhost all ada all trust\n");
  await outcome(world, { user: "bob" });
  assert.ok(world.hasLogged("app/bob@127.0.0.1"));
  assert.ok(world.hasLogged("hba: rejected by line 1 of hba.conf"));
  await outcome(world, { user: "eve" });
  assert.ok(world.hasLogged("hba: no line of hba.conf matches"));
  await outcome(world);
  assert.equal(world.hasLogged("hba: line 2"), false);
});

Deno.test("LoginRules names the line that decides in a verbose log", async () => {
  await using world = await worldWith("host all ada all trust\n", { verbosity: 1 });
  await outcome(world);
  assert.ok(world.hasLogged("hba: line 1 of hba.conf"));
});

Deno.test("LoginRules lets in by peer whom the system says it is", async () => {
  await using world = await worldWith("local all all peer\n");
  assert.equal(await outcome(world, { uid: 1_000 }), "in");
  assert.equal(await outcome(world, { uid: 1_001 }), NOT_THE_PEER);
  assert.ok(world.hasLogged('peer: system user "eve" may not be "ada"'));
  assert.equal(await outcome(world, { uid: 1_001, user: "eve" }), NOT_THE_PEER, "unknown here");
  assert.ok(world.hasLogged("unix socket login rejected (no such user)"));
  assert.equal(await outcome(world, { uid: 7 }), NOT_THE_PEER);
  assert.ok(world.hasLogged("peer: there is no system user 7"));
});

Deno.test("LoginRules lets in by peer whom an ident map allows", async () => {
  await using world = await worldWith("local all all peer map=m\n", { ident: "m eve bob\n" });
  assert.equal(await outcome(world, { uid: 1_001, user: "bob" }), "in");
  assert.equal(await outcome(world, { uid: 1_000 }), NOT_THE_PEER, "the map alone counts");
  assert.ok(world.hasLogged('system user "ada" may not be "ada" by map "m"'));
});

Deno.test("LoginRules lets nobody in by peer where the system cannot be asked", async () => {
  await using world = await worldWith("local all all peer\n", {
    systemUserOf: () => Promise.reject(new Error("The directory is down")),
  });
  assert.equal(await outcome(world, { uid: 1_000 }), NOT_THE_PEER);
  assert.ok(world.hasLogged("peer: The directory is down"));
});

Deno.test("LoginRules by auth_type peer lets nobody in over TCP", async () => {
  const pooler = 'auth_type = "peer"\nunix_socket_dir = "/run/sluice"';
  await using world = await worldWith("", { pooler });
  assert.equal(await outcome(world, { uid: 1_000 }), "in");
  assert.equal(await outcome(world), NOT_THE_PEER);
  assert.ok(world.hasLogged("peer: the connection is not over a unix socket"));
});

Deno.test("LoginRules does not let in a client that was ended while the system was asked", async () => {
  let answer: ((name: string) => void) | undefined;
  await using world = await worldWith("local all all peer\n", {
    systemUserOf: () => new Promise((resolve) => answer = resolve),
  });
  const login = assert.rejects(outcome(world, { uid: 1_000 }), /connection ended/);
  await world.settle();
  const [client] = world.clients;
  client!.end("killed");
  answer!("ada");
  await login;
  await world.settle();
  assert.equal(world.postgres.backends.length, 0);
});

Deno.test("a reload takes new rules over, for those who log in from then on", async () => {
  await using world = await worldWith("host all all all trust\n");
  const inside = await world.login();
  assert.ok(
    await world.reload({ pooler: HBA, files: { "hba.conf": "host all all all reject\n" } }),
  );
  assert.equal(await outcome(world), REJECTED);
  await inside.query("select 1");
  inside.close();
});

Deno.test("a file of rules that cannot be read is told with the setting that names it", async () => {
  const lines = 'auth_hba_file = "none.conf"\nauth_ident_file = "zero.conf"';
  await assert.rejects(PoolerWorld.open({ pooler: lines, files: { "zero.conf": "a\0b" } }), {
    message: `config.toml: "auth_hba_file": There is no file none.conf
config.toml: "auth_ident_file": Cannot read zero.conf: it has a zero byte`,
  });
});

Deno.test("auth_type hba is a mistake without a file, or with a map that is missing", async () => {
  await assert.rejects(
    PoolerWorld.open({ pooler: 'auth_type = "hba"' }),
    /config.toml: auth_type is "hba", and "auth_hba_file" is not set/,
  );
  await assert.rejects(
    worldWith("local all all peer map=m\nlocal all all peer map=n\nbad", { ident: "n a b" }),
    /^ConfigErrors: hba.conf:3: .*\nhba.conf:1: There is no ident map "m": that has no such map$/,
  );
});
