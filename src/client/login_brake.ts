/** Holds answers to passwords back where there were wrong ones (`auth_fail_delay`). */

import { FailedLogins } from "../auth/failed_logins.ts";
import type { Clock } from "../base/clock.ts";
import type { InTurns } from "../base/in_turns.ts";
import { peerGroup } from "../base/ip_address.ts";
import type { Settings } from "../config/settings.ts";
import type { Logger } from "../log/logger.ts";
import { clientLabel, type ClientSession } from "./client_session.ts";
import { LoginWait } from "./login_wait.ts";

/** Whoever is refused hears that, and not `client_login_timeout`: so long before that, at least. */
const MARGIN_MS = 1_000;

/** What the brake is made of. */
export interface LoginBrakeOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** In which many are let go. */
  readonly turns: InTurns;
  readonly settings: () => Settings;
}

/** Knows who failed, and holds those whose answer is held back; each of them counts as logging in. */
export class LoginBrake {
  readonly #options: LoginBrakeOptions;
  readonly #failed: FailedLogins;
  readonly #held = new Set<Pause>();

  constructor(options: LoginBrakeOptions) {
    this.#options = options;
    this.#failed = new FailedLogins(() => options.settings().authFailDelayMs);
  }

  /**
   * Notes whether a password was right, `refusal` being for the log why it was not. Resolves when
   * the client may be told, or is gone.
   */
  async hold(client: ClientSession, refusal: string | undefined): Promise<void> {
    const { clock, log } = this.#options;
    const nowMs = clock.nowMs();
    const address = client.stream.isUnix ? undefined : peerGroup(client.remote.host);
    const attempt = { address, user: client.user ?? "" };
    const wantedMs = refusal === undefined
      ? this.#failed.accepted(attempt, nowMs)
      : this.#failed.refused(attempt, nowMs);
    const delayMs = Math.min(wantedMs, this.#restMs(client, nowMs));
    if (delayMs <= 0) return;
    // Not only when it is told: it may be gone by then.
    const what = refusal ?? "logged in, after others failed";
    log.log(`${clientLabel(client)} ${what}, answered in ${delayMs} ms (auth_fail_delay)`);
    // Told to go while its password was looked at: nobody is there to be held, or would let it go.
    if (!client.isOpen) return;
    const pause = new Pause(nowMs + delayMs);
    this.#held.add(pause);
    await pause.hold(client);
    this.#held.delete(pause);
  }

  /** Lets go whose time has come. */
  release(nowMs: number): void {
    const due = [...this.#held].filter(({ endsAtMs }) => endsAtMs <= nowMs);
    for (const pause of due) this.#held.delete(pause);
    this.#options.turns.each(due, (pause) => pause.settle());
  }

  /** What is left of the client's time to log in. */
  #restMs(client: ClientSession, nowMs: number): number {
    const limitMs = this.#options.settings().clientLoginTimeoutMs;
    return limitMs === 0 ? Infinity : client.connectedAtMs + limitMs - MARGIN_MS - nowMs;
  }
}

/** One client that waits. */
class Pause extends LoginWait<void> {
  readonly endsAtMs: number;

  constructor(endsAtMs: number) {
    super();
    this.endsAtMs = endsAtMs;
  }
}
