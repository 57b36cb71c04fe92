import assert from "node:assert/strict";
import { serialize } from "pg-protocol";
import type { AuthStep, ClientAuthentication } from "../../../src/auth/client_authentication.ts";
import type { UserCredential } from "../../../src/auth/credential.ts";
import { md5Response, md5Secret } from "../../../src/auth/md5.ts";
import { AssertionError } from "../../../src/base/assert.ts";
import { readAuthentication } from "../../../src/wire/authentication_messages.ts";
import {
  bodyOf,
  clientAuthentication,
  CountingDerivation,
  CountingRandom,
  credential,
  type Demand,
  login,
  passwordBody,
  ROUNDS,
  SALT,
  scramVerifier,
} from "./auth_support.ts";
import { pgSasl } from "./pg_sasl.ts";

function rejection(step: AuthStep): { message: string; sqlstate: string; reason: string } {
  assert.equal(step.kind, "rejected");
  const { error, reason } = step as AuthStep & { kind: "rejected" };
  assert.equal(error.severity, "FATAL");
  return { message: error.message, sqlstate: error.sqlstate, reason };
}

function request(step: AuthStep) {
  assert.equal(step.kind, "challenge");
  return readAuthentication(bodyOf((step as AuthStep & { kind: "challenge" }).message));
}

const WRONG_PASSWORD = { message: "password authentication failed", sqlstate: "28P01" };
const WRONG_SASL = { message: "SASL authentication failed", sqlstate: "28P01" };
const ACCEPTED: AuthStep = { kind: "accepted", message: undefined };

// --- any, trust ---

Deno.test("any lets everybody in, known or not", () => {
  assert.deepEqual(clientAuthentication({ method: "any" }).start(), ACCEPTED);
  assert.deepEqual(
    clientAuthentication({ method: "any", credential: credential("ada") }).start(),
    ACCEPTED,
  );
});

Deno.test("trust lets known users in, with or without a password", () => {
  for (const secret of [undefined, "", "secret"]) {
    const known = credential("ada", secret);
    assert.deepEqual(
      clientAuthentication({ method: "trust", credential: known }).start(),
      ACCEPTED,
    );
  }
  assert.deepEqual(rejection(clientAuthentication({ method: "trust" }).start()), {
    message: '"trust" authentication failed',
    sqlstate: "28000",
    reason: '"trust" authentication failed (no such user)',
  });
});

// --- plain ---

async function sendPassword(demand: Demand, body: Uint8Array): Promise<AuthStep> {
  const exchange = clientAuthentication(demand);
  assert.deepEqual(request(exchange.start()), { kind: "cleartext" });
  return await exchange.receive(body);
}

async function plainStep(user: UserCredential | undefined, password: string): Promise<AuthStep> {
  return await sendPassword({ method: "plain", credential: user }, passwordBody(password));
}

Deno.test("plain checks the password against a plain secret, an MD5 hash and a verifier", async () => {
  const password = "pässwörd";
  const secrets = [password, md5Secret(password, "ada"), await scramVerifier(password)];
  for (const secret of secrets) {
    const user = () => credential("ada", secret);
    assert.deepEqual(await plainStep(user(), password), ACCEPTED, secret);
    for (const wrong of ["pässwörd ", "passwörd", "x", secret === password ? "y" : secret]) {
      const { reason, ...told } = rejection(await plainStep(user(), wrong));
      assert.deepEqual(told, WRONG_PASSWORD);
      assert.equal(reason, "password authentication failed (wrong password)");
    }
  }
});

Deno.test("plain brings the password into its SASLprep form for a verifier", async () => {
  assert.deepEqual(await plainStep(credential("ada", await scramVerifier("fi")), "ﬁ"), ACCEPTED);
  assert.equal((await plainStep(credential("ada", "fi"), "ﬁ")).kind, "rejected");
});

Deno.test("plain takes bytes that are not UTF-8 for a wrong password", async () => {
  const user = credential("ada", "caf\uFFFD");
  const step = await sendPassword(
    { method: "plain", credential: user },
    Uint8Array.of(0x63, 0x61, 0x66, 0xe9, 0),
  );
  assert.equal(rejection(step).message, WRONG_PASSWORD.message);
  assert.deepEqual(await plainStep(user, "caf\uFFFD"), ACCEPTED);
});

