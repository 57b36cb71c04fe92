/** SCRAM bound to TLS: both sides of Sluice, and node-postgres as a client that is not ours. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { serialize } from "pg-protocol";
import type { AuthStep, ClientAuthentication } from "../../../src/auth/client_authentication.ts";
import type { ChannelBindingMode } from "../../../src/auth/channel_binding.ts";
import type { ServerAuthStep } from "../../../src/auth/server_authentication.ts";
import {
  authenticationCleartextPassword,
  authenticationMd5Password,
  authenticationOk,
  authenticationSasl,
  readAuthentication,
} from "../../../src/wire/authentication_messages.ts";
import {
  type Answerer,
  bodyOf,
  clientAuthentication,
  credential,
  type Demand,
  login,
  scramVerifier,
  serverAuthentication,
  type Wire,
} from "./auth_support.ts";
import { ECDSA_SHA384, ED25519, PSS_SHA512, RSA_SHA1 } from "./certificates.ts";
import { pgSasl, type PgTlsStream } from "./pg_sasl.ts";

const END_POINT = ECDSA_SHA384.endPoint;
const FOREIGN = PSS_SHA512.endPoint;
const ada = () => credential("ada", "secret");

/** A server, which demands; `endPoint` of its certificate, none without TLS. */
function demand(endPoint?: Uint8Array): Demand {
  return { method: "scram-sha-256", credential: ada(), endPoint };
}

/** A client. `tls` is undefined without TLS. */
function answerer(channelBinding: ChannelBindingMode, tls?: Answerer["tls"]): Answerer {
  return { credential: ada(), channelBinding, tls };
}

/** How a login went: by which mechanism and flag, or the words of who refused it. */
async function course(who: Demand, by: Answerer, wire?: Wire): Promise<string> {
  const { answered, demanded, messages } = await login(who, by, wire);
  if (answered.kind === "failed") return answered.error.message;
  if (demanded.kind === "rejected") return `${demanded.error.sqlstate} ${demanded.error.message}`;
  assert.deepEqual([demanded.kind, answered.kind], ["accepted", "ok"]);
  return new TextDecoder().decode(bodyOf(messages[1]!)).replace(/\0[^]{4}(.*),,.*/, " $1");
}

const PLUS = "SCRAM-SHA-256-PLUS p=tls-server-end-point";
const FAILED = "server login failed: channel binding ";
const NO_TLS = `${FAILED}required, but SSL not in use`;
const NOT_OFFERED =
  `${FAILED}is required, but server did not offer an authentication method that supports channel binding`;
const UNBINDABLE = `${FAILED}is required, but the server's certificate allows none`;
const LET_IN = `${FAILED}required, but server authenticated client without channel binding`;
const UNSUPPORTED = `${FAILED}required but not supported by server's authentication request`;
const tls = { endPoint: END_POINT };
const unbindable = { endPoint: ED25519.endPoint };

/** Every client against every server: what the client wants, and what comes of it. */
const COURSES: readonly [
  mode: ChannelBindingMode,
  clientTls: Answerer["tls"],
  serverEndPoint: Uint8Array | undefined,
  expected: string,
][] = [
  // TLS, and the server offers to bind.
  ["disable", tls, END_POINT, "SCRAM-SHA-256 n"],
  ["prefer", tls, END_POINT, PLUS],
  ["require", tls, END_POINT, PLUS],
  // TLS, and the server does not offer it: it cannot.
  ["disable", tls, undefined, "SCRAM-SHA-256 n"],
  ["prefer", tls, undefined, "SCRAM-SHA-256 y"],
  ["require", tls, undefined, NOT_OFFERED],
  // No TLS on either side.
  ["disable", undefined, undefined, "SCRAM-SHA-256 n"],
  ["prefer", undefined, undefined, "SCRAM-SHA-256 n"],
  ["require", undefined, undefined, NO_TLS],
  // TLS ends in front of the server's own, so that only the server sees it.
  ["disable", undefined, END_POINT, "SCRAM-SHA-256 n"],
  ["prefer", undefined, END_POINT, "SCRAM-SHA-256 n"],
  ["require", undefined, END_POINT, NO_TLS],
  // A certificate that cannot be bound to, here or there.
  ["disable", unbindable, undefined, "SCRAM-SHA-256 n"],
  ["prefer", unbindable, undefined, "SCRAM-SHA-256 n"],
  ["require", unbindable, undefined, NOT_OFFERED],
  ["prefer", unbindable, END_POINT, "SCRAM-SHA-256 n"],
  ["require", unbindable, END_POINT, UNBINDABLE],
  // Somebody in between shows a certificate of their own.
  ["disable", { endPoint: FOREIGN }, END_POINT, "SCRAM-SHA-256 n"],
  ["prefer", { endPoint: FOREIGN }, END_POINT, "28000 SCRAM channel binding check failed"],
  ["require", { endPoint: FOREIGN }, END_POINT, "28000 SCRAM channel binding check failed"],
];

