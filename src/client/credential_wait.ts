/** A client whose login waits until its user's secret has been looked up. */

import type { UserCredential } from "../auth/credential.ts";
import { Deferred } from "../base/deferred.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { ClientService } from "./client_session.ts";

/** One that waits. Who looks up calls `settle()` or `refuse()`; the client may leave before. */
export class CredentialWait implements ClientService {
  /** As the client names them. */
  readonly user: string;
  readonly database: string;
  /** Told if the client leaves first; belongs to whoever looks up. */
  onLeave: ((wait: CredentialWait) => void) | undefined;
  readonly #outcome = new Deferred<UserCredential | undefined>();

  constructor(user: string, database: string) {
    this.user = user;
    this.database = database;
  }

  /**
   * What is known of the user; undefined if nothing, or if the client has left. Rejects with a
   * PgError if that could not be found out.
   */
  get outcome(): Promise<UserCredential | undefined> {
    return this.#outcome.promise;
  }

  /** What was found. */
  settle(credential: UserCredential | undefined): void {
    this.#outcome.resolve(credential);
  }

  /** It could not be found out. */
  refuse(error: PgError): void {
    this.#outcome.reject(error);
  }

  onClientChunk(): never {
    throw new PgError(SQLSTATE.protocolViolation, "Nothing may be sent before the login is over");
  }

  detach(): void {
    this.onLeave?.(this);
    this.#outcome.resolve(undefined);
  }
}
