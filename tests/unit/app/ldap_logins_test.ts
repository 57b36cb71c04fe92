/** What a login meets by auth_type ldap and lines with that method, from its packet to the log. */

import assert from "node:assert/strict";
import { frontend, utf8 } from "../../support/messages.ts";
import { FakeDirectory } from "../../support/fake_directory.ts";
import { ADA, PoolerWorld, type WorldOptions } from "../../support/pooler_world.ts";
import type { TestClient } from "../../support/test_client.ts";

const LDAP = `auth_type = "ldap"
auth_ldap_options = 'ldapserver="one two" ldapprefix=cn= ldapsuffix=",dc=x"'`;

const FAILED = "FATAL 28000: LDAP authentication failed";
const NOT_NOW = "FATAL 08006: authentication is not available now";

function directoryOf(
  passwords: Record<string, string> = { "cn=ada,dc=x": "typed", "cn=eve,dc=x": "typed" },
): FakeDirectory {
  return new FakeDirectory({ passwords, found: { "(uid=ada)": ["cn=ada,dc=x"] } });
}

function worldWith(
  directory: FakeDirectory,
  options: WorldOptions = {},
): Promise<PoolerWorld> {
  return PoolerWorld.open({
    pooler: LDAP,
    ldapConnectors: () => directory.connect,
    ...options,
  });
}

/** Sends a startup packet and a password, and waits for nothing more. */
async function sendLogin(world: PoolerWorld, password = "typed"): Promise<TestClient> {
  const client = await world.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }));
  assert.equal((await client.receive())?.type, "R");
  await client.send(frontend.password(utf8(`${password}\0`)));
  await world.settle();
  return client;
}

Deno.test("by ldap a user gets in with the password that the directory takes", async () => {
  const directory = directoryOf();
  await using world = await worldWith(directory);
  assert.equal(await world.outcome({ password: "typed" }), "in");
  assert.equal(
    await world.outcome({ password: "secret" }),
    FAILED,
    "what is stored is not asked for",
  );
  assert.ok(world.hasLogged('LDAP login as "cn=ada,dc=x": InvalidCredentials, result 49'));
  assert.equal(world.log.some((line) => /typed|secret/.test(line)), false);
  assert.equal(directory.openCount, 0);
});

Deno.test("by ldap who is not known here is refused like one with a wrong password", async () => {
  const directory = directoryOf();
  await using world = await worldWith(directory);
  assert.equal(await world.outcome({ user: "eve", password: "typed" }), FAILED);
  assert.ok(world.hasLogged("LDAP authentication failed (no such user)"));
  assert.deepEqual(directory.asked.slice(-1), ["bind cn=eve,dc=x right"], "as long as for others");
});

Deno.test("by ldap an empty password is refused before anybody is asked", async () => {
  const directory = directoryOf({ "cn=ada,dc=x": "" });
  await using world = await worldWith(directory);
  const client = await sendLogin(world, "");
  assert.equal(await client.lastWords(), "FATAL 28P01 empty password returned by client");
  assert.deepEqual(directory.asked, []);
});

Deno.test("by ldap a password that is not UTF-8 is refused before anybody is asked", async () => {
  const directory = directoryOf();
  await using world = await worldWith(directory);
  const client = await world.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }));
  await client.receive();
  await client.send(frontend.password(new Uint8Array([0xff, 0])));
  assert.equal(await client.lastWords(), "FATAL 28000 LDAP authentication failed");
  assert.deepEqual(directory.asked, []);
});

Deno.test("servers of a user who came by ldap log in with what was typed, until there is news", async () => {
  const users = { ada: "typed" };
  await using world = await worldWith(directoryOf(), {
    postgres: { auth: "scram-sha-256", users },
  });
  const [busy, other] = [
    await world.login({ password: "typed" }),
    await world.login({ password: "typed" }),
  ];
  await busy.query("begin");
  users.ada = "newly stored";
  const sections = '[databases."*"]\nhost = "127.0.0.1"\n[users.ada]\npassword = "newly stored"';
  assert.ok(await world.reload({ pooler: LDAP, sections }));
  await other.query("begin");
  assert.equal(world.postgres.live.length, 2);
  for (const client of [busy, other]) client.close();
});

Deno.test("by ldap the directory is asked as the line says that decides", async () => {
  const directory = directoryOf();
  directory.passwords.set("cn=s", "hunter2");
  const hba =
    'host other all all reject\nhost all all all ldap ldapserver=three ldapbasedn=dc=x ldaptls=1 ldapbinddn=cn=s "ldapbindpasswd=hunter2"\n';
  await using world = await worldWith(directory, {
    pooler: 'auth_type = "hba"\nauth_hba_file = "hba.conf"',
    files: { "hba.conf": hba },
  });
  assert.equal(await world.outcome({ password: "typed" }), "in");
  assert.equal(directory.asked[0], "connect three:389 starttls");
  const [, rule] = world.pooler.live.loaded.rules?.hba?.rules ?? [];
  assert.match(rule!.text, /"ldapbindpasswd=\*\*\*"$/);
});

