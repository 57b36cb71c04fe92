import assert from "node:assert/strict";
import { LiveConfig, type LoadedConfig } from "../../../src/app/live_config.ts";
import { Secret } from "../../../src/base/secret.ts";
import { loadToml } from "../config/memory_files.ts";

async function load(
  toml: string,
  userList: Readonly<Record<string, string>> = {},
): Promise<LoadedConfig> {
  const entries = Object.entries(userList).map(([name, text]) => [name, new Secret(text)] as const);
  return { config: await loadToml(toml), userList: new Map(entries) };
}

Deno.test("LiveConfig knows the users of auth_file and those with a password, which goes first", async () => {
  const live = new LiveConfig(
    await load('[users.ada]\npassword = "new"\n[users.eve]\npool_size = 1\n', {
      ada: "old",
      bob: "secret",
    }),
  );
  assert.deepEqual([...live.credentials.keys()].sort(), ["ada", "bob"]);
  assert.ok(live.credentials.get("ada")?.hasSecret(new Secret("new")));
});

Deno.test("LiveConfig keeps a section without a password from taking away that of auth_file", async () => {
  const live = new LiveConfig(await load("[users.bob]\npool_size = 1\n", { bob: "secret" }));
  assert.ok(live.credentials.get("bob")?.hasSecret(new Secret("secret")));
});

Deno.test("LiveConfig.prepare() keeps what was learned of users whose secret is the same", async () => {
  const live = new LiveConfig(await load("", { ada: "one", bob: "one", eve: "one" }));
  const { ada, bob } = Object.fromEntries(live.credentials);
  const next = live.prepare(
    await load("[pooler]\nquery_timeout = 7\n", { ada: "one", bob: "two" }),
  );
  assert.equal(live.settings.queryTimeoutMs, 0, "nothing has changed before it is put in force");
  next.putInForce();
  assert.equal(live.credentials.get("ada"), ada);
  assert.notEqual(live.credentials.get("bob"), bob);
  assert.ok(live.credentials.get("bob")?.hasSecret(new Secret("two")));
  assert.equal(live.credentials.has("eve"), false);
  assert.equal(live.settings.queryTimeoutMs, 7_000);
});

Deno.test("LiveConfig.looks have shapes that are those of the users and settings in force", async () => {
  const live = new LiveConfig(await load("", { ada: "one" }));
  assert.deepEqual(live.looks.shapes, [{ iterations: 4096, saltBytes: 16 }]);
  const key = `${"A".repeat(43)}=`;
  const next = live.prepare(
    await load("[pooler]\nscram_iterations = 5000\n", {
      ada: "one",
      bob: `SCRAM-SHA-256$777:AQID$${key}:${key}`,
    }),
  );
  assert.equal(live.looks.shapes.length, 1);
  next.putInForce();
  assert.deepEqual(live.looks.shapes, [
    { iterations: 5000, saltBytes: 16 },
    { iterations: 777, saltBytes: 3 },
  ]);
});

Deno.test("LiveConfig.prepare() keeps what needs a restart as it runs, and defaults the rest", async () => {
  const live = new LiveConfig(await load('[pooler]\npidfile = "a.pid"\nquery_timeout = 7\n'));
  const { loaded, putInForce } = live.prepare(await load("[pooler]\nlisten_port = 7000\n"));
  putInForce();
  assert.equal(live.loaded, loaded);
  const { listenPort, pidfile, queryTimeoutMs } = live.settings;
  assert.deepEqual([listenPort, pidfile, queryTimeoutMs], [6432, "a.pid", 0]);
});

Deno.test("LiveConfig.databaseConfig() gives the entry of the name, or else that of *", async () => {
  const live = new LiveConfig(await load('[databases.app]\n[databases."*"]\n'));
  assert.equal(live.databaseConfig("app")?.name, "app");
  assert.equal(live.databaseConfig("other")?.name, "*");
  assert.equal(new LiveConfig(await load("[databases.app]\n")).databaseConfig("x"), undefined);
});

Deno.test("LiveConfig.poolMode() takes the user's word first, then the database's, then the settings'", async () => {
  const live = new LiveConfig(
    await load(`[pooler]\npool_mode = "session"
[databases.app]\npool_mode = "transaction"\n[databases.plain]
[users.ada]\npool_mode = "statement"\n`),
  );
  assert.equal(live.poolMode("ada", "app"), "statement");
  assert.equal(live.poolMode("bob", "app"), "transaction");
  assert.equal(live.poolMode("bob", "plain"), "session");
});

Deno.test("LiveConfig.looks say how many of the secrets are verifiers, after a reload too", async () => {
  const key = btoa("k".repeat(32));
  const verifier = `SCRAM-SHA-256$4096:c2FsdA==$${key}:${key}`;
  const live = new LiveConfig(await load("", { ada: "plain", bob: verifier, eve: "", joe: "x" }));
  assert.equal(live.looks.verifierShare, 1 / 3);
  const next = live.prepare(await load("", { bob: verifier, eve: "" }));
  assert.equal(live.looks.verifierShare, 1 / 3);
  next.putInForce();
  assert.equal(live.looks.verifierShare, 1);
  assert.equal(new LiveConfig(await load("")).looks.verifierShare, 1, "as PostgreSQL keeps them");
});
