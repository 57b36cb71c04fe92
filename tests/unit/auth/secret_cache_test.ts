import assert from "node:assert/strict";
import { SecretCache } from "../../../src/auth/secret_cache.ts";
import { scramVerifier } from "./auth_support.ts";
import { Secret } from "../../../src/base/secret.ts";

const TTL = { nowMs: 1_000, ttlMs: 10_000 };

function found(secret: string | undefined, userName = "ada") {
  return { userName, secret: secret === undefined ? undefined : new Secret(secret) };
}

Deno.test("SecretCache gives what was found until its time is over, and nothing with a time of 0", () => {
  const cache = new SecretCache();
  const credential = cache.put("ada", found("x"), 1_000);
  assert.equal(cache.get("ada", { nowMs: 10_999, ttlMs: 10_000 }), credential);
  assert.equal(cache.get("ada", { nowMs: 11_000, ttlMs: 10_000 }), undefined);
  assert.equal(cache.get("ada", { nowMs: 1_000, ttlMs: 0 }), undefined);
  assert.equal(cache.get("bob", TTL), undefined);
});

Deno.test("SecretCache keeps a credential as long as its secret is the same, with what was learned", () => {
  const cache = new SecretCache();
  const first = cache.put("ada", found("x"), 0);
  assert.equal(cache.put("ada", found("x"), 50_000), first);
  assert.equal(cache.get("ada", { nowMs: 55_000, ttlMs: 10_000 }), first);
  const second = cache.put("ada", found("y"), 60_000);
  assert.notEqual(second, first);
  assert.equal(second.plainPassword, "y");
});

Deno.test("SecretCache tells how those look who were found, each secret once, until it is cleared", async () => {
  const cache = new SecretCache(1);
  const unknown = { verifierShare: 1, shapes: [], verifierShapes: [] };
  assert.deepEqual(cache.looks(4096), unknown);
  for (const nowMs of [0, 1, 2]) cache.put("ada", found("x"), nowMs);
  cache.put("bob", found(undefined, "bob"), 3);
  const verifier = await scramVerifier("x", { iterations: 7, salt: "AQID" });
  cache.put("eve", found(verifier, "eve"), 4);
  const shapes = [{ iterations: 4096, saltBytes: 16 }, { iterations: 7, saltBytes: 3 }];
  assert.deepEqual(cache.looks(4096), {
    verifierShare: 1 / 2,
    shapes,
    verifierShapes: shapes.slice(1),
  });
  cache.clear();
  assert.deepEqual(cache.looks(4096), unknown);
});

Deno.test("SecretCache gives nothing that was expired, cleared or forgotten", () => {
  const cache = new SecretCache();
  cache.expire(cache.put("ada", found("x"), 1_000));
  assert.equal(cache.get("ada", TTL), undefined);
  cache.put("bob", found("x", "bob"), 1_000);
  cache.forget("bob");
  assert.equal(cache.get("bob", TTL), undefined);
  cache.put("eve", found("x", "eve"), 1_000);
  cache.clear();
  assert.equal(cache.get("eve", TTL), undefined);
  assert.equal(cache.size, 0);
});

Deno.test("SecretCache finds an expired user again once it was looked up anew", () => {
  const cache = new SecretCache();
  const credential = cache.put("ada", found("x"), 1_000);
  cache.expire(credential);
  cache.put("ada", found("x"), 1_000);
  assert.equal(cache.get("ada", TTL), credential);
});

Deno.test("SecretCache is bounded and forgets the user not asked for longest", () => {
  const cache = new SecretCache(2);
  cache.put("ada", found("x"), 1_000);
  cache.put("bob", found("x", "bob"), 1_000);
  cache.get("ada", TTL);
  cache.put("eve", found("x", "eve"), 1_000);
  assert.equal(cache.size, 2);
  assert.equal(cache.get("bob", TTL), undefined);
  assert.notEqual(cache.get("ada", TTL), undefined);
});

Deno.test("SecretCache does not keep secrets longer than any that PostgreSQL makes", () => {
  const cache = new SecretCache();
  assert.equal(cache.put("ada", found("x".repeat(1_025)), 1_000).kind, "plain");
  assert.equal(cache.size, 0);
});

Deno.test("SecretCache keeps users without a secret, whom nothing matches", () => {
  const cache = new SecretCache();
  assert.equal(cache.put("ada", found(undefined), 1_000).kind, "none");
  assert.equal(cache.get("ada", TTL)?.kind, "none");
});
