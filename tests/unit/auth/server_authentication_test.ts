import assert from "node:assert/strict";
import { serialize } from "pg-protocol";
import type { UserCredential } from "../../../src/auth/credential.ts";
import { md5Response, md5Secret } from "../../../src/auth/md5.ts";
import type {
  ServerAuthentication,
  ServerAuthStep,
} from "../../../src/auth/server_authentication.ts";
import {
  authenticationCleartextPassword,
  authenticationMd5Password,
  authenticationOk,
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
} from "../../../src/wire/authentication_messages.ts";
import {
  bodyOf,
  CountingDerivation,
  CountingRandom,
  credential,
  login,
  ROUNDS,
  SALT,
  scramVerifier,
  serverAuthentication,
} from "./auth_support.ts";

const MD5_SALT = Uint8Array.of(9, 8, 7, 6);
const WRONG_TYPE = "server login failed: wrong password type";
const BAD_SIGNATURE = "server login failed: invalid server signature";

async function tell(exchange: ServerAuthentication, message: Uint8Array): Promise<ServerAuthStep> {
  return await exchange.receive(bodyOf(message));
}

function failure(step: ServerAuthStep): { message: string; sqlstate: string; reason: string } {
  assert.equal(step.kind, "failed");
  const { error, reason } = step as ServerAuthStep & { kind: "failed" };
  return { message: error.message, sqlstate: error.sqlstate, reason };
}

function sent(step: ServerAuthStep): Uint8Array {
  assert.equal(step.kind, "send");
  return new Uint8Array((step as ServerAuthStep & { kind: "send" }).message);
}

async function failsWith(user: UserCredential | undefined, message: Uint8Array, text: string) {
  const told = failure(await tell(serverAuthentication({ credential: user }), message));
  assert.equal(told.message, text);
  assert.equal(told.sqlstate, "28000");
  assert.ok(told.reason.startsWith(text), told.reason);
}

Deno.test("a server that trusts us needs no credential", async () => {
  assert.deepEqual(await tell(serverAuthentication({}), authenticationOk()), { kind: "ok" });
});

Deno.test("cleartext is answered from a plain secret, and from no other", async () => {
  const exchange = serverAuthentication({ credential: credential("ada", "pässwörd") });
  const message = sent(await tell(exchange, authenticationCleartextPassword()));
  assert.deepEqual(message, new Uint8Array(serialize.password("pässwörd")));
  assert.deepEqual(await tell(exchange, authenticationOk()), { kind: "ok" });
  const others = ["", md5Secret("secret", "ada"), await scramVerifier("secret"), "with\0zero"];
  for (const user of [undefined, ...others.map((secret) => credential("ada", secret))]) {
    await failsWith(user, authenticationCleartextPassword(), WRONG_TYPE);
  }
});

Deno.test("md5 is answered from a plain secret and from a hash", async () => {
  const hash = md5Secret("secret", "ada");
  for (const secret of ["secret", hash]) {
    const exchange = serverAuthentication({ credential: credential("ada", secret) });
    const message = sent(await tell(exchange, authenticationMd5Password(MD5_SALT)));
    assert.deepEqual(message, new Uint8Array(serialize.password(md5Response(hash, MD5_SALT))));
    assert.deepEqual(await tell(exchange, authenticationOk()), { kind: "ok" });
  }
  for (const user of [undefined, credential("ada"), credential("ada", await scramVerifier("x"))]) {
    await failsWith(user, authenticationMd5Password(MD5_SALT), WRONG_TYPE);
  }
});

Deno.test("md5 hashes a plain secret for the name that the server knows us by", async () => {
  const user = credential("ada", "secret");
  const exchange = serverAuthentication({ userName: "pool_user", credential: user });
  const message = sent(await tell(exchange, authenticationMd5Password(MD5_SALT)));
  const expected = md5Response(md5Secret("secret", "pool_user"), MD5_SALT);
  assert.deepEqual(message, new Uint8Array(serialize.password(expected)));
});

