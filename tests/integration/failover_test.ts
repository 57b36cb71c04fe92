/** A failover under load: what `docs/hosts.md` promises, with a primary that dies and its standby. */

import assert from "node:assert/strict";
import { runFailover } from "../../scripts/failover_run.ts";
import { startSluice } from "../support/pooler_process.ts";
import { isMissing } from "../support/requirements.ts";

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
