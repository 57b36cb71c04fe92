/** How clients come to TLS, or do not, with a whole pooler in memory. */

import assert from "node:assert/strict";
import { TlsHandshakeError } from "../../../src/net/tls.ts";
import { frontend } from "../../support/messages.ts";
import { ADA, PoolerWorld } from "../../support/pooler_world.ts";
import { proxyLine } from "../../support/proxy_headers.ts";
import { makeTlsMaterial } from "../../support/tls_material.ts";
import { clientContext, connectByTls, openTlsWorld } from "../../support/tls_world.ts";

const MATERIAL = makeTlsMaterial();

const STARTUP = frontend.startup({ user: "ada", database: "app" });

const MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] as const;

/** What there is to read of the log besides the lines of the start. */
function linesOf({ log }: PoolerWorld, text: string): string[] {
  return log.filter((line) => line.includes(text));
}

for (const sslmode of MODES) {
  const isOff = sslmode === "disable";
  const isDemanded = !["disable", "allow", "prefer"].includes(sslmode);

  Deno.test(`client_tls_sslmode ${sslmode} ${isOff ? "has no TLS" : "has TLS for who asks"}`, async () => {
    await using world = await openTlsWorld(MATERIAL, { sslmode });
    const client = await world.connect();
    const answer = await client.requestTls(clientContext({ certificate: MATERIAL.client }));
    assert.equal(answer, isOff ? "N" : "S");
    await client.login(ADA);
    assert.deepEqual((await client.query("select 1")).rows, [["1"]]);
    const tls = isOff ? "no" : "TLSv1.3/TLS_AES_256_GCM_SHA384";
    assert.equal(linesOf(world, `login attempt: db=app user=ada tls=${tls}`).length, 1);
    client.close();
  });

  Deno.test(`client_tls_sslmode ${sslmode} ${isDemanded ? "turns away" : "takes"} who comes plain`, async () => {
    await using world = await openTlsWorld(MATERIAL, { sslmode });
    const expected = isDemanded ? "FATAL 08P01: SSL required" : "in";
    assert.equal(await world.outcome(), expected);
    assert.equal(world.hasLogged("pooler error: SSL required"), isDemanded);
  });

  Deno.test(`client_tls_sslmode ${sslmode} has no TLS on unix sockets, and demands none`, async () => {
    const pooler = 'unix_socket_dir = "/run/sluice"';
    await using world = await openTlsWorld(MATERIAL, { sslmode, pooler });
    const client = await world.connectBySocket();
    assert.equal(await client.requestTls(clientContext()), "N");
    await client.login(ADA);
    client.close();
    const direct = await world.connectBySocket();
    await assert.rejects(direct.startTls(clientContext()), TlsHandshakeError);
    direct.close();
    await world.settle();
    assert.ok(world.hasLogged("TLS is not available"));
  });
}

Deno.test("all that is said over TLS arrives however it is cut", async () => {
  for (const chunking of ["bytes", "random"] as const) {
    await using world = await openTlsWorld(MATERIAL, { chunking });
    for (const isDirect of [false, true]) {
      const client = await connectByTls(world, { isDirect });
      await client.login(ADA);
      assert.deepEqual((await client.query("select 1")).rows, [["1"]]);
      client.close();
    }
  }
});

Deno.test("a startup packet in one piece with the end of the handshake is taken", async () => {
  await using world = await openTlsWorld(MATERIAL);
  const client = await connectByTls(world);
  await client.send(STARTUP);
  await client.finishLogin(ADA);
  client.close();
});

Deno.test("bytes that come with SSLRequest are refused before anything is answered", async () => {
  await using world = await openTlsWorld(MATERIAL);
  const client = await world.connect();
  await client.send(frontend.sslRequest(), STARTUP);
  assert.equal(
    await client.lastWords(),
    "FATAL 08P01 received unencrypted data after SSL request",
  );
});

