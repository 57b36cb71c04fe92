/** A client whose login is held, until what it needs is there. */

import { Deferred } from "../base/deferred.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { ClientService, ClientSession } from "./client_session.ts";

/** One that waits for a `T`. Who has it calls `settle()` or `refuse()`; the client may leave before. */
export class LoginWait<T> implements ClientService {
  readonly #outcome = new Deferred<T | undefined>();

  /**
   * Holds the client. Resolves with what was settled, undefined if the client has left. Rejects with
   * the PgError of a refusal.
   */
  async hold(client: ClientSession): Promise<T | undefined> {
    client.setService(this);
    client.watchForEnd();
    return await this.#outcome.promise;
  }

  /** It is there. */
  settle(outcome: T): void {
    this.#outcome.resolve(outcome);
  }

  /** It is not to be had. */
  refuse(error: PgError): void {
    this.#outcome.reject(error);
  }

  onClientChunk(): never {
    throw new PgError(SQLSTATE.protocolViolation, "Nothing may be sent before the login is over");
  }

  detach(): void {
    this.#outcome.resolve(undefined);
  }
}
