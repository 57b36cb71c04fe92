import assert from "node:assert/strict";
import { BufferPool, BufferShelf } from "../../../../src/net/native/buffer_pool.ts";

/** As much of one size is kept, at most. */
const MAX_SPARE_BYTES = 1_048_576;

/** How many of the buffers that are given back come out again. */
function keptOf(shelf: BufferShelf, given: number): number {
  const buffers = Array.from({ length: given }, () => shelf.take());
  for (const buffer of buffers) shelf.give(buffer);
  const known = new Set(buffers);
  const taken = Array.from({ length: given + 1 }, () => shelf.take());
  return taken.filter((buffer) => known.has(buffer)).length;
}

Deno.test("BufferShelf.take() gives buffers of the shelf's size", () => {
  assert.equal(new BufferShelf(4_096).take().length, 4_096);
  assert.equal(new BufferShelf(1).take().length, 1);
});

Deno.test("BufferShelf.take() gives each buffer to one holder at a time", () => {
  const shelf = new BufferShelf(16);
  const [a, b] = [shelf.take(), shelf.take()];
  assert.notEqual(a.buffer, b.buffer);
  shelf.give(a);
  assert.equal(shelf.take(), a);
  assert.notEqual(shelf.take(), a);
});

Deno.test("BufferShelf.take() gives the buffer that was given back last", () => {
  const shelf = new BufferShelf(16);
  const [a, b] = [shelf.take(), shelf.take()];
  shelf.give(a);
  shelf.give(b);
  assert.deepEqual([shelf.take() === b, shelf.take() === a], [true, true]);
});

Deno.test("BufferShelf.give() keeps a megabyte of spare buffers, and lets go of the rest", () => {
  assert.equal(keptOf(new BufferShelf(65_536), 20), MAX_SPARE_BYTES / 65_536);
  assert.equal(keptOf(new BufferShelf(4_096), 300), MAX_SPARE_BYTES / 4_096);
  assert.equal(keptOf(new BufferShelf(4_096), 3), 3);
  // One is kept however big it is, or each read of a busy connection would make one.
  assert.equal(keptOf(new BufferShelf(MAX_SPARE_BYTES * 2), 3), 1);
});

Deno.test("BufferPool.shelf() has one shelf for each size", () => {
  const pool = new BufferPool();
  assert.equal(pool.shelf(4_096), pool.shelf(4_096));
  assert.notEqual(pool.shelf(4_096), pool.shelf(8_192));
  assert.equal(pool.shelf(8_192).byteCount, 8_192);
  assert.notEqual(pool.shelf(4_096), new BufferPool().shelf(4_096));
});
