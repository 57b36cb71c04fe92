/** A client whose login waits until somebody else has said whether its password is right. */

import type { PasswordVerdict } from "../auth/outside_method.ts";
import { LoginWait } from "./login_wait.ts";

/** One that waits for the verdict. */
export class PasswordWait extends LoginWait<PasswordVerdict> {
  /** Told if the client leaves first; belongs to whoever asks. */
  onLeave: (() => void) | undefined;

  override detach(): void {
    this.onLeave?.();
    super.detach();
  }
}
