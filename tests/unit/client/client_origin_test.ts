/** The PROXY protocol, with a whole pooler in memory: who is believed, and where it is seen. */

import assert from "node:assert/strict";
import { frontend, join, utf8 } from "../../support/messages.ts";
import { ADA, PoolerWorld } from "../../support/pooler_world.ts";
import { proxied, proxyLine, proxyLocal } from "../../support/proxy_headers.ts";

const PROXY = "10.0.0.2";

const ON = `proxy_protocol = true
proxy_trusted = ["10.0.0.0/24", "fd00::/8"]
admin_users = "ada"
`;

const STARTUP = frontend.startup({ user: "ada", database: "app" });

async function worldBehindProxy(lines = ""): Promise<PoolerWorld> {
  const world = await PoolerWorld.open({ pooler: ON + lines });
  world.network.sourceHost = PROXY;
  return world;
}

/** Sends all of it, and answers what the pooler says before it hangs up. */
async function farewell(world: PoolerWorld, ...bytes: readonly Uint8Array[]): Promise<string> {
  const client = await world.connect();
  await client.send(...bytes);
  return await client.lastWords();
}

/** Who is logged in, as SHOW CLIENTS has it. */
async function shownAddresses(world: PoolerWorld): Promise<string[]> {
  world.network.sourceHost = "127.0.0.1";
  const console = await world.login({ database: "pgbouncer" });
  const { rows } = await console.query("show clients where database = 'app'");
  const columns = (await console.query("show clients")).rows;
  assert.ok(columns.length > 0);
  console.close();
  return rows.map((row) => `${row[5]}:${row[6]}`);
}

const HEADERS: readonly (readonly [string, Uint8Array, string])[] = [
  ["version 1", proxyLine("192.0.2.7", 1_234), "192.0.2.7:1234"],
  ["version 1 of IPv6", proxyLine("2001:db8::7", 1_234), "2001:db8::7:1234"],
  [
    "version 2",
    proxied({ source: [192, 0, 2, 7], target: [1, 1, 1, 1], sourcePort: 99, targetPort: 1 }),
    "192.0.2.7:99",
  ],
];

for (const [what, header, expected] of HEADERS) {
  Deno.test(`a header of ${what} from a trusted proxy is the client's address everywhere`, async () => {
    await using world = await worldBehindProxy("application_name_add_host = true\n");
    const client = await world.connect();
    await client.send(header, STARTUP);
    await client.finishLogin({ user: "ada", password: "secret" });
    const colons = expected.lastIndexOf(":");
    const host = expected.slice(0, colons);
    const bracketed = host.includes(":") ? `[${host}]${expected.slice(colons)}` : expected;
    assert.equal(client.parameters.get("application_name"), `app - ${bracketed}`);
    assert.deepEqual(await shownAddresses(world), [expected]);
    assert.ok(world.hasLogged(`app/ada@${expected} login attempt`), world.log.join("\n"));
    assert.equal(world.log.some((line) => line.includes("C-0x") && line.includes(PROXY)), false);
    client.close();
  });
}

Deno.test("a header that comes byte by byte is the same, and what is behind it is the client's", async () => {
  await using world = await worldBehindProxy();
  const client = await world.connect();
  for (const byte of join(proxyLine("192.0.2.7", 1_234), STARTUP)) {
    await client.send(Uint8Array.of(byte));
    await world.settle();
  }
  await client.finishLogin({ user: "ada", password: "secret" });
  assert.deepEqual((await client.query("select 1")).errors, []);
  assert.deepEqual(await shownAddresses(world), ["192.0.2.7:1234"]);
  client.close();
});

Deno.test("requests for encryption come behind the header, as does a cancel request", async () => {
  await using world = await worldBehindProxy();
  const client = await world.connect();
  await client.send(proxyLine("192.0.2.7", 1_234), frontend.sslRequest());
  assert.equal(await client.receiveByte(), "N");
  await client.send(STARTUP);
  await client.finishLogin({ user: "ada", password: "secret" });
  const cancel = await world.connect();
  await cancel.send(proxyLine("192.0.2.7", 1_235), frontend.cancelRequest(client.cancelKey!));
  assert.deepEqual(await cancel.receiveUntilEnd(), []);
  assert.ok(world.hasLogged("@192.0.2.7:1235 closing because: cancel request for idle client"));
  cancel.close();
  client.close();
});

Deno.test("a trusted proxy that sends no header, or a bad one, is closed without a word", async () => {
  await using world = await worldBehindProxy();
  assert.equal(await farewell(world, STARTUP), "nothing");
  assert.ok(world.hasLogged("no PROXY header where one is expected"));
  assert.equal(await farewell(world, utf8("PROXY TCP4 x y 1 2\r\n"), STARTUP), "nothing");
  assert.ok(world.hasLogged("bad PROXY header: an address is no address of the family"));
  const lines = world.log.filter((line) => line.includes("PROXY header"));
  assert.equal(lines.length, 2);
  assert.equal(world.postgres.backends.length, 0);
});