Deno.test("by ldap nobody is held for a failure where the directory cannot be asked", async () => {
  const directory = directoryOf();
  for (const host of ["one", "two"]) directory.moods.set(host, "refuses");
  await using world = await worldWith(directory, { pooler: `${LDAP}\nauth_fail_delay = 5` });
  assert.equal(await world.outcome({ password: "typed" }), NOT_NOW);
  assert.ok(world.hasLogged("app/ada@127.0.0.1"));
  assert.ok(world.hasLogged("ldap: one:389: connecting: connection refused; two:389: "));
  assert.equal(world.hasLogged("auth_fail_delay"), false);
});

Deno.test("by ldap a wrong password is answered late where auth_fail_delay asks for that", async () => {
  await using world = await worldWith(directoryOf(), { pooler: `${LDAP}\nauth_fail_delay = 5` });
  const client = await sendLogin(world, "wrong");
  assert.ok(world.hasLogged("answered in 5000 ms (auth_fail_delay)"));
  await world.advance(6_000);
  assert.equal(await client.lastWords(), "FATAL 28000 LDAP authentication failed");
});

Deno.test("a client that leaves while its directory is silent is not asked about any longer", async () => {
  const directory = directoryOf();
  directory.moods.set("one", "silent after connecting");
  await using world = await worldWith(directory);
  const client = await sendLogin(world);
  assert.equal(directory.openCount, 1);
  client.close();
  await world.settle();
  assert.deepEqual([directory.openCount, world.pooler.clients.count], [0, 0]);
});

Deno.test("a silent directory holds no login beyond client_login_timeout", async () => {
  const directory = directoryOf();
  for (const host of ["one", "two"]) directory.moods.set(host, "silent");
  await using world = await worldWith(directory, { pooler: `${LDAP}\nclient_login_timeout = 2` });
  const client = await sendLogin(world);
  await world.advance(3_000);
  assert.match(await client.lastWords(), /client_login_timeout/);
  assert.equal(world.clock.timerCount <= 1, true, "only the janitor's");
});

Deno.test("sixteen logins at a time are asked about, and the others in turn", async () => {
  const directory = directoryOf();
  directory.moods.set("one", "silent after connecting");
  await using world = await worldWith(directory);
  const clients = [];
  for (let i = 0; i < 18; i += 1) clients.push(await sendLogin(world));
  assert.equal(directory.openCount, 16);
  clients[16]!.close();
  await world.settle();
  clients[0]!.close();
  await world.settle();
  assert.equal(directory.openCount, 16);
  assert.equal(directory.connectionCount, 17);
  directory.moods.set("one", "well");
  await world.advance(6_000);
  const outcomes = await Promise.all(
    [...clients.slice(1, 16), clients[17]!].map((client) => client.receiveUntilReady()),
  );
  assert.equal(outcomes.length, 16);
  for (const client of clients) client.close();
});

Deno.test("beyond a thousand that wait for their turn nobody else is let wait", async () => {
  const directory = directoryOf();
  directory.moods.set("one", "silent after connecting");
  await using world = await worldWith(directory, { pooler: `${LDAP}\nmax_client_conn = 2000` });
  const clients = await Promise.all(Array.from({ length: 1_016 }, () => sendLogin(world)));
  const late = await sendLogin(world);
  assert.equal(await late.lastWords(), "FATAL 08006 authentication is not available now");
  assert.ok(world.hasLogged("ldap: 1000 logins are waiting already"));
  for (const client of clients) client.close();
});

Deno.test("a pooler that ends does not wait for a directory", async () => {
  const directory = directoryOf();
  directory.moods.set("one", "silent after connecting");
  const world = await worldWith(directory);
  const client = await sendLogin(world);
  await world[Symbol.asyncDispose]();
  assert.equal(directory.openCount, 0);
  client.close();
});

Deno.test("a reload with options that are wrong changes nothing, and names them", async () => {
  const directory = directoryOf();
  await using world = await worldWith(directory);
  const bad = { pooler: 'auth_type = "ldap"\nauth_ldap_options = "ldapserver=a"' };
  await assert.rejects(world.setConfig(bad), {
    message: /config.toml: "auth_ldap_options": authentication method "ldap" requires argument /,
  });
  await assert.rejects(world.setConfig({ pooler: 'auth_type = "ldap"' }), {
    message: /auth_type is "ldap", and "auth_ldap_options" is not set/,
  });
  const ca = 'auth_ldap_ca_file = "ca.pem"';
  await assert.rejects(world.setConfig({ pooler: ca }), { message: /There is no file ca.pem/ });
  await assert.rejects(world.setConfig({ pooler: ca, files: { "ca.pem": "nothing" } }), {
    message: /There is no certificate in ca.pem/,
  });
  assert.equal(await world.outcome({ ...ADA, password: "typed" }), "in");
});

Deno.test("SHOW CONFIG has no password in auth_ldap_options", async () => {
  const options = "ldapserver=a ldapbasedn=x ldapbinddn=cn=s ldapbindpasswd=hunter2";
  await using world = await worldWith(directoryOf(), {
    pooler: `admin_users = "ada"\nauth_ldap_options = "${options}"`,
  });
  const console = await world.login({ database: "pgbouncer" });
  const { rows } = await console.query("SHOW CONFIG");
  const [row] = rows.filter(([key]) => key === "auth_ldap_options");
  assert.equal(row?.[1], "ldapserver=a ldapbasedn=x ldapbinddn=cn=s ldapbindpasswd=***");
  console.close();
});