Deno.test("plain learns the keys of a verifier that the password fits, and only then", async () => {
  const user = credential("ada", await scramVerifier("secret"));
  await plainStep(user, "other");
  assert.equal(user.scramKeys, undefined);
  await plainStep(user, "secret");
  const { answered } = await login(
    { method: "scram-sha-256", credential: credential("ada", "secret") },
    { credential: user },
  );
  // Another salt: the ad-hoc verifier of a plain secret is not the stored one.
  assert.equal(answered.kind, "failed");
  const stored = credential("ada", await scramVerifier("secret"));
  const reused = await login({ method: "scram-sha-256", credential: stored }, { credential: user });
  assert.equal(reused.answered.kind, "ok");
});

Deno.test("plain does not derive more rounds than the limit, whatever the verifier says", async () => {
  const derivation = new CountingDerivation();
  const verifier = (await scramVerifier("secret")).replace(`$${ROUNDS}:`, "$10000001:");
  const user = credential("ada", verifier);
  assert.equal(user.kind, "scram");
  const demand: Demand = { method: "plain", credential: user, derivation };
  const { reason, ...told } = rejection(await sendPassword(demand, passwordBody("secret")));
  assert.deepEqual(told, WRONG_PASSWORD);
  assert.match(reason, /too many rounds/);
  assert.equal(derivation.mostRounds, ROUNDS);
});

Deno.test("an empty password is never right, nor is any for a user without one", async () => {
  for (const secret of [undefined, "", "secret"]) {
    const empty = rejection(await plainStep(credential("ada", secret), ""));
    assert.equal(empty.message, "empty password returned by client");
    assert.equal(empty.sqlstate, "28P01");
  }
  for (const secret of [undefined, ""]) {
    const { reason, ...told } = rejection(await plainStep(credential("ada", secret), "x"));
    assert.deepEqual(told, WRONG_PASSWORD);
    assert.equal(reason, "password authentication failed (the user has no password)");
  }
});

// --- md5 ---

async function md5Step(user: UserCredential | undefined, stored: string): Promise<AuthStep> {
  const exchange = clientAuthentication({ method: "md5", credential: user });
  const asked = request(exchange.start());
  assert.deepEqual(asked, { kind: "md5", salt: Uint8Array.of(1, 2, 3, 4) });
  return await exchange.receive(passwordBody(md5Response(stored, Uint8Array.of(1, 2, 3, 4))));
}

Deno.test("md5 checks the answer against a plain secret and a hash", async () => {
  const right = md5Secret("secret", "ada");
  for (const secret of ["secret", right]) {
    assert.deepEqual(await md5Step(credential("ada", secret), right), ACCEPTED);
    const { reason: _, ...told } = rejection(
      await md5Step(credential("ada", secret), md5Secret("other", "ada")),
    );
    assert.deepEqual(told, WRONG_PASSWORD);
  }
});

Deno.test("md5 takes an empty answer for an empty password", async () => {
  for (const user of [undefined, credential("ada", "secret")]) {
    const exchange = clientAuthentication({ method: "md5", credential: user });
    exchange.start();
    const { message, sqlstate } = rejection(await exchange.receive(passwordBody("")));
    assert.deepEqual([message, sqlstate], ["empty password returned by client", "28P01"]);
  }
});

Deno.test("md5 takes neither the password nor its hash for an answer", async () => {
  const hash = md5Secret("secret", "ada");
  for (const answer of ["secret", hash, hash.slice(3)]) {
    const exchange = clientAuthentication({ method: "md5", credential: credential("ada", hash) });
    exchange.start();
    assert.equal((await exchange.receive(passwordBody(answer))).kind, "rejected");
  }
});

