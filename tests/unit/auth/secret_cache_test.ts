import assert from "node:assert/strict";
import { SecretCache } from "../../../src/auth/secret_cache.ts";
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