Deno.test("a login is bound where both sides can and the client wants it", async () => {
  for (const [mode, clientTls, serverEndPoint, expected] of COURSES) {
    const which = `${mode}, ${clientTls ? "TLS" : "no TLS"}, ${serverEndPoint ? "offered" : "not"}`;
    assert.equal(await course(demand(serverEndPoint), answerer(mode, clientTls)), expected, which);
  }
});

Deno.test("a verifier's user, and one whose keys were learned, are bound likewise", async () => {
  const stored = await scramVerifier("secret");
  const user = credential("ada", stored);
  const first = { ...demand(END_POINT), credential: user };
  assert.equal(await course(first, answerer("require", tls)), PLUS);
  // Keys that a client showed over its own TLS connection open the server over another.
  const server = { ...demand(FOREIGN), credential: credential("ada", stored) };
  const by = { ...answerer("require", { endPoint: FOREIGN }), credential: user };
  assert.equal(await course(server, by), PLUS);
});

Deno.test("a wrong password is told in the same words with binding as without", async () => {
  for (const user of [ada(), credential("ada"), undefined]) {
    const wrong = { ...answerer("require", tls), credential: credential("ada", "wrong") };
    const told = await course({ ...demand(END_POINT), credential: user }, wrong);
    assert.equal(told, "28P01 SASL authentication failed");
  }
});

Deno.test("who hides the offer to bind is noticed by the server", async () => {
  const hide: Wire = (body, at) => at === 0 ? bodyOf(authenticationSasl(["SCRAM-SHA-256"])) : body;
  const { demanded } = await login(demand(END_POINT), answerer("prefer", tls), hide);
  assert.equal(demanded.kind, "rejected");
  if (demanded.kind !== "rejected") return;
  assert.equal(demanded.error.sqlstate, "28000");
  assert.equal(demanded.error.message, "SCRAM channel binding negotiation error");
  assert.match(demanded.reason, /believes that the server does not/);
});

Deno.test("who hides the offer and changes the flag, too, breaks the proof", async () => {
  const hide: Wire = (body, at) => {
    if (at === 0) return bodyOf(authenticationSasl(["SCRAM-SHA-256"]));
    const text = new TextDecoder("latin1").decode(body);
    const changed = text.replace("y,,", "n,,").replace("c=eSws", "c=biws");
    return Uint8Array.from(changed, (c) => c.charCodeAt(0));
  };
  const told = await course(demand(END_POINT), answerer("prefer", tls), hide);
  assert.equal(told, "28P01 SASL authentication failed");
});

Deno.test("PLUS is offered first, and only with a certificate that can be bound to", () => {
  const offered = (endPoint: Uint8Array | undefined) => {
    const step = clientAuthentication(demand(endPoint)).start();
    return step.kind === "challenge" ? readAuthentication(bodyOf(step.message)) : step;
  };
  const both = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"];
  assert.deepEqual(offered(RSA_SHA1.endPoint), { kind: "sasl", mechanisms: both });
  assert.deepEqual(offered(ED25519.endPoint), { kind: "sasl", mechanisms: ["SCRAM-SHA-256"] });
});

/** Sends a first and, if asked for, a final message; answers the SQLSTATE and reason of the end. */
async function refusal(mechanism: string, first: string, binding?: string): Promise<string> {
  const exchange = clientAuthentication(demand(END_POINT));
  exchange.start();
  const initial = serialize.sendSASLInitialResponseMessage(mechanism, first);
  let step = await exchange.receive(bodyOf(initial));
  if (step.kind === "challenge" && binding !== undefined) {
    const nonce = /r=([^,]*)/.exec(new TextDecoder().decode(step.message))![1];
    const final = `c=${binding},r=${nonce},p=${"A".repeat(43)}=`;
    step = await exchange.receive(new TextEncoder().encode(final));
  }
  assert.equal(step.kind, "rejected");
  return step.kind === "rejected" ? `${step.error.sqlstate} ${step.reason}` : "";
}

Deno.test("a flag must go with the mechanism, and its type be the one there is", async () => {
  const [scram, plus] = ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"];
  const p = "p=tls-server-end-point";
  assert.match(await refusal(plus, "n,,n=,r=x"), /^08P01 .*channel binding is missing/);
  assert.match(await refusal(plus, "y,,n=,r=x"), /^08P01 .*channel binding is missing/);
  assert.match(await refusal(scram, `${p},,n=,r=x`), /^08P01 .*not offered or not chosen/);
  for (const type of ["p=tls-unique", "p=tls-exporter", "p=TLS-SERVER-END-POINT"]) {
    assert.match(await refusal(plus, `${type},,n=,r=x`), /^08P01 .*unsupported SCRAM channel-bind/);
  }
  assert.match(await refusal("SCRAM-SHA-1-PLUS", `${p},,n=,r=x`), /invalid SASL .* mechanism/);
});

