/**
 * The statements and portals of one session of the console, for drivers that speak the extended
 * protocol only. A portal lives until the next Sync, as in PostgreSQL outside a transaction.
 */

import type { BodyReader } from "../wire/body_reader.ts";
import { PgError, ProtocolError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { type AdminCommand, parameterCount, parseAdminCommand } from "./admin_parser.ts";
import { invalidCommand } from "./invalid_command.ts";
import type { ShownRow, ShownTable } from "./result_set.ts";
import { formatsOf, readParameter } from "./value_formats.ts";

/** More of either at a time are taken for a leak. */
const MAX_NAMES = 1_000;

/** Parameters a command may have: more than any has a use for. */
const MAX_PARAMETERS = 100;

/** What Parse made. */
export interface PreparedCommand {
  readonly text: string;
  /** The command with something in place of its parameters, for its columns. */
  readonly example: AdminCommand;
  /** Types of its parameters, as the client gave them; 0 where it did not. */
  readonly parameterOids: readonly number[];
}

/** What Bind made. */
export interface Portal {
  readonly command: AdminCommand;
  /** As the client gave them. */
  readonly formatCodes: readonly number[];
  /** What Execute has begun, of a command with rows. */
  progress: PortalProgress | undefined;
  /** Whether it has been run: no command is run twice. */
  isRun: boolean;
}

/** How far a portal has got. */
export interface PortalProgress {
  readonly tag: string;
  readonly table: ShownTable;
  readonly formats: readonly number[];
  readonly steps: AsyncIterator<readonly ShownRow[], void, void>;
  /** Rows that have been made and were not asked for yet. */
  held: readonly ShownRow[];
  isOver: boolean;
}

/** By name; the empty name is the unnamed one's. */
export class PreparedCommands {
  readonly #commands = new Map<string, PreparedCommand>();
  readonly #portals = new Map<string, Portal>();

  /**
   * Parse.
   * @throws {PgError} If the name is taken, the text is no command, or there are too many.
   */
  parse(reader: BodyReader): void {
    const name = reader.cstring();
    const text = reader.cstring();
    const oids = Array.from({ length: countIn(reader) }, () => reader.int32());
    requireEnd(reader);
    if (name !== "" && this.#commands.has(name)) {
      throw failure(
        SQLSTATE.duplicatePreparedStatement,
        `prepared statement "${name}" already exists`,
      );
    }
    const count = Math.max(parameterCount(text), oids.length);
    if (count > MAX_PARAMETERS) throw failure(SQLSTATE.programLimitExceeded, "too many parameters");
    // A number will do wherever a value may stand.
    const example = parseAdminCommand(text, Array<string>(count).fill("1"));
    if (example === undefined) throw invalidCommand(text);
    requireRoom(this.#commands);
    const parameterOids = Array.from({ length: count }, (_, at) => oids[at] ?? 0);
    this.#commands.set(name, { text, example, parameterOids });
  }

  /**
   * Bind.
   * @throws {PgError} If there is no such statement, or the values do not fit it.
   */
  bind(reader: BodyReader): void {
    const name = reader.cstring();
    const { parameterOids, text } = this.command(reader.cstring());
    const codes = shorts(reader);
    const values = Array.from({ length: countIn(reader) }, () => valueIn(reader));
    const formatCodes = shorts(reader);
    requireEnd(reader);
    if (values.length !== parameterOids.length) {
      throw failure(
        SQLSTATE.protocolViolation,
        `bind message supplies ${values.length} parameters, but the command requires ` +
          `${parameterOids.length}`,
      );
    }
    const formats = formatsOf(codes, values.length);
    const texts = values.map((value, at) => {
      if (value !== null) return readParameter(value, formats[at]!, parameterOids[at]!);
      throw failure(SQLSTATE.featureNotSupported, "a parameter of the admin console is not NULL");
    });
    const command = parseAdminCommand(text, texts);
    if (command === undefined) throw invalidCommand(text);
    if (name !== "" && this.#portals.has(name)) {
      throw failure(SQLSTATE.duplicateCursor, `cursor "${name}" already exists`);
    }
    requireRoom(this.#portals);
    this.#portals.set(name, { command, formatCodes, progress: undefined, isRun: false });
  }

  /** @throws {PgError} If there is none. */
  command(name: string): PreparedCommand {
    const command = this.#commands.get(name);
    if (command !== undefined) return command;
    const which = name === "" ? "unnamed prepared statement" : `prepared statement "${name}"`;
    throw failure(SQLSTATE.invalidSqlStatementName, `${which} does not exist`);
  }

  /** @throws {PgError} If there is none. */
  portal(name: string): Portal {
    const portal = this.#portals.get(name);
    if (portal !== undefined) return portal;
    throw failure(SQLSTATE.invalidCursorName, `portal "${name}" does not exist`);
  }

  /** Close, of a statement; one that there is not is closed all the same. */
  closeCommand(name: string): void {
    this.#commands.delete(name);
  }

  /** Close, of a portal. */
  closePortal(name: string): void {
    this.#portals.delete(name);
  }

  /** Sync. */
  endPortals(): void {
    this.#portals.clear();
  }

  /** A Query: what has no name is gone. */
  dropUnnamed(): void {
    this.#commands.delete("");
    this.#portals.delete("");
  }
}

function requireRoom(map: ReadonlyMap<string, unknown>): void {
  if (map.size < MAX_NAMES) return;
  throw failure(
    SQLSTATE.programLimitExceeded,
    `no more than ${MAX_NAMES} statements or portals are kept by the admin console`,
  );
}

function countIn(reader: BodyReader): number {
  const count = reader.int16();
  // Each takes two bytes at least: what claims more is broken.
  if (count * 2 > reader.remaining) throw new ProtocolError("failed to parse packet");
  return count;
}

function shorts(reader: BodyReader): number[] {
  return Array.from({ length: countIn(reader) }, () => reader.int16());
}

function valueIn(reader: BodyReader): Uint8Array | null {
  const length = reader.int32();
  return length === -1 ? null : reader.bytes(length);
}

function requireEnd(reader: BodyReader): void {
  if (reader.remaining > 0) throw new ProtocolError("failed to parse packet");
}

function failure(sqlstate: string, message: string): PgError {
  return new PgError(sqlstate, message, { severity: "ERROR" });
}
