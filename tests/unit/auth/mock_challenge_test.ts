import assert from "node:assert/strict";
import {
  LooksTally,
  MOCK_SECRET_BYTES,
  mockChallenge,
  mockSalt,
  mockSecretOf,
  plainShape,
  type UserLooks,
  type VerifierShape,
} from "../../../src/auth/mock_challenge.ts";
import type { UserCredential } from "../../../src/auth/credential.ts";
import { md5Secret } from "../../../src/auth/md5.ts";
import { credential, scramVerifier } from "./auth_support.ts";

const SECRET = new Uint8Array(MOCK_SECRET_BYTES).fill(7);
const NAMES = Array.from({ length: 400 }, (_, n) => `user${n}`);

function ask(userName: string, shapes: readonly VerifierShape[], secret = SECRET) {
  return mockChallenge(userName, { secret, shapes, scramIterations: 4096 });
}

function looksOf(users: readonly UserCredential[], scramIterations: number): UserLooks {
  const tally = new LooksTally();
  for (const user of users) tally.add(user);
  return tally.looks(scramIterations);
}

Deno.test("mockChallenge() asks the same of a name each time, and something else of another", () => {
  assert.deepEqual(ask("ada", []), ask("ada", []));
  assert.notEqual(ask("ada", []).salt, ask("bob", []).salt);
  assert.notEqual(ask("ada", []).salt, ask("ada", [], SECRET.map((byte) => byte + 1)).salt);
});

Deno.test("mockChallenge() asks as of a plain secret where no shape is known", () => {
  const { iterations, salt } = ask("ada", []);
  assert.equal(iterations, 4096);
  assert.equal(salt, mockSalt("ada", { secret: SECRET }));
  assert.equal(atob(salt).length, 16);
});

Deno.test("mockChallenge() takes the one shape of all known users", () => {
  for (const saltBytes of [1, 8, 16, 32, 33, 100]) {
    const { iterations, salt } = ask("ada", [{ iterations: 10_000, saltBytes }]);
    assert.equal(iterations, 10_000);
    assert.equal(atob(salt).length, saltBytes);
  }
  const long = atob(ask("ada", [{ iterations: 1, saltBytes: 64 }]).salt);
  assert.notEqual(long.slice(0, 32), long.slice(32));
});

Deno.test("mockChallenge() spreads the names over the shapes, and moves few when there is one more", () => {
  const two = [plainShape(4096), plainShape(10_000)];
  const three = [...two, plainShape(600_000)];
  const before = NAMES.map((name) => ask(name, two));
  const share = before.filter(({ iterations }) => iterations === 4096).length;
  assert.ok(share > 120 && share < 280, `${share} of 400`);
  const after = NAMES.map((name) => ask(name, three));
  for (const [n, challenge] of after.entries()) {
    if (challenge.iterations !== 600_000) assert.deepEqual(challenge, before[n]);
  }
  assert.deepEqual(NAMES.map((name) => ask(name, [...three].reverse())), after);
});

Deno.test("LooksTally gives each shape once, those of plain secrets too, and no more than eight", async () => {
  const users = [
    credential("a", "plain"),
    credential("b", "another"),
    credential("c", await scramVerifier("x", { iterations: 7, salt: "AQID" })),
    credential("d", await scramVerifier("y", { iterations: 7, salt: "BAUG" })),
    credential("e", md5Secret("x", "e")),
    credential("f"),
  ];
  const shapes = [{ iterations: 4096, saltBytes: 16 }, { iterations: 7, saltBytes: 3 }];
  assert.deepEqual(looksOf(users, 4096), {
    verifierShare: 2 / 5,
    shapes,
    verifierShapes: shapes.slice(1),
  });
  assert.deepEqual(looksOf(users.slice(4), 4096), {
    verifierShare: 0,
    shapes: [],
    verifierShapes: [],
  });
  assert.deepEqual(looksOf([], 4096), { verifierShare: 1, shapes: [], verifierShapes: [] });
  const many = await Promise.all(
    Array.from({ length: 9 }, (_, n) => scramVerifier("x", { iterations: n + 1 })),
  );
  assert.equal(looksOf(many.map((text) => credential("u", text)), 1).shapes.length, 8);
});

Deno.test("mockSecretOf() is the same for a host, and does not show what it was made of", () => {
  const id = "0123456789abcdef0123456789abcdef";
  assert.deepEqual(mockSecretOf(id), mockSecretOf(id));
  assert.equal(mockSecretOf(id).length, MOCK_SECRET_BYTES);
  assert.notDeepEqual(mockSecretOf(id), mockSecretOf(id.replace("0", "1")));
});
