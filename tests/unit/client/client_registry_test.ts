import assert from "node:assert/strict";
import { ClientRegistry } from "../../../src/client/client_registry.ts";
import type { ClientSession } from "../../../src/client/client_session.ts";

function client(cancelKey?: Uint8Array): ClientSession {
  return { cancelKey } as unknown as ClientSession;
}

const KEY = new Uint8Array([1, 0, 0, 4, 5, 6, 7, 8 | 3]);

Deno.test("ClientRegistry.nextId() never gives a number twice", () => {
  const registry = new ClientRegistry();
  assert.deepEqual([registry.nextId(), registry.nextId(), registry.nextId()], [1, 2, 3]);
});

Deno.test("ClientRegistry lists clients oldest first, and counts them", () => {
  const registry = new ClientRegistry();
  const [a, b] = [client(), client()];
  registry.add(a);
  registry.add(b);
  assert.deepEqual([...registry.all()], [a, b]);
  registry.remove(a);
  assert.deepEqual([...registry.all()], [b]);
});

Deno.test("ClientRegistry.admittedCount leaves out who is not in yet and who is on the way out", () => {
  const registry = new ClientRegistry();
  const [a, b, c] = [client(), client(), client()];
  for (const each of [a, b, c]) registry.add(each);
  assert.equal(registry.admittedCount, 0);
  registry.admit(a);
  registry.admit(b);
  assert.equal(registry.admittedCount, 2);
  registry.dismiss(a);
  registry.dismiss(c);
  assert.equal(registry.admittedCount, 1);
  registry.remove(b);
  assert.equal(registry.admittedCount, 0);
});

Deno.test("ClientRegistry.areAllIdle is so when there are as many idle clients as clients", () => {
  const registry = new ClientRegistry();
  assert.equal(registry.areAllIdle, true);
  registry.add(client());
  assert.equal(registry.areAllIdle, false);
  registry.noteIdle(1);
  assert.equal(registry.areAllIdle, true);
  registry.noteIdle(-1);
  assert.equal(registry.areAllIdle, false);
});

Deno.test("ClientRegistry.changeCount is another after anybody came, or asked or was answered", () => {
  const registry = new ClientRegistry();
  const counts = [registry.changeCount];
  registry.nextId();
  counts.push(registry.changeCount);
  registry.noteIdle(1);
  counts.push(registry.changeCount);
  registry.noteIdle(-1);
  counts.push(registry.changeCount);
  assert.equal(new Set(counts).size, counts.length);
});

Deno.test("ClientRegistry finds a client by its key, however often that was forwarded", () => {
  const registry = new ClientRegistry();
  const a = client(KEY);
  registry.add(a);
  registry.addCancelKey(KEY, a);
  assert.equal(registry.findByCancelKey(KEY), a);
  const forwarded = Uint8Array.from(KEY);
  forwarded[7]! &= ~3;
  assert.equal(registry.findByCancelKey(forwarded), a);
  const other = Uint8Array.from(KEY);
  other[4]! ^= 1;
  assert.equal(registry.findByCancelKey(other), undefined);
});

Deno.test("ClientRegistry tells clients apart whose keys begin alike, whatever their length", () => {
  const registry = new ClientRegistry();
  const long = new Uint8Array(32).fill(9);
  long.set(KEY);
  const lastByte = Uint8Array.from(long);
  lastByte[31]! ^= 1;
  const keys = [KEY, long, lastByte];
  const clients = keys.map((key) => {
    const each = client();
    registry.add(each);
    registry.addCancelKey(key, each);
    return each;
  });
  const found = () => keys.map((key) => registry.findByCancelKey(key));
  assert.deepEqual(found(), clients);
  for (const length of [0, 4, 7, 9, 31, 33, 260]) {
    const other = new Uint8Array(length);
    other.set(long.subarray(0, length));
    assert.equal(registry.findByCancelKey(other), undefined, `${length} bytes`);
  }
  registry.remove(clients[1]!);
  assert.deepEqual(found(), [clients[0], undefined, clients[2]]);
  registry.remove(clients[0]!);
  registry.remove(clients[2]!);
  assert.deepEqual(found(), [undefined, undefined, undefined]);
});

Deno.test("ClientRegistry forgets a client's key with the client", () => {
  const registry = new ClientRegistry();
  const a = client(KEY);
  registry.add(a);
  registry.addCancelKey(KEY, a);
  registry.remove(a);
  assert.equal(registry.findByCancelKey(KEY), undefined);
});

Deno.test("ClientRegistry.remove() asserts that the client was there", () => {
  assert.throws(() => new ClientRegistry().remove(client()), /once/);
});
