/** The SCRAM code of node-postgres with types: a client that shares nothing with ours. */

import type { Buffer } from "node:buffer";
import sasl from "pg/lib/crypto/sasl.js";

/** What it keeps between its steps. */
export interface PgSaslSession {
  readonly mechanism: string;
  readonly response: string;
}

/** What it wants of a TLS connection. */
export interface PgTlsStream {
  getPeerCertificate(): { readonly raw: Buffer };
}

interface PgSasl {
  startSession(mechanisms: readonly string[], stream?: PgTlsStream): PgSaslSession;
  continueSession(
    session: PgSaslSession,
    password: string,
    serverData: string,
    stream?: PgTlsStream,
  ): Promise<void>;
  finalizeSession(session: PgSaslSession, serverData: string): void;
}

export const pgSasl = sasl as unknown as PgSasl;
