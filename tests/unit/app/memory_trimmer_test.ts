import assert from "node:assert/strict";
import { MemoryTrimmer } from "../../../src/app/memory_trimmer.ts";

const MB = 1 << 20;

/** A process of which `held` bytes are given back by a trim. */
function world() {
  const memory = { live: 40 * MB, held: 0, trims: 0 };
  const trimmer = new MemoryTrimmer({
    residentBytes: () => memory.live + memory.held,
    trim() {
      memory.held = 0;
      memory.trims += 1;
    },
  });
  return { memory, trimmer };
}

Deno.test("MemoryTrimmer trims what has grown by a megabyte, and not what has not", () => {
  const { memory, trimmer } = world();
  trimmer.run();
  memory.held = MB - 1;
  trimmer.run();
  assert.equal(memory.trims, 0);
  memory.held = MB;
  trimmer.run();
  assert.deepEqual([memory.trims, memory.held], [1, 0]);
});

Deno.test("MemoryTrimmer does not go on trimming what is in use", () => {
  const { memory, trimmer } = world();
  memory.live += 10 * MB;
  trimmer.run();
  trimmer.run();
  assert.equal(memory.trims, 1);
});

Deno.test("MemoryTrimmer counts growth from the least that there was", () => {
  const { memory, trimmer } = world();
  memory.live -= 5 * MB;
  trimmer.run();
  memory.held = 2 * MB;
  trimmer.run();
  assert.equal(memory.trims, 1);
});
