/** Errors as PostgreSQL's protocol knows them: what a client is told and what a server told us. */

/** How bad it is; FATAL ends the session. */
export type Severity =
  | "ERROR"
  | "FATAL"
  | "PANIC"
  | "WARNING"
  | "NOTICE"
  | "LOG"
  | "INFO"
  | "DEBUG";

/** The optional fields of an error or notice. */
export interface PgErrorFields {
  readonly severity?: Severity;
  readonly detail?: string;
  readonly hint?: string;
  /** Where in the text that the client sent, counted in characters; not in that of a function. */
  readonly position?: string;
  /** The function of the server's that reported it; some drivers go by it. */
  readonly routine?: string;
}

/** An error that can be sent to a client, or that a server sent. */
export class PgError extends Error {
  override readonly name = "PgError";
  readonly severity: Severity;
  /** Five characters, see `sqlstate.ts`. */
  readonly sqlstate: string;
  readonly detail: string | undefined;
  readonly hint: string | undefined;
  readonly position: string | undefined;
  readonly routine: string | undefined;

  /** FATAL unless `fields` says otherwise. */
  constructor(sqlstate: string, message: string, fields: PgErrorFields = {}) {
    super(message);
    this.severity = fields.severity ?? "FATAL";
    this.sqlstate = sqlstate;
    this.detail = fields.detail;
    this.hint = fields.hint;
    this.position = fields.position;
    this.routine = fields.routine;
  }
}

/** Bytes that are not the protocol. The peer that sent them is closed. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}