Deno.test("c= is compared byte for byte", async () => {
  const first = "p=tls-server-end-point,,n=,r=x";
  const right = Buffer.concat([Buffer.from("p=tls-server-end-point,,"), END_POINT]);
  const refuse = (binding: string) => refusal("SCRAM-SHA-256-PLUS", first, binding);
  assert.match(await refuse(right.toString("base64")), /^28P01 .*wrong password/);
  const wrong = [
    right.subarray(0, -1),
    Buffer.concat([right, Buffer.of(0)]),
    Buffer.from(END_POINT),
    Buffer.from("p=tls-server-end-point,,"),
    Buffer.from("n,,"),
    Buffer.concat([Buffer.from("p=tls-unique,,"), END_POINT]),
    Buffer.concat([Buffer.from("p=tls-server-end-point,,"), RSA_SHA1.endPoint]),
  ];
  for (const bytes of wrong) {
    assert.match(await refuse(bytes.toString("base64")), /^28000 .*another certificate/);
  }
  assert.match(await refuse(`${right.toString("base64")}=`), /^28000/);
});

Deno.test("SASL may begin with an empty response, with PLUS as well", async () => {
  const exchange = clientAuthentication(demand(END_POINT));
  exchange.start();
  const initial = new TextEncoder().encode("SCRAM-SHA-256-PLUS\0");
  const asked = await exchange.receive(Uint8Array.of(...initial, 255, 255, 255, 255));
  assert.equal(asked.kind, "challenge");
  const first = new TextEncoder().encode("p=tls-server-end-point,,n=,r=x");
  assert.equal((await exchange.receive(first)).kind, "challenge");
});

Deno.test("who requires a bound login gives a server nothing else, not even the password", async () => {
  const requests = [
    [authenticationOk(), LET_IN],
    [authenticationCleartextPassword(), UNSUPPORTED],
    [authenticationMd5Password(Uint8Array.of(1, 2, 3, 4)), UNSUPPORTED],
    [authenticationSasl(["SCRAM-SHA-256"]), NOT_OFFERED],
    [authenticationSasl([]), NOT_OFFERED],
  ] as const;
  for (const [request, why] of requests) {
    const exchange = serverAuthentication(answerer("require", tls));
    const step: ServerAuthStep = await exchange.receive(bodyOf(request));
    assert.equal(step.kind, "failed");
    if (step.kind !== "failed") continue;
    assert.equal(step.error.message, why);
    assert.equal(step.error.sqlstate, "28000");
    assert.equal((await exchange.receive(bodyOf(authenticationOk()))).kind, "failed");
  }
});

Deno.test("a server that offers nothing but PLUS is of no use without binding", async () => {
  for (const by of [answerer("disable", tls), answerer("prefer"), answerer("prefer", unbindable)]) {
    const exchange = serverAuthentication(by);
    const step = await exchange.receive(bodyOf(authenticationSasl(["SCRAM-SHA-256-PLUS"])));
    assert.equal(step.kind, "failed");
    if (step.kind === "failed") assert.match(step.error.message, /none of the server's SASL/);
  }
});

/** Logs in with the client of node-postgres, which was shown `certificate`. */
async function pgLogin(
  exchange: ClientAuthentication,
  { certificate, mechanisms }: { certificate?: Uint8Array; mechanisms: readonly string[] },
): Promise<AuthStep> {
  const stream: PgTlsStream | undefined = certificate &&
    { getPeerCertificate: () => ({ raw: Buffer.from(certificate) }) };
  exchange.start();
  const session = pgSasl.startSession(mechanisms, stream);
  const initial = serialize.sendSASLInitialResponseMessage(session.mechanism, session.response);
  const step = await exchange.receive(bodyOf(initial));
  if (step.kind !== "challenge") return step;
  const first = readAuthentication(bodyOf(step.message));
  if (first.kind !== "saslContinue") throw new Error("expected AuthenticationSASLContinue");
  await pgSasl.continueSession(session, "secret", new TextDecoder().decode(first.data), stream);
  return await exchange.receive(new TextEncoder().encode(session.response));
}

Deno.test("node-postgres is let in by PLUS for each kind of signature, and held to its certificate", async () => {
  const mechanisms = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"];
  for (const { der, endPoint } of [ECDSA_SHA384, PSS_SHA512, RSA_SHA1]) {
    const right = await pgLogin(clientAuthentication(demand(endPoint)), {
      certificate: der,
      mechanisms,
    });
    assert.equal(right.kind, "accepted");
    const wrong = await pgLogin(clientAuthentication(demand(endPoint)), {
      certificate: ED25519.der,
      mechanisms,
    });
    assert.equal(wrong.kind, "rejected");
  }
});

Deno.test("node-postgres is let in without binding, unless the offer was hidden from it", async () => {
  const mechanisms = ["SCRAM-SHA-256"];
  const certificate = ECDSA_SHA384.der;
  const of = (endPoint: Uint8Array | undefined) => clientAuthentication(demand(endPoint));
  assert.equal((await pgLogin(of(END_POINT), { mechanisms })).kind, "accepted");
  assert.equal((await pgLogin(of(undefined), { mechanisms, certificate })).kind, "accepted");
  assert.equal((await pgLogin(of(END_POINT), { mechanisms, certificate })).kind, "rejected");
});
