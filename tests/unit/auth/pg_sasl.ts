/** The SCRAM code of node-postgres with types: a client that shares nothing with ours. */

import sasl from "pg/lib/crypto/sasl.js";

/** What it keeps between its steps. */
export interface PgSaslSession {
  readonly mechanism: string;
  readonly response: string;
}

interface PgSasl {
  startSession(mechanisms: readonly string[]): PgSaslSession;
  continueSession(session: PgSaslSession, password: string, serverData: string): Promise<void>;
  finalizeSession(session: PgSaslSession, serverData: string): void;
}

export const pgSasl = sasl as unknown as PgSasl;
