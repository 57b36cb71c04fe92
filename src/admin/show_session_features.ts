/**
 * SHOW SESSION_FEATURES: how often clients have used what transaction and statement pooling do not
 * keep. A row for each pool, without a client, and one for each client that is there.
 */

import type { ConsoleContext } from "./console_context.ts";
import { poolsInOrder } from "./pools_in_order.ts";
import { int4, int8, type ShownTable, table, text } from "./result_set.ts";

interface FeatureRow {
  readonly database: string;
  readonly user: string;
  readonly client: number | undefined;
  readonly feature: string;
  readonly uses: number;
}

/** Answers SHOW SESSION_FEATURES. */
export function showSessionFeatures(context: ConsoleContext): ShownTable {
  return table<FeatureRow>([
    text("database", ({ database }) => database),
    text("user", ({ user }) => user),
    int4("client_id", ({ client }) => client),
    text("feature", ({ feature }) => feature),
    int8("uses", ({ uses }) => uses),
  ], rowsOf(context));
}

function* rowsOf({ clients, pools }: ConsoleContext): Generator<FeatureRow, void, void> {
  for (const { database, featureUses, user } of poolsInOrder(pools)) {
    for (const [feature, uses] of featureUses) {
      yield { database, user, client: undefined, feature, uses };
    }
  }
  for (const { id, pool, relay } of [...clients.all()]) {
    if (pool === undefined || relay === undefined) continue;
    const { database, user } = pool;
    for (const [feature, uses] of relay.featureUses) {
      yield { database, user, client: id, feature, uses };
    }
  }
}