Deno.test("md5 refuses an answer to another salt", async () => {
  const user = credential("ada", "secret");
  const exchange = clientAuthentication({ method: "md5", credential: user });
  exchange.start();
  const answer = md5Response(md5Secret("secret", "ada"), Uint8Array.of(4, 3, 2, 1));
  assert.equal((await exchange.receive(passwordBody(answer))).kind, "rejected");
});

Deno.test("md5 goes on with SCRAM for a stored verifier", async () => {
  const user = credential("ada", await scramVerifier("secret"));
  const { demanded, answered } = await login(
    { method: "md5", credential: user },
    { credential: credential("ada", "secret") },
  );
  assert.equal(demanded.kind, "accepted");
  assert.equal(answered.kind, "ok");
  assert.ok(user.scramKeys !== undefined);
});

// --- scram-sha-256 ---

/** Logs in with the client of node-postgres; answers our last step. */
async function pgLogin(exchange: ClientAuthentication, password: string): Promise<AuthStep> {
  const offered = request(exchange.start());
  assert.deepEqual(offered, { kind: "sasl", mechanisms: ["SCRAM-SHA-256"] });
  const session = pgSasl.startSession(["SCRAM-SHA-256"]);
  const initial = serialize.sendSASLInitialResponseMessage(session.mechanism, session.response);
  const first = request(await exchange.receive(bodyOf(initial)));
  assert.equal(first.kind, "saslContinue");
  if (first.kind !== "saslContinue") throw new Error("unreachable");
  await pgSasl.continueSession(session, password, new TextDecoder().decode(first.data));
  const step = await exchange.receive(new TextEncoder().encode(session.response));
  if (step.kind === "accepted") {
    const final = readAuthentication(bodyOf(step.message!));
    if (final.kind !== "saslFinal") throw new Error("expected AuthenticationSASLFinal");
    pgSasl.finalizeSession(session, new TextDecoder().decode(final.data));
  }
  return step;
}

Deno.test("SCRAM lets node-postgres in by a verifier and by a plain secret", async () => {
  for (const secret of ["secret", await scramVerifier("secret")]) {
    const user = credential("ada", secret);
    const exchange = () => clientAuthentication({ method: "scram-sha-256", credential: user });
    assert.equal((await pgLogin(exchange(), "secret")).kind, "accepted");
    const { reason, ...told } = rejection(await pgLogin(exchange(), "other"));
    assert.deepEqual(told, WRONG_SASL);
    assert.equal(reason, "SASL authentication failed (wrong password)");
  }
});

Deno.test("SCRAM keeps the keys of a client that a verifier let in, and of no other", async () => {
  const user = credential("ada", await scramVerifier("secret"));
  const exchange = () => clientAuthentication({ method: "scram-sha-256", credential: user });
  await pgLogin(exchange(), "other");
  assert.equal(user.scramKeys, undefined);
  await pgLogin(exchange(), "secret");
  const derived = await credential("ada", "secret")
    .deriveScramKeys(new CountingDerivation(), { salt: SALT, iterations: ROUNDS });
  assert.deepEqual(user.scramKeys, derived);
});

Deno.test("SCRAM refuses a stored MD5 hash in the words for a wrong password", async () => {
  const user = credential("ada", md5Secret("secret", "ada"));
  const exchange = clientAuthentication({ method: "scram-sha-256", credential: user });
  const { reason, ...told } = rejection(await pgLogin(exchange, "secret"));
  assert.deepEqual(told, WRONG_SASL);
  assert.equal(reason, "SASL authentication failed (the stored MD5 hash cannot do SCRAM)");
});

Deno.test("SCRAM derives the keys of a plain secret once for many logins", async () => {
  const derivation = new CountingDerivation();
  const user = credential("ada", "secret");
  const demand: Demand = { method: "scram-sha-256", credential: user, derivation };
  for (let n = 0; n < 3; n++) {
    const random = new CountingRandom(n * 40);
    const step = await pgLogin(clientAuthentication({ ...demand, random }), "secret");
    assert.equal(step.kind, "accepted");
  }
  assert.equal(derivation.count, 1);
});

