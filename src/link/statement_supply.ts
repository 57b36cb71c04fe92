/**
 * Sees to it that a server has what a client is about to use: prepares what is lacking, and closes
 * what is too much. Pure.
 *
 * HOT PATH: `ensure()` and `ensureUnnamed()`. Budget: no allocation where nothing is lacking.
 */

import type { PoolStats } from "../stats/pool_stats.ts";
import type { ClientStatements } from "./client_statements.ts";
import type { PlannedOutput } from "./planned_output.ts";
import type { ServerStatement, ServerStatements } from "./server_statements.ts";
import type { Registration, Statement } from "./statement_book.ts";

/** What a supply is made of. */
export interface StatementSupplyOptions {
  readonly output: PlannedOutput;
  /** The most that is kept on one server (`max_prepared_statements`). */
  readonly limit: () => number;
}

/** One for all clients of a pooler: between two chunks it holds nothing. */
export class StatementSupply {
  readonly #options: StatementSupplyOptions;
  #client!: ClientStatements;
  #server!: ServerStatements;
  #stats!: PoolStats;

  constructor(options: StatementSupplyOptions) {
    this.#options = options;
  }

  /** Who uses statements, on which server, and who counts what is prepared. */
  between(client: ClientStatements, server: ServerStatements, stats: PoolStats): void {
    this.#client = client;
    this.#server = server;
    this.#stats = stats;
  }

  /** Sees to it that the server has a statement when the next message comes. HOT. */
  ensure(statement: Statement): void {
    const one = this.#server.find(statement);
    if (this.#isReady(one)) return this.#server.touch(one);
    this.prepare(statement, undefined);
  }

  /** Whether the server is going to have a statement when the next message comes. */
  has(statement: Statement): boolean {
    return this.#isReady(this.#server.find(statement));
  }

  /** Sends the Parse of a statement; for the client, if it has just given the statement a name. */
  prepare(statement: Statement, registration: Registration | undefined): void {
    const { output } = this.#options;
    const before = this.#server.find(statement);
    if (before === undefined) this.#makeRoom();
    else output.sendOurs({ kind: "cleared" }, statement.close);
    const one = this.#server.prepare(statement, output.segment);
    const { sending } = one;
    const wasAbsent = before === undefined;
    const fate = { kind: "parsed", one, sending, wasAbsent, registration } as const;
    this.notePrepared();
    if (registration === undefined) return output.sendOurs(fate, statement.parse);
    output.plan(fate);
    output.sendInstead(statement.parse);
  }

  /** Sees to it that the server has the client's unnamed statement, and nobody else's. HOT. */
  ensureUnnamed(answeringSegment: number): boolean {
    const { output } = this.#options;
    const client = this.#client;
    const { unnamedSegment } = client;
    const isSent = unnamedSegment === output.segment ||
      unnamedSegment >= 0 && unnamedSegment < answeringSegment;
    if (isSent) return true;
    const parse = client.unnamedParse;
    if (parse.length === 0) return false;
    client.noteUnnamed(output, true);
    this.notePrepared();
    output.sendOurs({ kind: "unnamed" }, parse);
    return true;
  }

  /** A Parse goes to the server. */
  notePrepared(): void {
    this.#stats.serverParseCount += 1;
  }

  /**
   * What was sent in an earlier segment and not answered yet may have been skipped, what was sent in
   * this one is skipped only with what follows. Of what another server found to have changed, it has
   * the old plan.
   */
  #isReady(one: ServerStatement | undefined): one is ServerStatement {
    if (one === undefined) return false;
    if (this.#server.changes.hasChanged(one.statement, one.preparedAt)) return false;
    if (one.presence === "present") return true;
    return one.presence === "pending" && one.segment === this.#options.output.segment;
  }

  #makeRoom(): void {
    const { limit, output } = this.#options;
    const most = Math.max(1, limit());
    while (this.#server.count >= most) {
      const one = this.#server.oldest!;
      this.#server.close(one, output.segment);
      const { sending, statement } = one;
      output.sendOurs({ kind: "evicted", one, sending }, statement.close);
    }
  }
}
