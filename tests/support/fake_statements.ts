/** The prepared statements and the portals of one backend of the fake PostgreSQL. */

/** An error that ends a statement. */
export class StatementError extends Error {
  readonly sqlstate: string;

  constructor(sqlstate: string, message: string) {
    super(message);
    this.sqlstate = sqlstate;
  }

  /** Whether it is that the result of a statement has changed. */
  get isOutdated(): boolean {
    return this.sqlstate === OUTDATED;
  }
}

/** What a statement is answered with whose result has changed. */
const OUTDATED = "0A000";

/** A statement with its values. */
export interface Portal {
  readonly sql: string;
  readonly values: readonly (string | null)[];
}

/** What is known by name. All that takes one throws a `StatementError` if there is none. */
export class FakeStatements {
  /** The statement whose result has changed; it has to be closed and prepared anew. */
  outdated: string | undefined;
  readonly #statements = new Map<string, string>();
  readonly #portals = new Map<string, Portal>();

  /** Of the statements, with that of the unnamed one. */
  get names(): readonly string[] {
    return [...this.#statements.keys()];
  }

  /** @throws {StatementError} If the name is taken. */
  prepare(name: string, sql: string): void {
    if (name !== "" && this.#statements.has(name)) {
      throw new StatementError("42P05", `prepared statement "${name}" already exists`);
    }
    this.#statements.set(name, sql);
  }

  sql(name: string): string {
    const sql = this.#statements.get(name);
    if (sql === undefined) {
      const which = name === "" ? "unnamed prepared statement" : `prepared statement "${name}"`;
      throw new StatementError("26000", `${which} does not exist`);
    }
    if (name === this.outdated) throw new StatementError(OUTDATED, "cached plan");
    return sql;
  }

  bind(name: string, portal: Portal): void {
    this.#portals.set(name, portal);
  }

  portal(name: string): Portal {
    const portal = this.#portals.get(name);
    if (portal === undefined) throw new StatementError("34000", `portal "${name}" does not exist`);
    return portal;
  }

  /** As Close: of what there is not, too. */
  close(kind: "statement" | "portal", name: string): void {
    (kind === "statement" ? this.#statements : this.#portals).delete(name);
    if (name === this.outdated) this.outdated = undefined;
  }

  deallocate(name: string): void {
    this.sql(name);
    this.forget(name);
  }

  /** All but the unnamed one. */
  deallocateAll(): void {
    for (const name of this.names) if (name !== "") this.forget(name);
  }

  /** Loses a statement, as by a DEALLOCATE inside a function. */
  forget(name: string): void {
    this.#statements.delete(name);
  }

  /** Portals last as long as a transaction. */
  closePortals(): void {
    this.#portals.clear();
  }

  /** Loses all. */
  clear(): void {
    this.#statements.clear();
    this.closePortals();
  }
}
