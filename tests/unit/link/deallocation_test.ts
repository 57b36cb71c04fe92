/** Which SQL takes prepared statements away. */

import assert from "node:assert/strict";
import { deallocated, mayDeallocate } from "../../../src/link/deallocation.ts";
import { textOf, utf8 } from "../../support/messages.ts";

function read(sql: string): string | undefined {
  const bytes = utf8(sql);
  const what = deallocated(bytes, 0, bytes.length);
  if (what === undefined || typeof what === "string") return what?.toUpperCase();
  return textOf(what);
}

for (
  const [sql, expected] of [
    ["deallocate s", "s"],
    ["DEALLOCATE PREPARE MixedCase ;", "mixedcase"],
    ['\n\tdeallocate"Mixed ""Case"""', 'Mixed "Case"'],
    ["deallocate all", "ALL"],
    ["DISCARD\nALL;", "ALL"],
    ["deallocate prepare all", "ALL"],
    ['deallocate "all"', "all"],
    ["deallocate s; select 1", undefined],
    ["deallocate s t", undefined],
    ["deallocate 'all'", undefined],
    ["deallocateall", undefined],
    ["discard plans", undefined],
    ["discard", undefined],
    ["select 1", undefined],
  ] as const
) {
  Deno.test(`${JSON.stringify(sql)} takes away ${expected ?? "nothing that is known"}`, () => {
    assert.equal(read(sql), expected);
  });
}

Deno.test("only what begins as DEALLOCATE and DISCARD do is looked at any closer", () => {
  const isLookedAt = (sql: string) => mayDeallocate(utf8(sql), 0, utf8(sql).length);
  for (const sql of ["deallocate", " \n DisCard all", "DEAL"]) assert.ok(isLookedAt(sql), sql);
  for (const sql of ["", "d", "de", "delete from t", "declare c", "do $$$$", "select 'dea'"]) {
    assert.ok(!isLookedAt(sql), sql);
  }
});
