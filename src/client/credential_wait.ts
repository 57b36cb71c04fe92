/** A client whose login waits until its user's secret has been looked up. */

import type { UserCredential } from "../auth/credential.ts";
import { LoginWait } from "./login_wait.ts";

/** One that waits for what is known of the user: undefined if nothing is. */
export class CredentialWait extends LoginWait<UserCredential | undefined> {
  /** As the client names them. */
  readonly user: string;
  readonly database: string;
  /** Told if the client leaves first; belongs to whoever looks up. */
  onLeave: ((wait: CredentialWait) => void) | undefined;

  constructor(user: string, database: string) {
    super();
    this.user = user;
    this.database = database;
  }

  override detach(): void {
    this.onLeave?.(this);
    super.detach();
  }
}
