/**
 * Nothing tells a user who does not exist from one who typed a wrong password: the same messages, of
 * the same length, the same error and the same work. (Not the same time by the clock, which a test
 * cannot hold a machine to.)
 */

import assert from "node:assert/strict";
import type { ClientAuthenticationMethod } from "../../../src/auth/client_authentication.ts";
import type { UserCredential } from "../../../src/auth/credential.ts";
import { md5Secret } from "../../../src/auth/md5.ts";
import {
  CountingDerivation,
  credential,
  type Demand,
  login,
  scramVerifier,
} from "./auth_support.ts";

const VERIFIER = await scramVerifier("secret");

/** Who is refused: users without a password are those that have expired, too. */
const USERS: Readonly<Record<string, () => UserCredential | undefined>> = {
  "who does not exist": () => undefined,
  "without a password": () => credential("ada"),
  "with a plain secret": () => credential("ada", "secret"),
  "with an MD5 hash": () => credential("ada", md5Secret("secret", "ada")),
  "with a verifier": () => credential("ada", VERIFIER),
};

/** All that a client can see of a refusal, and what it costs. */
async function refusal(
  method: ClientAuthenticationMethod,
  user: UserCredential | undefined,
  options: Partial<Demand> = {},
) {
  const derivation = new CountingDerivation();
  const demand = { ...options, method, credential: user, derivation };
  const answerer = { credential: credential("ada", "wrong") };
  // Keys of a plain secret are derived once and kept: that one is said to differ.
  await login(demand, answerer);
  derivation.count = 0;
  const { demanded, messages } = await login(demand, answerer);
  assert.ok(demanded.kind === "rejected");
  const { detail, hint, message, sqlstate } = demanded.error;
  return {
    told: { detail, hint, message, sqlstate },
    messages: messages.map((each) => `${String.fromCharCode(each[0]!)}${each.length}`),
    derivations: derivation.count,
  };
}

for (
  const [method, names] of [
    ["plain", Object.keys(USERS)],
    ["md5", [
      "who does not exist",
      "without a password",
      "with a plain secret",
      "with an MD5 hash",
    ]],
    ["scram-sha-256", Object.keys(USERS)],
  ] as const
) {
  Deno.test(`by ${method} every user is refused alike`, async () => {
    const expected = await refusal(method, USERS["who does not exist"]!());
    assert.equal(expected.derivations, method === "plain" ? 1 : 0);
    for (const name of names) {
      assert.deepEqual(await refusal(method, USERS[name]!()), expected, name);
    }
  });
}

Deno.test("by md5 who does not exist is refused as those with verifiers, where all have them", async () => {
  const expected = await refusal("md5", USERS["with a verifier"]!(), {
    looks: { verifierShare: 1 },
  });
  for (const name of ["who does not exist", "without a password"]) {
    const found = await refusal("md5", USERS[name]!(), { looks: { verifierShare: 1 } });
    assert.deepEqual(found, expected, name);
  }
});

Deno.test("by md5 as many who do not exist are asked for SCRAM as others, each always alike", async () => {
  let scramCount = 0;
  for (let i = 0; i < 400; i++) {
    const options = { userName: `user${i}`, looks: { verifierShare: 0.25 } };
    const { messages } = await refusal("md5", undefined, options);
    assert.deepEqual((await refusal("md5", undefined, options)).messages, messages);
    if (messages.length > 2) scramCount += 1;
  }
  assert.ok(scramCount > 60 && scramCount < 140, `${scramCount} of 400`);
});

Deno.test("by md5 it is the stored secret that decides, whatever others have", async () => {
  const md5 = await refusal("md5", USERS["with an MD5 hash"]!(), { looks: { verifierShare: 1 } });
  assert.equal(md5.messages.length, 2);
  const scram = await refusal("md5", USERS["with a verifier"]!(), { looks: { verifierShare: 0 } });
  assert.ok(scram.messages.length > 2);
});
