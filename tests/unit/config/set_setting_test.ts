import assert from "node:assert/strict";
import { SettingError, withSetting } from "../../../src/config/set_setting.ts";
import { loadToml } from "./memory_files.ts";

Deno.test("withSetting() changes one setting, and nothing of what was given", async () => {
  const config = await loadToml("[pooler]\nquery_timeout = 3\n");
  const changed = withSetting(config, "server_idle_timeout", "1.5");
  assert.deepEqual(
    [changed.settings.serverIdleTimeoutMs, changed.settings.queryTimeoutMs],
    [1_500, 3_000],
  );
  assert.equal(config.settings.serverIdleTimeoutMs, 600_000);
  assert.deepEqual({ ...changed, settings: 0 }, { ...config, settings: 0 });
});

Deno.test("withSetting() takes back conffile to the file that was read", async () => {
  const config = await loadToml("");
  const other = withSetting(config, "conffile", "/etc/other.toml");
  assert.equal(other.settings.conffile, "/etc/other.toml");
  assert.equal(withSetting(other, "conffile", "").settings.conffile, config.path);
});

Deno.test("withSetting() refuses names, values and moments that do not fit", async () => {
  const config = await loadToml("");
  const cases = [
    ["pool_sise", "1", /^Unknown setting "pool_sise"/],
    ["pool_mode", "sometimes", /^"pool_mode": /],
    ["listen_port", "7000", /takes effect with a restart only$/],
    ["auth_dbname", "pgbouncer", /^Cannot set "auth_dbname" to "pgbouncer": that is the console/],
  ] as const;
  for (const [key, value, message] of cases) {
    assert.throws(() => withSetting(config, key, value), (error) => {
      assert.ok(error instanceof SettingError);
      assert.match(error.message, message);
      return true;
    });
  }
});
