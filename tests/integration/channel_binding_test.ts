/**
 * SCRAM-SHA-256-PLUS against those who know it: PostgreSQL as the server, libpq as the client. The
 * pooler's own connections have no TLS; here the exchanges run over node's.
 */

import assert from "node:assert/strict";
import type { Buffer } from "node:buffer";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { connect as connectTls, TLSSocket } from "node:tls";
import { type ChannelBindingMode, tlsServerEndPoint } from "../../src/auth/channel_binding.ts";
import { ServerAuthentication } from "../../src/auth/server_authentication.ts";
import { KeyDerivation } from "../../src/auth/key_derivation.ts";
import { systemRandom } from "../../src/base/random.ts";
import { authenticationOk } from "../../src/wire/authentication_messages.ts";
import { readyForQuery, TransactionStatus } from "../../src/wire/backend_messages.ts";
import { BodyReader } from "../../src/wire/body_reader.ts";
import { errorResponse, readErrorResponse } from "../../src/wire/error_response.ts";
import { Backend } from "../../src/wire/message_type.ts";
import { startupMessage } from "../../src/wire/startup_packet.ts";
import { psqlWith } from "../support/commands.ts";
import { eventually } from "../support/eventually.ts";
import { isMissing } from "../support/requirements.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { clientAuthentication, credential } from "../unit/auth/auth_support.ts";
import { ECDSA_SHA384, PSS_SHA512 } from "../unit/auth/certificates.ts";

const PASSWORD = "s3cret of alice";
const SSL_REQUEST = Uint8Array.of(0, 0, 0, 8, 4, 210, 22, 47);

const CERTIFICATE = pem("CERTIFICATE", btoa(String.fromCharCode(...ECDSA_SHA384.der)));
const KEY = pem("PRIVATE KEY", ECDSA_SHA384.key);

const shared = sharedPostgres({
  hba: ["host all alice all scram-sha-256"],
  async prepare(postgres) {
    await postgres.sql(`create role alice login password '${PASSWORD}'`);
    const write = (name: string, text: string) =>
      postgres.sql(
        `copy (select unnest(string_to_array('${text.trim()}', E'\\n')))
         to program 'umask 077 && cat > ${name}'`,
      );
    await write("server.crt", CERTIFICATE);
    await write("server.key", KEY);
    await postgres.sql("alter system set ssl = on");
    await postgres.sql("select pg_reload_conf()");
    await eventually("PostgreSQL has TLS", async () => {
      const [row] = await postgres.sql("show ssl");
      return row?.["ssl"] === "on";
    });
  },
});

function pem(what: string, base64: string): string {
  const lines = base64.match(/.{1,64}/g)!.join("\n");
  return `-----BEGIN ${what}-----\n${lines}\n-----END ${what}-----\n`;
}

/** The messages that come over a socket: type and body. */
async function* messages(socket: Socket): AsyncGenerator<{ type: number; body: Uint8Array }> {
  let bytes = new Uint8Array();
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    bytes = Uint8Array.of(...bytes, ...chunk);
    for (;;) {
      const length = bytes.length < 5 ? Infinity : new DataView(bytes.buffer).getUint32(1) + 1;
      if (bytes.length < length) break;
      yield { type: bytes[0]!, body: bytes.slice(5, length) };
      bytes = bytes.slice(length);
    }
  }
}

/** Opens TLS to PostgreSQL. It is the exchange that looks at the certificate. */
async function openTls(port: number): Promise<TLSSocket> {
  const socket = connect(port, "127.0.0.1");
  socket.write(SSL_REQUEST);
  const [answer] = await once(socket, "data") as [Buffer];
  assert.equal(answer.toString(), "S");
  const secure = connectTls({ socket, rejectUnauthorized: false });
  await once(secure, "secureConnect");
  return secure;
}