Deno.test("plain bytes sent after SSLRequest was granted are no part of the session", async () => {
  await using world = await openTlsWorld(MATERIAL);
  const client = await world.connect();
  await client.send(frontend.sslRequest());
  assert.equal(await client.receiveByte(), "S");
  await client.send(STARTUP);
  await world.settle();
  assert.equal(world.clients.length, 0);
  assert.equal(linesOf(world, "TLS handshake error: ").length, 1);
  assert.equal(linesOf(world, "login attempt").length, 0);
  client.close();
});

Deno.test("SSLRequest inside TLS ends the connection without a word", async () => {
  await using world = await openTlsWorld(MATERIAL);
  for (const isDirect of [false, true]) {
    const client = await connectByTls(world, { isDirect });
    await client.send(frontend.sslRequest());
    assert.equal(await client.lastWords(), "nothing");
  }
  await world.settle();
  assert.equal(linesOf(world, "SSL req inside SSL").length, 2);
});

Deno.test("GSSENCRequest is refused before SSLRequest, and no more asked for once TLS is agreed", async () => {
  await using world = await openTlsWorld(MATERIAL);
  const client = await world.connect();
  await client.send(frontend.gssencRequest());
  assert.equal(await client.receiveByte(), "N");
  assert.equal(await client.requestTls(clientContext()), "S");
  await client.login(ADA);
  client.close();
  const late = await connectByTls(world);
  await late.send(frontend.gssencRequest());
  assert.equal(await late.lastWords(), "FATAL 08P01 repeated gssenc_request");
  const direct = await connectByTls(world, { isDirect: true });
  await direct.send(frontend.gssencRequest());
  assert.equal(await direct.receiveByte(), "N");
  await direct.login(ADA);
  direct.close();
});

Deno.test("direct TLS needs the protocol of PostgreSQL to be asked for", async () => {
  await using world = await openTlsWorld(MATERIAL);
  const good = await connectByTls(world, { isDirect: true });
  await good.login(ADA);
  good.close();
  const silent = await connectByTls(world, { isDirect: true, protocols: [] });
  await silent.send(STARTUP);
  assert.equal(await silent.lastWords(), "nothing");
  await assert.rejects(
    connectByTls(world, { isDirect: true, protocols: ["http/1.1"] }),
    TlsHandshakeError,
  );
  await world.settle();
  assert.ok(world.hasLogged("direct TLS connection without ALPN protocol negotiation extension"));
  assert.equal(linesOf(world, "login attempt").length, 1, "of the good one");
  // Who asks for TLS by SSLRequest need not, as clients before 17 do not.
  const asking = await connectByTls(world, { protocols: [] });
  await asking.login(ADA);
  asking.close();
});

Deno.test("a cancel request is taken over TLS, and in plain text from whomever", async () => {
  await using world = await openTlsWorld(MATERIAL, { sslmode: "verify-full" });
  for (const isPlain of [false, true]) {
    const client = await connectByTls(world, { certificate: MATERIAL.client });
    await client.login(ADA);
    await client.query("begin");
    await client.send(frontend.query("select pg_sleep(100)"));
    await world.settle();
    const canceler = isPlain
      ? await world.connect()
      : await connectByTls(world, { certificate: MATERIAL.client });
    await canceler.send(frontend.cancelRequest(client.cancelKey!));
    await canceler.receiveUntilEnd();
    canceler.close();
    const { errors } = await client.result();
    assert.deepEqual(errors.map(({ sqlstate }) => sqlstate), ["57014"]);
    client.close();
  }
});

Deno.test("a PROXY header comes before TLS, asked for or not", async () => {
  const pooler = 'proxy_protocol = true\nproxy_trusted = ["127.0.0.1"]\n';
  await using world = await openTlsWorld(MATERIAL, { pooler });
  const asking = await world.connect();
  await asking.send(proxyLine("192.0.2.7", 1_234));
  assert.equal(await asking.requestTls(clientContext()), "S");
  await asking.login(ADA);
  const direct = await world.connect();
  await direct.send(proxyLine("192.0.2.8", 1_234));
  await direct.startTls(clientContext());
  await direct.login(ADA);
  assert.deepEqual(world.clients.map(({ remote }) => remote.host), ["192.0.2.7", "192.0.2.8"]);
  asking.close();
  direct.close();
});

