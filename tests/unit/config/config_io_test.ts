/** Names of files. */

import assert from "node:assert/strict";
import { errorText, resolvePath } from "../../../src/config/config_io.ts";

Deno.test("resolvePath() is relative to the file, and gives one file one name", () => {
  assert.equal(resolvePath("config.toml", "a.toml"), "a.toml");
  assert.equal(resolvePath("etc/config.toml", "a.toml"), "etc/a.toml");
  assert.equal(resolvePath("/etc/config.toml", "./x/../a.toml"), "/etc/a.toml");
  assert.equal(resolvePath("etc/config.toml", "/run//a"), "/run/a");
  assert.equal(resolvePath("config.toml", "../../a"), "../../a");
  assert.equal(resolvePath("/config.toml", "../a"), "/a");
});

Deno.test("errorText() gives words for whatever was thrown", () => {
  assert.equal(errorText(new Error("no")), "no");
  assert.equal(errorText("no"), "no");
});