/** Logs in to PostgreSQL over TLS; answers what our first answer was, or the error. */
async function logIn(
  channelBinding: ChannelBindingMode,
  endPoint: Uint8Array | undefined,
): Promise<string> {
  const socket = await openTls(shared.get().port);
  // Leaving the loop over its messages destroys it, which counts as an error.
  socket.on("error", (error) => {
    if (error.name !== "AbortError") throw error;
  });
  const closed = new Promise((resolve) => socket.once("close", resolve));
  const exchange = new ServerAuthentication({
    userName: "alice",
    credential: credential("alice", PASSWORD),
    random: systemRandom(),
    derivation: new KeyDerivation(),
    channelBinding,
  });
  exchange.noteTls({ endPoint });
  let first: string | undefined;
  try {
    socket.write(startupMessage([["user", "alice"], ["database", "postgres"]], 0));
    for await (const { body, type } of messages(socket)) {
      if (type === Backend.ReadyForQuery) return first ?? "let in without a question";
      if (type === Backend.ErrorResponse) {
        return readErrorResponse(new BodyReader(body, 0, body.length)).message;
      }
      if (type !== Backend.Authentication) continue;
      const step = await exchange.receive(body);
      if (step.kind === "failed") return step.error.message;
      if (step.kind !== "send") continue;
      first ??= new TextDecoder().decode(step.message.slice(5)).replace(/\0[^]{4}(.*),,.*/, " $1");
      socket.write(step.message);
    }
    return "the connection has ended";
  } finally {
    socket.destroy();
    await closed;
  }
}

Deno.test("PostgreSQL lets us in by PLUS for its own certificate, and for no other", async () => {
  const own = tlsServerEndPoint(ECDSA_SHA384.der);
  const plus = "SCRAM-SHA-256-PLUS p=tls-server-end-point";
  assert.equal(await logIn("prefer", own), plus);
  assert.equal(await logIn("require", own), plus);
  assert.equal(await logIn("disable", own), "SCRAM-SHA-256 n");
  const foreign = tlsServerEndPoint(PSS_SHA512.der);
  assert.equal(await logIn("prefer", foreign), "SCRAM channel binding check failed");
});

/** Demands a login over TLS, from whoever connects, and then answers no query with anything. */
async function serve(socket: Socket, endPoint: Uint8Array | undefined): Promise<void> {
  await once(socket, "data");
  socket.write("S");
  const secure = new TLSSocket(socket, { isServer: true, cert: CERTIFICATE, key: KEY });
  // psql leaves without reading all there is.
  secure.on("error", (error) => {
    if (!("code" in error) || error.code !== "ECONNRESET" && error.code !== "EPIPE") throw error;
  });
  await once(secure, "data");
  const user = credential("alice", PASSWORD);
  const exchange = clientAuthentication({ method: "scram-sha-256", credential: user, endPoint });
  const first = exchange.start();
  assert.equal(first.kind, "challenge");
  if (first.kind === "challenge") secure.write(first.message);
  for await (const { body, type } of messages(secure)) {
    if (type === "Q".charCodeAt(0)) {
      secure.write(Uint8Array.of("I".charCodeAt(0), 0, 0, 0, 4));
      secure.write(readyForQuery(TransactionStatus.Idle));
    }
    if (type !== "p".charCodeAt(0)) continue;
    const step = await exchange.receive(body);
    if (step.kind === "challenge") secure.write(step.message);
    if (step.kind === "rejected") secure.end(errorResponse(step.error));
    if (step.kind !== "accepted") continue;
    if (step.message !== undefined) secure.write(step.message);
    secure.write(authenticationOk());
    secure.write(readyForQuery(TransactionStatus.Idle));
  }
}

/** What psql says when it logs in to us: nothing if it is let in. */
async function psqlSays(mode: ChannelBindingMode, endPoint: Uint8Array | undefined) {
  const server = createServer();
  const served = once(server, "connection").then(([socket]) => serve(socket as Socket, endPoint));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const target = `sslmode=require channel_binding=${mode}`;
  const { stderr } = await psqlWith(
    { port, user: "alice", password: PASSWORD },
    ["-d", target, "-c", "nothing"],
  );
  server.close();
  await served;
  return stderr.replace(/^psql: error: .*failed: /, "").trim();
}

Deno.test({
  name: "libpq logs in to us by PLUS if it can, and only so if it must",
  ignore: isMissing("psql"),
  async fn() {
    const own = ECDSA_SHA384.endPoint;
    for (const mode of ["disable", "prefer", "require"] as const) {
      assert.equal(await psqlSays(mode, own), "", mode);
    }
    assert.equal(await psqlSays("disable", undefined), "");
    assert.equal(await psqlSays("prefer", undefined), "");
    assert.match(await psqlSays("require", undefined), /channel binding is required/);
    const foreign = PSS_SHA512.endPoint;
    assert.equal(await psqlSays("disable", foreign), "");
    assert.equal(await psqlSays("prefer", foreign), "FATAL:  SCRAM channel binding check failed");
  },
});