/** A client's first message, and the salt and rounds that came back. */
async function askedOf(demand: Demand): Promise<string> {
  const exchange = clientAuthentication(demand);
  exchange.start();
  const body = serialize.sendSASLInitialResponseMessage("SCRAM-SHA-256", "n,,n=,r=nonce");
  const first = request(await exchange.receive(bodyOf(body)));
  if (first.kind !== "saslContinue") throw new Error("expected AuthenticationSASLContinue");
  return new TextDecoder().decode(first.data).replace(/^r=nonce[^,]{24},/, "");
}

Deno.test("SCRAM asks a user who does not exist as it asks one with a plain secret", async () => {
  const unknown = await askedOf({ method: "scram-sha-256", credential: undefined });
  assert.match(unknown, /^s=[A-Za-z0-9+/]{22}==,i=3$/);
  for (const secret of ["secret", "another", "", undefined, md5Secret("secret", "ada")]) {
    const known = credential("ada", secret);
    assert.equal(await askedOf({ method: "scram-sha-256", credential: known }), unknown);
  }
});

Deno.test("SCRAM's made-up salt is stable for a name, and differs by name and by pooler", async () => {
  const ask = (userName: string, seed: number, first: number) =>
    askedOf({
      method: "scram-sha-256",
      userName,
      random: new CountingRandom(first),
      mockSecret: new Uint8Array(32).fill(seed),
    });
  assert.equal(await ask("ada", 1, 0), await ask("ada", 1, 99));
  assert.notEqual(await ask("ada", 1, 0), await ask("bob", 1, 0));
  assert.notEqual(await ask("ada", 1, 0), await ask("ada", 2, 0));
});

Deno.test("SCRAM asks a user it cannot let in as it asks those with a verifier, and one with a plain secret by its own rounds", async () => {
  const looks = { shapes: [{ iterations: 10_000, saltBytes: 8 }] };
  const ask = (user?: UserCredential) =>
    askedOf({ method: "scram-sha-256", credential: user, looks });
  const unknown = await ask();
  assert.match(unknown, /^s=[A-Za-z0-9+/]{11}=,i=10000$/);
  for (const secret of [undefined, "", md5Secret("secret", "ada")]) {
    assert.equal(await ask(credential("ada", secret)), unknown);
  }
  assert.match(await ask(credential("ada", "secret")), /^s=[A-Za-z0-9+/]{22}==,i=3$/);
});

Deno.test("SCRAM by md5 asks a user it does not know as those with a verifier only, whom alone it asks so", async () => {
  const verifier = { iterations: 10_000, saltBytes: 8 };
  const plain = { iterations: 4096, saltBytes: 16 };
  const looks = { verifierShare: 1, shapes: [plain, verifier], verifierShapes: [verifier] };
  for (let i = 0; i < 10; i++) {
    assert.match(await askedOf({ method: "md5", userName: `user${i}`, looks }), /,i=10000$/);
  }
});

Deno.test("md5 draws how to ask an unknown name from what no name's salt shows", async () => {
  const names = Array.from({ length: 64 }, (_, n) => `user${n}`);
  let sameCount = 0;
  for (const userName of names) {
    const exchange = clientAuthentication({
      method: "md5",
      userName,
      looks: { verifierShare: 0.5 },
    });
    const isScram = request(exchange.start()).kind === "sasl";
    const asked = await askedOf({ method: "scram-sha-256", userName: `method of ${userName}` });
    const firstByte = atob(/s=([^,]*)/.exec(asked)![1]!).charCodeAt(0);
    if (isScram === firstByte < 128) sameCount++;
  }
  assert.ok(sameCount > 12 && sameCount < 52, `${sameCount} of 64`);
});

Deno.test("SCRAM asks by the stored verifier's salt and rounds", async () => {
  const verifier = await scramVerifier("secret", { iterations: 77 });
  const demand: Demand = { method: "scram-sha-256", credential: credential("ada", verifier) };
  assert.equal(await askedOf(demand), `s=${SALT},i=77`);
});

