/**
 * Any bytes at any step of a login give a step or a typed error, and nobody gets in by them; a
 * login of which one byte was changed on the way never succeeds on both sides.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import type { AuthStep } from "../../src/auth/client_authentication.ts";
import type { ServerAuthStep } from "../../src/auth/server_authentication.ts";
import type { UserCredential } from "../../src/auth/credential.ts";
import { md5Secret } from "../../src/auth/md5.ts";
import { tlsServerEndPoint } from "../../src/auth/channel_binding.ts";
import { CertificateError } from "../../src/auth/der_reader.ts";
import { parseUserList } from "../../src/auth/user_list.ts";
import { PgError } from "../../src/wire/pg_error.ts";
import {
  bodyOf,
  clientAuthentication,
  credential,
  type Demand,
  login,
  scramVerifier,
  serverAuthentication,
  type Wire,
} from "../unit/auth/auth_support.ts";
import { ECDSA_SHA384, ED25519, PSS_SHA512, RSA_SHA1 } from "../unit/auth/certificates.ts";

const PASSWORD = "pässwörd";
const VERIFIER = await scramVerifier(PASSWORD);

const END_POINT = ECDSA_SHA384.endPoint;

/** Every way a login can go that ends well. */
const GOOD_DEMANDS: readonly (() => Demand)[] = [
  ...[PASSWORD, md5Secret(PASSWORD, "ada"), VERIFIER].flatMap((secret) => [
    () => ({ method: "plain" as const, credential: credential("ada", secret) }),
    () => ({ method: "md5" as const, credential: credential("ada", secret) }),
  ]),
  ...[PASSWORD, VERIFIER].map((secret) => () => ({
    method: "scram-sha-256" as const,
    credential: credential("ada", secret),
  })),
  () => ({
    method: "scram-sha-256",
    credential: credential("ada", VERIFIER),
    endPoint: END_POINT,
  }),
];

/** One that can answer all of these, and binds to what the last one offers. */
const answerer = () => ({
  credential: credential("ada", PASSWORD),
  tls: { endPoint: END_POINT },
});

/** The same, and users who can never get in. */
const ALL_DEMANDS: readonly (() => Demand)[] = [
  ...GOOD_DEMANDS,
  ...(["plain", "md5", "scram-sha-256"] as const).flatMap((method) => [
    () => ({ method, credential: undefined }),
    () => ({ method, credential: credential("ada") }),
  ]),
  () => ({ method: "scram-sha-256", credential: undefined, endPoint: END_POINT }),
];

const SERVER_CREDENTIALS: readonly (() => UserCredential | undefined)[] = [
  () => undefined,
  () => credential("ada", PASSWORD),
  () => credential("ada", md5Secret(PASSWORD, "ada")),
  () => credential("ada", VERIFIER),
];

/** Bytes at random, and bytes that look like what is expected. */
const anyBody = fc.oneof(
  fc.uint8Array({ maxLength: 80 }),
  fc.tuple(
    fc.constantFrom(
      "SCRAM-SHA-256\0",
      "SCRAM-SHA-256\0\0\0\0\x0bn,,n=,r=abcd",
      "n,,n=,r=",
      "c=biws,r=",
      "SCRAM-SHA-256-PLUS\0\0\0\0\x1fp=tls-server-end-point,,n=,r=abcd",
      "p=tls-server-end-point,,n=,r=",
      "y,,n=,r=",
    ),
    fc.string({ maxLength: 60 }),
    fc.constantFrom("", "\0", `,p=${"A".repeat(43)}=`, ",s=AQID,i=1", ",m=x"),
  ).map((parts) => new TextEncoder().encode(parts.join(""))),
);

/** The body of an 'R' message: some code, then bytes. */
const anyRequest = fc.oneof(
  anyBody,
  fc.tuple(fc.constantFrom(0, 3, 5, 7, 10, 11, 12), anyBody).map(([code, rest]) =>
    Uint8Array.of(0, 0, 0, code, ...rest)
  ),
);

function checkTyped(step: AuthStep | ServerAuthStep): void {
  if (step.kind !== "rejected" && step.kind !== "failed") return;
  assert.ok(step.error instanceof PgError);
  assert.equal(step.error.severity, "FATAL");
  assert.match(step.error.sqlstate, /^(28P01|28000|08P01)$/);
  assert.ok(!`${step.error.detail}${step.reason}`.includes(PASSWORD));
}

Deno.test("any bytes from a client, after any part of a good login, let nobody in", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...ALL_DEMANDS),
      fc.nat(1),
      fc.array(anyBody, { minLength: 1, maxLength: 3 }),
      async (demand, goodCount, bodies) => {
        const exchange = clientAuthentication(demand());
        const answering = serverAuthentication(answerer());
        let step = exchange.start();
        for (let n = 0; n < goodCount && step.kind === "challenge"; n++) {
          const answer = await answering.receive(bodyOf(step.message));
          if (answer.kind !== "send" || answer.message[5] !== "S".charCodeAt(0)) break;
          step = await exchange.receive(bodyOf(answer.message));
        }
        for (const body of bodies) {
          step = await exchange.receive(body);
          checkTyped(step);
          assert.notEqual(step.kind, "accepted");
        }
      },
    ),
    { numRuns: 600 },
  );
});

