/** The nearest name. */

import assert from "node:assert/strict";
import { editDistance, nearest, suggestion } from "../../../src/config/suggest.ts";

Deno.test("editDistance() counts insertions, deletions, replacements and swaps", () => {
  assert.equal(editDistance("port", "port"), 0);
  assert.equal(editDistance("port", "ports"), 1);
  assert.equal(editDistance("port", "por"), 1);
  assert.equal(editDistance("port", "pert"), 1);
  assert.equal(editDistance("port", "prot"), 1);
  assert.equal(editDistance("", "abc"), 3);
  assert.equal(editDistance("abcdef", "badcfe"), 3);
});

Deno.test("nearest() finds the name that was meant, or none", () => {
  const known = ["listen_port", "listen_addr", "pool_mode", "user"];
  assert.equal(nearest("listen_prot", known), "listen_port");
  assert.equal(nearest("listen-port", known), "listen_port");
  assert.equal(nearest("Listen_Port", known), "listen_port");
  assert.equal(nearest("poolmode", known), "pool_mode");
  assert.equal(nearest("completely_other", known), undefined);
  assert.equal(nearest("x", known), undefined);
});

Deno.test("suggestion() is empty when nothing is near", () => {
  assert.equal(suggestion("usr", ["user"]), ': did you mean "user"?');
  assert.equal(suggestion("zzz", ["user"]), "");
});
