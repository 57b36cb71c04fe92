/** Names of files. */

import assert from "node:assert/strict";
import { resolvePath } from "../../../src/config/config_io.ts";

Deno.test("resolvePath() is relative to the file, and gives one file one name", () => {
  assert.equal(resolvePath("config.toml", "a.toml"), "a.toml");
  assert.equal(resolvePath("etc/config.toml", "a.toml"), "etc/a.toml");
  assert.equal(resolvePath("/etc/config.toml", "./x/../a.toml"), "/etc/a.toml");
  assert.equal(resolvePath("etc/config.toml", "/run//a"), "/run/a");
  assert.equal(resolvePath("config.toml", "../../a"), "../../a");
  assert.equal(resolvePath("/config.toml", "../a"), "/a");
});