/** What PostgreSQL 15 said to the nonce of CountingRandom(100), for a user with password "pencil". */
const POSTGRESQL = {
  clientFirst: "n,,n=,r=ZGVmZ2hpamtsbW5vcHFyc3R1",
  serverFirst: "r=ZGVmZ2hpamtsbW5vcHFyc3R1aQBk77h4sC0q7W+LKfzjk6pq," +
    "s=MTsXVicYH2VrLZbz4rSRdA==,i=4096",
  clientFinal: "c=biws,r=ZGVmZ2hpamtsbW5vcHFyc3R1aQBk77h4sC0q7W+LKfzjk6pq," +
    "p=C7Vcwj/S3LQf4sZ9ABb7oPiN56cKffwKui8DVRH5MJ8=",
  serverFinal: "v=/RbZf9F3HMSlE38qBCauH2TlGUGi3txpvx2M0yc6bLE=",
};

/** A login as far as the server's proof. */
async function provenTo(exchange: ServerAuthentication): Promise<Uint8Array> {
  await tell(exchange, authenticationSasl(["SCRAM-SHA-256"]));
  return sent(await tell(exchange, authenticationSaslContinue(POSTGRESQL.serverFirst)));
}

Deno.test("SCRAM answers PostgreSQL as PostgreSQL has accepted it", async () => {
  const exchange = serverAuthentication({ credential: credential("ada", "pencil") });
  const initial = sent(await tell(exchange, authenticationSasl(["SCRAM-SHA-256"])));
  const { clientFirst, clientFinal, serverFinal } = POSTGRESQL;
  assert.deepEqual(
    initial,
    new Uint8Array(serialize.sendSASLInitialResponseMessage("SCRAM-SHA-256", clientFirst)),
  );
  const final = sent(
    await tell(exchange, authenticationSaslContinue(POSTGRESQL.serverFirst)),
  );
  assert.deepEqual(final, new Uint8Array(serialize.sendSCRAMClientFinalMessage(clientFinal)));
  assert.deepEqual(await tell(exchange, authenticationSaslFinal(serverFinal)), {
    kind: "wait",
  });
  assert.deepEqual(await tell(exchange, authenticationOk()), { kind: "ok" });
});

Deno.test("SCRAM is chosen among the server's mechanisms, or the login fails", async () => {
  const user = credential("ada", "secret");
  const exchange = serverAuthentication({ credential: user });
  const step = await tell(
    exchange,
    authenticationSasl(["X", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]),
  );
  assert.equal(step.kind, "send");
  for (const mechanisms of [[], ["SCRAM-SHA-256-PLUS"], ["scram-sha-256"]]) {
    const text =
      "server login failed: none of the server's SASL authentication mechanisms are supported";
    await failsWith(user, authenticationSasl(mechanisms), text);
  }
});

Deno.test("SCRAM refuses a signature that does not fit, or none", async () => {
  const wrong = `v=${"A".repeat(43)}=`;
  for (const data of [wrong, "e=other-error"]) {
    const exchange = serverAuthentication({ credential: credential("ada", "pencil") });
    await provenTo(exchange);
    const told = failure(await tell(exchange, authenticationSaslFinal(data)));
    assert.equal(told.message, BAD_SIGNATURE);
    assert.equal(told.sqlstate, "28000");
    assert.equal((await tell(exchange, authenticationOk())).kind, "failed");
  }
});

Deno.test("SCRAM refuses AuthenticationOk before the server's proof", async () => {
  const started = serverAuthentication({ credential: credential("ada", "pencil") });
  await tell(started, authenticationSasl(["SCRAM-SHA-256"]));
  assert.equal(failure(await tell(started, authenticationOk())).message, BAD_SIGNATURE);
  const proven = serverAuthentication({ credential: credential("ada", "pencil") });
  await provenTo(proven);
  assert.equal(failure(await tell(proven, authenticationOk())).message, BAD_SIGNATURE);
});

Deno.test("SCRAM needs a plain secret or keys that a client has shown", async () => {
  const secrets = [undefined, "", md5Secret("secret", "ada"), await scramVerifier("secret")];
  for (const user of [undefined, ...secrets.map((secret) => credential("ada", secret))]) {
    await failsWith(user, authenticationSasl(["SCRAM-SHA-256"]), WRONG_TYPE);
  }
});

Deno.test("SCRAM reuses the keys of a client's login without deriving any", async () => {
  const derivation = new CountingDerivation();
  const stored = await scramVerifier("secret");
  const user = credential("ada", stored);
  await login(
    { method: "scram-sha-256", credential: user },
    { credential: credential("ada", "secret") },
  );
  const { demanded, answered } = await login(
    { method: "scram-sha-256", credential: credential("ada", stored) },
    { credential: user, derivation },
  );
  assert.equal(demanded.kind, "accepted");
  assert.equal(answered.kind, "ok");
  assert.equal(derivation.count, 0);
});