Deno.test("any bytes from a server give typed steps, and never a login it has not proven", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...SERVER_CREDENTIALS),
      fc.constantFrom("disable" as const, "prefer" as const, "require" as const),
      fc.constantFrom(undefined, { endPoint: END_POINT }, { endPoint: undefined }),
      fc.boolean(),
      fc.array(anyRequest, { minLength: 1, maxLength: 4 }),
      async (user, channelBinding, tls, beginsSasl, bodies) => {
        const exchange = serverAuthentication({ credential: user(), channelBinding, tls });
        const mechanisms = "SCRAM-SHA-256\0SCRAM-SHA-256-PLUS\0\0";
        const sasl = new TextEncoder().encode(`\0\0\0\x0a${mechanisms}`);
        let hasBegun = false;
        if (beginsSasl) hasBegun = (await exchange.receive(sasl)).kind === "send";
        for (const body of bodies) {
          const step = await exchange.receive(body);
          checkTyped(step);
          if (hasBegun || channelBinding === "require") assert.notEqual(step.kind, "ok");
          // Where a bound login is required, nothing is sent but the beginning of one.
          if (channelBinding === "require" && step.kind === "send") {
            assert.match(new TextDecoder().decode(step.message), /SCRAM-SHA-256-PLUS|c=cD10bHM/);
          }
        }
      },
    ),
    { numRuns: 600 },
  );
});

type Change = (body: Uint8Array) => Uint8Array;

/** One byte changed, taken away or put in, or the end cut off. */
const anyChange: fc.Arbitrary<Change> = fc.tuple(
  fc.constantFrom("replace", "remove", "insert", "cut"),
  fc.nat(),
  fc.integer({ min: 1, max: 255 }),
).map(([kind, where, byte]) => (body) => {
  const at = body.length === 0 ? 0 : where % body.length;
  const [before, after] = [body.subarray(0, at), body.subarray(at + 1)];
  switch (kind) {
    case "replace":
      return Uint8Array.of(...before, (body[at] ?? 0) ^ byte, ...after);
    case "remove":
      return Uint8Array.of(...before, ...after);
    case "insert":
      return Uint8Array.of(...before, byte, ...body.subarray(at));
    default:
      return before;
  }
});

Deno.test("a good login of which nothing is changed succeeds on both sides", async () => {
  for (const demand of GOOD_DEMANDS) {
    const outcome = await login(demand(), answerer());
    assert.equal(outcome.demanded.kind, "accepted");
    assert.equal(outcome.answered.kind, "ok");
  }
});

Deno.test("a login of which one message is changed on the way never succeeds", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...GOOD_DEMANDS),
      fc.nat(4),
      anyChange,
      async (demand, changedAt, change) => {
        let wasChanged = false;
        const wire: Wire = (body, at) => {
          if (at !== changedAt) return body;
          wasChanged = true;
          return change(body);
        };
        const { demanded, answered, messages } = await login(demand(), answerer(), wire);
        checkTyped(demanded);
        checkTyped(answered);
        if (!wasChanged) return;
        // Message 4 and later are ours to the client, sent when it was let in.
        if (changedAt < 4 && changedAt % 2 === 1) assert.notEqual(demanded.kind, "accepted");
        if (demanded.kind !== "accepted" || answered.kind !== "ok") return;
        // What is offered beside the strongest is not signed, and does not matter.
        assert.equal(changedAt, 0);
        assert.match(new TextDecoder().decode(messages[1]), /SCRAM-SHA-256-PLUS\0/);
      },
    ),
    { numRuns: 1500 },
  );
});

Deno.test("tlsServerEndPoint() answers any bytes by a hash, by nothing, or by a CertificateError", () => {
  const certificates = [ECDSA_SHA384, ED25519, PSS_SHA512, RSA_SHA1].map(({ der }) => der);
  const changed = fc.tuple(fc.constantFrom(...certificates), fc.array(anyChange, { maxLength: 3 }))
    .map(([certificate, changes]) =>
      changes.reduce<Uint8Array>((bytes, change) => change(bytes), certificate)
    );
  const der = fc.array(fc.constantFrom(0x30, 0x06, 0xa0, 0x03, 0x81, 0x84, 0x7f, 0xff, 0, 2, 4));
  const anyBytes = fc.oneof(changed, fc.uint8Array(), der.map((bytes) => Uint8Array.from(bytes)));
  fc.assert(
    fc.property(anyBytes, (bytes) => {
      try {
        const endPoint = tlsServerEndPoint(bytes);
        assert.ok(endPoint === undefined || endPoint.length >= 28);
      } catch (error) {
        assert.ok(error instanceof CertificateError);
      }
    }),
    { numRuns: 3000 },
  );
});

Deno.test("parseUserList() reads back any names and secrets that were quoted", () => {
  const text = fc.string({ unit: "grapheme", maxLength: 20 }).filter((t) => !/[\r\n\0]/.test(t));
  fc.assert(
    fc.property(fc.array(fc.tuple(text.filter((name) => name !== ""), text)), (pairs) => {
      const quote = (value: string) => `"${value.replaceAll('"', '""')}"`;
      const file = pairs.map(([name, secret]) => `${quote(name)} ${quote(secret)}`).join("\n");
      const { users, problems } = parseUserList(file);
      assert.deepEqual(problems, []);
      const expected = new Map(pairs);
      assert.deepEqual(new Map([...users].map(([name, s]) => [name, s.reveal()])), expected);
    }),
  );
});

Deno.test("parseUserList() answers any text, naming only lines that exist", () => {
  const pieces = fc.constantFrom('"', '""', " ", "\n", "\r\n", ";", "#", "a", "\0", "md5");
  fc.assert(fc.property(fc.array(pieces, { maxLength: 30 }), (parts) => {
    const text = parts.join("");
    const { problems } = parseUserList(text);
    const lineCount = text.split("\n").length;
    for (const { line } of problems) assert.ok(line >= 1 && line <= lineCount);
  }));
});
