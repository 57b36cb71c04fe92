/** SHOW PREPARED: the statements that are prepared on servers for clients that share them. */

import type { ServerPool } from "../client/relay.ts";
import type { ServerStatement } from "../link/server_statements.ts";
import type { ServerSession } from "../server/server_session.ts";
import { decodeText } from "../wire/body_reader.ts";
import type { ConsoleContext } from "./console_context.ts";
import { poolsInOrder } from "./pools_in_order.ts";
import { int4, int8, type ShownTable, table, text } from "./result_set.ts";

interface PreparedRow {
  readonly pool: ServerPool;
  readonly server: ServerSession;
  readonly prepared: ServerStatement;
}

/** Answers SHOW PREPARED. */
export function showPrepared({ pools }: ConsoleContext): ShownTable {
  return table<PreparedRow>([
    text("database", ({ pool }) => pool.database),
    text("user", ({ pool }) => pool.user),
    int4("server_id", ({ server }) => server.id),
    text("name", ({ prepared }) => prepared.statement.name),
    text("statement", ({ prepared }) => queryOf(prepared)),
    int8("use_count", ({ prepared }) => prepared.useCount),
  ], rowsOf(poolsInOrder(pools)));
}

function* rowsOf(pools: Iterable<ServerPool>): Generator<PreparedRow, void, void> {
  for (const pool of pools) {
    for (const server of pool.servers.all()) {
      for (const prepared of server.statements.all()) yield { pool, server, prepared };
    }
  }
}

/** The text, without the parameter types behind it. */
function queryOf({ statement: { content } }: ServerStatement): string {
  const zero = content.indexOf(0);
  return decodeText(content, 0, zero < 0 ? content.length : zero);
}