Deno.test("SCRAM does not use a client's keys where salt or rounds differ", async () => {
  const user = credential("ada", await scramVerifier("secret"));
  await login(
    { method: "scram-sha-256", credential: user },
    { credential: credential("ada", "secret") },
  );
  for (const other of [{ salt: "AQID" }, { iterations: ROUNDS + 1 }]) {
    const stored = credential("ada", await scramVerifier("secret", other));
    const { answered } = await login(
      { method: "scram-sha-256", credential: stored },
      { credential: user },
    );
    const told = failure(answered);
    assert.equal(told.message, WRONG_TYPE);
    assert.match(told.reason, /not the one that is stored here/);
  }
});

Deno.test("SCRAM derives the keys of a plain secret once for many logins", async () => {
  const derivation = new CountingDerivation();
  const user = credential("ada", "pencil");
  for (let n = 0; n < 3; n++) {
    await provenTo(
      serverAuthentication({ credential: user, derivation, random: new CountingRandom(100) }),
    );
  }
  assert.equal(derivation.count, 1);
});

Deno.test("SCRAM does not derive as many rounds as a server may ask for", async () => {
  const derivation = new CountingDerivation();
  const exchange = serverAuthentication({ credential: credential("ada", "secret"), derivation });
  await tell(exchange, authenticationSasl(["SCRAM-SHA-256"]));
  const first = `r=ZGVmZ2hpamtsbW5vcHFyc3R1more,s=${SALT},i=10000001`;
  const told = failure(await tell(exchange, authenticationSaslContinue(first)));
  assert.equal(told.message, WRONG_TYPE);
  assert.match(told.reason, /10000001 rounds/);
  assert.equal(derivation.count, 0);
});

Deno.test("a method that is not known fails and is named in the log", async () => {
  const exchange = serverAuthentication({ credential: credential("ada", "secret") });
  const told = failure(await exchange.receive(Uint8Array.of(0, 0, 0, 7)));
  assert.equal(told.message, WRONG_TYPE);
  assert.equal(told.reason, `${WRONG_TYPE} (the server asks for authentication method 7)`);
});

Deno.test("a request out of turn fails", async () => {
  const user = credential("ada", "pencil");
  const cleartext = authenticationCleartextPassword();
  const sasl = authenticationSasl(["SCRAM-SHA-256"]);
  const next = authenticationSaslContinue(POSTGRESQL.serverFirst);
  const final = authenticationSaslFinal(POSTGRESQL.serverFinal);
  const sequences = [
    [cleartext, cleartext],
    [cleartext, authenticationMd5Password(MD5_SALT)],
    [cleartext, sasl],
    [sasl, sasl],
    [sasl, cleartext],
    [sasl, authenticationMd5Password(MD5_SALT)],
    [sasl, final],
    [sasl, next, next],
    [sasl, next, cleartext],
    [sasl, next, final, cleartext],
    [sasl, next, final, final],
    [next],
    [final],
    [authenticationOk(), authenticationOk()],
    [authenticationOk(), cleartext],
  ];
  for (const messages of sequences) {
    const exchange = serverAuthentication({ credential: user });
    for (const message of messages.slice(0, -1)) {
      assert.notEqual((await tell(exchange, message)).kind, "failed");
    }
    const told = failure(await tell(exchange, messages.at(-1)!));
    assert.match(told.message, /^server login failed: unexpected authentication request/);
    assert.equal(told.sqlstate, "08P01");
    assert.equal((await tell(exchange, authenticationOk())).kind, "failed");
  }
});

Deno.test("a malformed request fails, and is no exception", async () => {
  const exchange = serverAuthentication({ credential: credential("ada", "secret") });
  const told = failure(await exchange.receive(Uint8Array.of(0, 0)));
  assert.match(told.message, /^server login failed: failed to parse packet/);
  assert.equal(told.sqlstate, "08P01");
});

Deno.test("neither the error nor the reason holds the secret", async () => {
  for (const secret of ["topsecret\0", md5Secret("secret", "ada"), await scramVerifier("secret")]) {
    const exchange = serverAuthentication({ credential: credential("ada", secret) });
    const step = await tell(exchange, authenticationCleartextPassword());
    assert.ok(!Deno.inspect(step).includes(secret.slice(0, 9)));
    assert.equal(failure(step).message, WRONG_TYPE);
  }
});
