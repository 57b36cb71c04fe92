/** The files generated from the table of settings. */

import assert from "node:assert/strict";
import { generatedFiles } from "../../../scripts/settings_doc.ts";
import { loadConfig } from "../../../src/config/load.ts";
import { SETTINGS, showSettings } from "../../../src/config/settings.ts";
import { configToml } from "../../../scripts/settings_doc.ts";

/** The text as `config.toml`, with one variable for the examples. */
function load(text: string) {
  return loadConfig("config.toml", {
    readTextFile: () => Promise.resolve(text),
    env: () => "secret",
  });
}

Deno.test("config.toml and docs/settings.md are as the table of settings has them", async () => {
  for (const { path, text } of generatedFiles()) {
    const found = await Deno.readTextFile(new URL(`../../../${path}`, import.meta.url));
    assert.equal(found, text, `${path} is out of date: run "deno task docs"`);
  }
});

Deno.test("config.toml sets listen_addr, auth_type and a host for all databases, no more", async () => {
  const set = configToml().split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  assert.deepEqual(set, [
    "[pooler]",
    'auth_type = "scram-sha-256"',
    'listen_addr = "127.0.0.1"',
    '[databases."*"]',
    'host = "127.0.0.1"',
  ]);
  assert.deepEqual((await load(configToml())).warnings, []);
});

Deno.test("config.toml shows every setting with its true default", async () => {
  const uncommented = configToml().replace(/^# (?=[a-z0-9_]+ = )(?!include)/gm, "")
    .split('[databases."*"]')[0] ?? "";
  const { settings } = await load(uncommented);
  const preset = ["listen_addr", "auth_type", "conffile"];
  for (const { key, value, default: fallback } of showSettings(settings)) {
    if (!preset.includes(key)) assert.equal(value, fallback, key);
  }
  for (const { name } of SETTINGS) assert.match(uncommented, new RegExp(`^${name} = `, "m"));
});

Deno.test("the examples in config.toml are good once they are no comments", async () => {
  const start = configToml().indexOf("# [databases.app]");
  const examples = configToml().slice(start).replace(/^# (?=\[|[a-z_]+ = )/gm, "");
  const config = await load(examples);
  assert.equal(config.databases.get("app")?.poolMode, "transaction");
  assert.equal(config.users.get("app")?.password?.reveal(), "secret");
  assert.equal(config.peers.get(2)?.port, 6432);
});