Deno.test("a header from an address that is not trusted is refused, with one line in the log", async () => {
  await using world = await worldBehindProxy();
  world.network.sourceHost = "10.0.1.2";
  for (const header of [proxyLine("10.0.0.3", 1), proxyLocal()]) {
    const before = world.log.length;
    assert.equal(await farewell(world, header, STARTUP), "nothing");
    await world.settle();
    const said = world.log.slice(before);
    assert.equal(said.length, 1, said.join("\n"));
    assert.match(
      said[0]!,
      /@10\.0\.1\.2:\d+ closing because: PROXY header from an address not in proxy_trusted/,
    );
  }
});

Deno.test("a client that connects past the proxy is served as usual", async () => {
  await using world = await worldBehindProxy();
  world.network.sourceHost = "192.0.2.9";
  const client = await world.login();
  assert.match((await shownAddresses(world))[0]!, /^192\.0\.2\.9:/);
  client.close();
});

Deno.test("a proxy that speaks for itself counts by its own address", async () => {
  await using world = await worldBehindProxy();
  for (const header of [proxyLocal(), utf8("PROXY UNKNOWN\r\n")]) {
    const client = await world.connect();
    await client.send(header, STARTUP);
    await client.finishLogin({ user: "ada", password: "secret" });
    assert.match((await shownAddresses(world))[0]!, /^10\.0\.0\.2:/);
    world.network.sourceHost = PROXY;
    client.close();
    await world.settle();
  }
});

Deno.test("health checks of a proxy are not worth a line in the log", async () => {
  await using world = await worldBehindProxy();
  const before = world.log.length;
  for (const bytes of [proxyLocal(), new Uint8Array()]) {
    const probe = await world.connect();
    await probe.send(bytes);
    probe.close();
    await world.settle();
  }
  assert.deepEqual(world.log.slice(before), []);
  assert.deepEqual(world.clients, []);
  const half = await world.connect();
  await half.send(utf8("PROXY TC"));
  half.close();
  await world.settle();
  assert.ok(world.log.at(-1)!.includes("client unexpected eof"));
});

Deno.test("a proxy whose header does not come has client_login_timeout for it", async () => {
  await using world = await worldBehindProxy("client_login_timeout = 5\n");
  const slow = await world.connect();
  await slow.send(utf8("PROXY TCP4 192.0."));
  await world.advance(5_500);
  assert.match(await slow.lastWords(), /client_login_timeout/);
});

Deno.test("over the unix socket there is no header, whatever is trusted", async () => {
  const pooler = `${ON}unix_socket_dir = "/run/sluice"\n`;
  await using world = await PoolerWorld.open({ pooler });
  assert.equal(await (await world.connectBySocket()).outcome(ADA), "in");
  const liar = await world.connectBySocket();
  await liar.send(proxyLine("192.0.2.7", 1));
  assert.match(await liar.lastWords(), /^FATAL 08P01 bad packet header/);
});

Deno.test("proxy_protocol and proxy_trusted take effect with a reload", async () => {
  await using world = await PoolerWorld.open();
  world.network.sourceHost = PROXY;
  assert.match(await farewell(world, proxyLine("192.0.2.7", 1), STARTUP), /^FATAL 08P01/);
  assert.ok(await world.reload({ pooler: ON }));
  assert.equal(await farewell(world, STARTUP), "nothing");
  assert.ok(await world.reload({ pooler: ON.replace("10.0.0.0/24", "10.0.1.0/24") }));
  const client = await world.login();
  assert.equal(await farewell(world, proxyLine("192.0.2.7", 1), STARTUP), "nothing");
  client.close();
});

Deno.test("rules of auth_hba_file go by the address that a proxy tells, and so does what is logged of them", async () => {
  await using world = await PoolerWorld.open({
    pooler: `${ON}auth_type = "hba"\nauth_hba_file = "hba.conf"\n`,
    files: { "hba.conf": "host all all 192.0.2.7/32 trust\nhost all all 10.0.0.2/32 reject\n" },
  });
  world.network.sourceHost = PROXY;
  const client = await world.connect();
  await client.send(proxyLine("192.0.2.7", 1_234), STARTUP);
  await client.finishLogin({ user: "ada", password: "" });
  client.close();
  assert.match(await farewell(world, proxyLocal(), STARTUP), /login rejected/);
  assert.match(await farewell(world, proxyLine("192.0.2.8", 99), STARTUP), /no authentication/);
  assert.ok(world.hasLogged("app/ada@192.0.2.8:99 hba: no line of hba.conf matches"));
});

Deno.test("a trusted proxy is known by its address, whatever zone it is in", async () => {
  await using world = await worldBehindProxy();
  world.network.sourceHost = "fd00::2%eth0";
  const client = await world.connect();
  await client.send(proxyLine("192.0.2.7", 1_234), STARTUP);
  await client.finishLogin({ user: "ada", password: "" });
  assert.equal(world.clients[0]?.remote.host, "192.0.2.7");
  client.close();
});
