/** What becomes of clients when a standby is promoted: as `docs/hosts.md` promises. */

import assert from "node:assert/strict";
import { runFailover } from "../../scripts/failover_run.ts";
import { startPostgres, startStandby } from "../../scripts/postgres_fixture.ts";
import { psqlWith } from "../support/commands.ts";
import { target } from "../support/pooler_trouble.ts";
import { startSluice } from "../support/pooler_process.ts";
import { isMissing } from "../support/requirements.ts";
import { TestClient } from "../support/test_client.ts";
import { tomlConfig } from "../support/toml_config.ts";

/** How long clients may wait behind the promotion; 1.4 s is what settings come to. */
const LIMIT_MS = 8_000;

Deno.test({
  name: "a failover costs the transactions that were under way, and the others wait through it",
  ignore: isMissing("postgresql-15"),
  async fn() {
    const [clients, poolSize] = [12, 4];
    const result = await runFailover({
      ...{ clients, poolSize, promoteAfterMs: 300, aroundMs: 100, start: startSluice },
    });
    const what = JSON.stringify(result);
    assert.ok(result.errors.length <= poolSize, what);
    assert.ok(result.kept >= clients - poolSize, what);
    assert.ok(result.allMs - result.promotedMs < LIMIT_MS, what);
  },
});

Deno.test({
  name: "a libpq that wants a primary is let in by a promoted standby as soon as its pool knows",
  ignore: isMissing("postgresql-15", "psql"),
  async fn() {
    await using primary = await startPostgres({ flavour: "debian", auth: "trust" });
    await using standby = await startStandby(primary, "127.0.0.2");
    await using sluice = await startSluice({
      config: tomlConfig({
        databases: { postgres: { host: standby.host, port: standby.port } },
        users: { postgres: { password: "x" } },
      }),
    });
    const wanting = "dbname=postgres target_session_attrs=primary";
    const client = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
    await client.login({ user: "postgres", database: "postgres" });
    const before = await psqlWith(target(sluice), ["-d", wanting, "-c", "select 1"]);
    assert.match(before.stderr, /server is in hot standby mode/);
    await standby.sql("select pg_promote()");
    await client.query("select 1");
    const after = await psqlWith(target(sluice), ["-d", wanting, "-Atc", "select 'in'"]);
    assert.deepEqual([after.stderr, after.stdout], ["", "in\n"]);
    client.close();
  },
});
