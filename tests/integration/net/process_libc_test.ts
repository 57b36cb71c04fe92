import assert from "node:assert/strict";
import { openGlibc } from "../../../src/net/native/libc.ts";
import { ProcessLibc } from "../../../src/net/native/process_libc.ts";

const MB = 1 << 20;

/** Small enough not to be given back one by one, as large pieces of memory are. */
const PIECE_BYTES = 1_000;

Deno.test("trimMemory() gives back what was freed and is kept", () => {
  using libc = ProcessLibc.open();
  const library = openGlibc({
    memset: { parameters: ["pointer", "i32", "usize"], result: "pointer" },
    malloc: { parameters: ["usize"], result: "pointer" },
    free: { parameters: ["pointer"], result: "void" },
  }, "this test");
  const { free, malloc, memset } = library.symbols;
  const pieces = Array.from({ length: 60_000 }, () => {
    return memset(malloc(BigInt(PIECE_BYTES)), 1, BigInt(PIECE_BYTES));
  });
  // While the last one is there, the end of the heap cannot move down.
  const last = pieces.pop()!;
  for (const piece of pieces) free(piece);
  const before = Deno.memoryUsage().rss;
  libc.trimMemory();
  const after = Deno.memoryUsage().rss;
  free(last);
  library.close();
  assert.ok(before - after > 20 * MB, `${before} → ${after}`);
});
