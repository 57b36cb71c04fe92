import assert from "node:assert/strict";
import { PoolRegistry } from "../../../src/pool/pool_registry.ts";

interface NamedPool {
  readonly database: string;
  readonly user: string;
}

function poolOf(database: string, user: string): NamedPool {
  return { database, user };
}

Deno.test("PoolRegistry.findOrMake() makes one pool for each database and user", () => {
  const registry = new PoolRegistry<NamedPool>();
  let madeCount = 0;
  const find = (database: string, user: string) =>
    registry.findOrMake(database, user, () => {
      madeCount += 1;
      return poolOf(database, user);
    });
  const first = find("a", "x");
  assert.equal(find("a", "x"), first);
  assert.notEqual(find("a", "y"), first);
  assert.notEqual(find("b", "x"), first);
  assert.equal(madeCount, 3);
  assert.equal([...registry.all()].length, 3);
});

Deno.test("PoolRegistry keeps names apart that look the same when joined", () => {
  const registry = new PoolRegistry<NamedPool>();
  const one = registry.findOrMake("a.b", "c", () => poolOf("a.b", "c"));
  const other = registry.findOrMake("a", "b.c", () => poolOf("a", "b.c"));
  assert.notEqual(one, other);
  assert.notEqual(
    registry.findOrMake("__proto__", "constructor", () => poolOf("__proto__", "constructor")),
    one,
  );
});

Deno.test("PoolRegistry.ofDatabase() lists the pools of one database", () => {
  const registry = new PoolRegistry<NamedPool>();
  const x = registry.findOrMake("a", "x", () => poolOf("a", "x"));
  const y = registry.findOrMake("a", "y", () => poolOf("a", "y"));
  registry.findOrMake("b", "x", () => poolOf("b", "x"));
  assert.deepEqual(registry.ofDatabase("a"), [x, y]);
  assert.deepEqual(registry.ofDatabase("c"), []);
});

Deno.test("PoolRegistry.remove() forgets a pool, and only that one", () => {
  const registry = new PoolRegistry<NamedPool>();
  const old = registry.findOrMake("a", "x", () => poolOf("a", "x"));
  registry.remove(old);
  assert.deepEqual([...registry.all()], []);
  const fresh = registry.findOrMake("a", "x", () => poolOf("a", "x"));
  assert.notEqual(fresh, old);
  registry.remove(old);
  assert.deepEqual([...registry.all()], [fresh], "the old pool's end does not take the new one");
});

Deno.test("PoolRegistry lists a private pool, and nobody finds it by its name", () => {
  const registry = new PoolRegistry<NamedPool>();
  const own = poolOf("a", "x");
  registry.addPrivate(own);
  const shared = registry.findOrMake("a", "x", () => poolOf("a", "x"));
  assert.notEqual(shared, own);
  assert.deepEqual(registry.ofDatabase("a"), [shared, own]);
  assert.deepEqual(registry.ofDatabase("b"), []);
  assert.deepEqual([...registry.all()], [shared, own]);
  registry.remove(own);
  assert.deepEqual([...registry.all()], [shared]);
});

Deno.test("PoolRegistry.has() knows the pool itself, not another of the same names", () => {
  const registry = new PoolRegistry<NamedPool>();
  const pool = registry.findOrMake("a", "x", () => poolOf("a", "x"));
  const own = poolOf("a", "x");
  registry.addPrivate(own);
  assert.deepEqual([registry.has(pool), registry.has(own)], [true, false]);
  registry.remove(pool);
  assert.equal(registry.has(pool), false);
});