Deno.test("a user who does not exist walks the steps of one who typed a wrong password", async () => {
  for (const method of ["plain", "md5", "scram-sha-256"] as const) {
    const walk = async (user: UserCredential | undefined) => {
      const random = new CountingRandom();
      const { demanded, messages } = await login(
        { method, credential: user, random },
        { credential: credential("ada", "wrong") },
      );
      const { reason, ...told } = rejection(demanded);
      return { told, reason, messages: messages.map((message) => message.length) };
    };
    const known = await walk(credential("ada", "right"));
    const unknown = await walk(undefined);
    assert.deepEqual(unknown.told, known.told);
    assert.deepEqual(unknown.messages, known.messages);
    assert.match(known.reason, /wrong password/);
    assert.match(unknown.reason, /no such user/);
  }
});

/** Begins SCRAM with a stored verifier and this first message. */
async function firstStep(data: string): Promise<[ClientAuthentication, AuthStep]> {
  const user = credential("ada", await scramVerifier("secret"));
  const exchange = clientAuthentication({ method: "scram-sha-256", credential: user });
  exchange.start();
  const body = bodyOf(serialize.sendSASLInitialResponseMessage("SCRAM-SHA-256", data));
  return [exchange, await exchange.receive(body)];
}

Deno.test("SCRAM refuses channel binding, which it has not offered", async () => {
  const [, step] = await firstStep("p=tls-server-end-point,,n=,r=nonce");
  const { reason, ...told } = rejection(step);
  assert.deepEqual(told, { message: "SASL authentication failed", sqlstate: "08P01" });
  assert.match(reason, /channel binding was not offered/);
});

Deno.test("SCRAM takes the header y,, of a client that could bind, and holds it to it", async () => {
  for (
    const [header, binding, kind] of [["y,,", "eSws", "wrong password"], ["y,,", "biws", "bind"]]
  ) {
    const [exchange, step] = await firstStep(`${header}n=,r=nonce`);
    const first = request(step);
    if (first.kind !== "saslContinue") throw new Error("expected AuthenticationSASLContinue");
    const nonce = /r=([^,]*)/.exec(new TextDecoder().decode(first.data))![1];
    const final = `c=${binding},r=${nonce},p=${"A".repeat(43)}=`;
    const { reason } = rejection(await exchange.receive(new TextEncoder().encode(final)));
    assert.match(reason, new RegExp(kind!));
  }
});

Deno.test("SCRAM refuses a nonce that is not the one it gave", async () => {
  const [exchange] = await firstStep("n,,n=,r=nonce");
  const final = `c=biws,r=nonce,p=${"A".repeat(43)}=`;
  const { reason, sqlstate } = rejection(await exchange.receive(new TextEncoder().encode(final)));
  assert.match(reason, /nonce/);
  assert.equal(sqlstate, "08P01");
});

Deno.test("SCRAM refuses any other mechanism", async () => {
  for (const mechanism of ["SCRAM-SHA-256-PLUS", "PLAIN", "", "scram-sha-256"]) {
    const exchange = clientAuthentication({ method: "scram-sha-256" });
    exchange.start();
    const body = bodyOf(serialize.sendSASLInitialResponseMessage(mechanism, "n,,n=,r=x"));
    assert.deepEqual(rejection(await exchange.receive(body)), {
      message: "client selected an invalid SASL authentication mechanism",
      sqlstate: "08P01",
      reason: "client selected an invalid SASL authentication mechanism",
    });
  }
});

Deno.test("SCRAM asks a client that sent no first message for it", async () => {
  const user = credential("ada", "secret");
  const exchange = clientAuthentication({ method: "scram-sha-256", credential: user });
  exchange.start();
  const initial = new TextEncoder().encode("SCRAM-SHA-256\0");
  const asked = request(await exchange.receive(Uint8Array.of(...initial, 255, 255, 255, 255)));
  assert.deepEqual(asked, { kind: "saslContinue", data: new Uint8Array() });
  const session = pgSasl.startSession(["SCRAM-SHA-256"]);
  const first = request(await exchange.receive(new TextEncoder().encode(session.response)));
  if (first.kind !== "saslContinue") throw new Error("expected AuthenticationSASLContinue");
  await pgSasl.continueSession(session, "secret", new TextDecoder().decode(first.data));
  const step = await exchange.receive(new TextEncoder().encode(session.response));
  assert.equal(step.kind, "accepted");
});

