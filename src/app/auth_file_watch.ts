/** Reads `auth_file` anew when it has changed, so that a new password needs no reload. */

import { errorText } from "../base/error_text.ts";
import type { Secret } from "../base/secret.ts";
import type { Logger } from "../log/logger.ts";
import type { LiveConfig } from "./live_config.ts";

/** How the file is looked at. */
export interface AuthFileAccess {
  /** Something that changes when the file does; rejects if it cannot be looked at. */
  signature(path: string): Promise<string>;
  /** What is in it; rejects, with what is wrong, if it is bad. */
  load(path: string): Promise<ReadonlyMap<string, Secret>>;
}

/** Watches the file of the configuration in force. */
export class AuthFileWatch {
  readonly #access: AuthFileAccess;
  readonly #live: LiveConfig;
  readonly #log: Logger;
  /** Of what was last looked at, good or bad. */
  #seen: { readonly path: string; readonly signature: string } | undefined;
  #isLooking = false;

  constructor(
    { access, live, log }: { access: AuthFileAccess; live: LiveConfig; log: Logger },
  ) {
    this.#access = access;
    this.#live = live;
    this.#log = log;
  }

  /** Looks, unless it is doing so already. A bad file changes nothing, and is told of once. */
  async look(): Promise<void> {
    const path = this.#live.settings.authFile;
    if (this.#isLooking || path === undefined) return;
    this.#isLooking = true;
    try {
      await this.#lookAt(path);
    } finally {
      this.#isLooking = false;
    }
  }

  async #lookAt(path: string): Promise<void> {
    const signature = await this.#access.signature(path).catch(errorText);
    if (this.#seen?.path === path && this.#seen.signature === signature) return;
    this.#seen = { path, signature };
    try {
      this.#takeOver(path, await this.#access.load(path));
    } catch (error) {
      for (const line of errorText(error).split("\n")) this.#log.error(line);
      this.#log.error("auth_file was not re-read, its users stay as they were");
    }
  }

  #takeOver(path: string, userList: ReadonlyMap<string, Secret>): void {
    const { loaded, settings } = this.#live;
    // A reload may have come meanwhile.
    if (settings.authFile !== path || isSame(loaded.userList, userList)) return;
    this.#live.replace({ ...loaded, userList });
    this.#log.log("auth_file has changed, re-read");
  }
}

function isSame(a: ReadonlyMap<string, Secret>, b: ReadonlyMap<string, Secret>): boolean {
  return a.size === b.size && [...a].every(([name, secret]) => secret.equals(b.get(name)));
}