Deno.test("a handshake that fails is told by TLS alone, and logged with its reason", async () => {
  await using world = await openTlsWorld(MATERIAL, { sslmode: "verify-ca" });
  const cases = [
    [undefined, "certificate required"],
    [MATERIAL.expiredClient, "certificate has expired"],
    [MATERIAL.otherClient, "unknown certificate authority"],
  ] as const;
  for (const [certificate, reason] of cases) {
    const client = await connectByTls(world, certificate === undefined ? {} : { certificate });
    await client.send(STARTUP);
    assert.equal(await client.lastWords(), "nothing");
    await world.settle();
    assert.equal(linesOf(world, `TLS handshake error: ${reason}`).length, 1, reason);
  }
  assert.equal(linesOf(world, "login attempt").length, 0);
  assert.equal(linesOf(world, "pooler error").length, 0);
});

Deno.test("garbage in place of a handshake ends the connection", async () => {
  await using world = await openTlsWorld(MATERIAL);
  const client = await world.connect();
  await client.send(Uint8Array.of(0x16, ...new Uint8Array(16).fill(0xff)));
  await world.settle();
  assert.equal(world.clients.length, 0);
  client.close();
});

Deno.test("a handshake that takes too long is ended without a word in plain text", async () => {
  await using world = await openTlsWorld(MATERIAL, { pooler: "client_login_timeout = 5" });
  const asking = await world.connect();
  await asking.send(frontend.sslRequest());
  assert.equal(await asking.receiveByte(), "S");
  const direct = await world.connect();
  await direct.send(Uint8Array.of(0x16, 3, 1));
  await world.advance(6_000);
  for (const client of [asking, direct]) {
    assert.equal(await client.receiveByte(), undefined);
    client.close();
  }
  assert.equal(linesOf(world, "closing because: client_login_timeout").length, 2);
  assert.equal(linesOf(world, "TLS handshake error").length, 0);
});

Deno.test("handshakes count as logins, and the oldest is ended for one too many", async () => {
  await using world = await openTlsWorld(MATERIAL, { pooler: "max_login_clients = 2" });
  const held = [await world.connect(), await world.connect()];
  for (const client of held) {
    await client.send(frontend.sslRequest());
    assert.equal(await client.receiveByte(), "S");
  }
  const newcomer = await connectByTls(world);
  await newcomer.login(ADA);
  assert.equal(await held[0]!.receiveByte(), undefined);
  held[0]!.close();
  assert.equal(world.pooler.clients.count, 2);
  newcomer.close();
  held[1]!.close();
});

Deno.test("a client that has logged in over TLS is told of its end there", async () => {
  await using world = await openTlsWorld(MATERIAL, { pooler: "client_idle_timeout = 5" });
  const client = await connectByTls(world);
  await client.login(ADA);
  await world.advance(6_000);
  assert.equal(await client.lastWords(), "FATAL 57P05 client_idle_timeout");
});

Deno.test("nothing of the handshake is kept of a client that has logged in", async () => {
  await using world = await openTlsWorld(MATERIAL, { sslmode: "verify-full" });
  const client = await connectByTls(world, { certificate: MATERIAL.client });
  await world.settle();
  assert.ok(world.clients[0]?.tlsLogin);
  await client.login(ADA);
  await world.settle();
  assert.equal(world.clients[0]?.tlsLogin, undefined);
  client.close();
});

Deno.test("SHOW CLIENTS and SHOW SOCKETS tell what a client is protected by", async () => {
  await using world = await openTlsWorld(MATERIAL, {
    sslmode: "allow",
    pooler: 'admin_users = "ada"',
  });
  const [secure, plain] = [await connectByTls(world), await world.login()];
  await secure.login(ADA);
  const console = await world.login({ database: "pgbouncer" });
  for (const what of ["clients", "sockets"]) {
    const { rows } = await console.query(`show ${what} where database = 'app' and type = 'C'`);
    const shown = rows.map((row) => row[17]);
    assert.deepEqual(shown, ["TLSv1.3/TLS_AES_256_GCM_SHA384", ""], what);
  }
  for (const client of [secure, plain, console]) client.close();
});