// --- the exchange as a whole ---

Deno.test("ClientAuthentication.receive() copies what it keeps", async () => {
  const user = credential("ada", "secret");
  const exchange = clientAuthentication({ method: "scram-sha-256", credential: user });
  exchange.start();
  const session = pgSasl.startSession(["SCRAM-SHA-256"]);
  const initial = serialize.sendSASLInitialResponseMessage(session.mechanism, session.response);
  const body = bodyOf(initial);
  const first = request(await exchange.receive(body));
  body.fill(0);
  if (first.kind !== "saslContinue") throw new Error("expected AuthenticationSASLContinue");
  await pgSasl.continueSession(session, "secret", new TextDecoder().decode(first.data));
  const final = new TextEncoder().encode(session.response);
  const step = exchange.receive(final);
  final.fill(0);
  assert.equal((await step).kind, "accepted");
});

Deno.test("ClientAuthentication.receive() copies a password that waits for its derivation", async () => {
  const notUtf8 = Uint8Array.of(0x63, 0xe9);
  const user = credential("ada", await scramVerifier(notUtf8));
  const exchange = clientAuthentication({ method: "plain", credential: user });
  exchange.start();
  const body = Uint8Array.of(...notUtf8, 0);
  const step = exchange.receive(body);
  body.fill(1);
  assert.equal((await step).kind, "accepted");
});

Deno.test("ClientAuthentication.receive() accepts nothing before the start or after the end", async () => {
  const user = credential("ada", "secret");
  const early = clientAuthentication({ method: "plain", credential: user });
  assert.equal(rejection(await early.receive(passwordBody("secret"))).sqlstate, "08P01");
  for (const password of ["wrong", "secret"]) {
    const exchange = clientAuthentication({ method: "plain", credential: user });
    exchange.start();
    await exchange.receive(passwordBody(password));
    const late = rejection(await exchange.receive(passwordBody("secret")));
    assert.deepEqual(late, {
      message: "unexpected password message",
      sqlstate: "08P01",
      reason: "unexpected password message",
    });
  }
  const trusted = clientAuthentication({ method: "trust", credential: user });
  trusted.start();
  assert.equal((await trusted.receive(passwordBody("secret"))).kind, "rejected");
});

Deno.test("ClientAuthentication.receive() refuses a second message while it still derives", async () => {
  const user = credential("ada", await scramVerifier("secret"));
  const exchange = clientAuthentication({ method: "plain", credential: user });
  exchange.start();
  const first = exchange.receive(passwordBody("secret"));
  assert.ok(first instanceof Promise);
  assert.equal((await exchange.receive(passwordBody("secret"))).kind, "rejected");
  assert.equal((await first).kind, "accepted");
});

Deno.test("ClientAuthentication.receive() refuses a broken or too long password message", async () => {
  const user = credential("ada", "secret");
  for (const method of ["plain", "md5"] as const) {
    const bodies = ["", "secret", "sec\0ret\0", `${"x".repeat(65_536)}\0`];
    for (const body of bodies) {
      const exchange = clientAuthentication({ method, credential: user });
      exchange.start();
      const step = await exchange.receive(new TextEncoder().encode(body));
      assert.equal(rejection(step).sqlstate, "08P01");
    }
  }
});

Deno.test("ClientAuthentication.start() is for once", () => {
  const exchange = clientAuthentication({ method: "plain" });
  exchange.start();
  assert.throws(() => exchange.start(), AssertionError);
});

Deno.test("neither the error nor the reason holds the password", async () => {
  const user = credential("ada", "stored-secret");
  const steps = [
    await plainStep(user, "typed-secret"),
    await sendPassword(
      { method: "plain", credential: user },
      new TextEncoder().encode("typed-secret"),
    ),
  ];
  for (const step of steps) {
    assert.ok(!JSON.stringify(rejection(step)).includes("secret"));
    assert.ok(!Deno.inspect(step).includes("-secret"));
  }
});
