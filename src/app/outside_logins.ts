/**
 * Asks a directory or PAM about passwords, for clients that wait: so many at once, the others in
 * turn. Who leaves is not asked about any longer.
 */

import type { Clock } from "../base/clock.ts";
import { errorText } from "../base/error_text.ts";
import type { TaskGroup } from "../base/task_group.ts";
import type {
  AskOutside,
  OutsideMethod,
  OutsideQuestion,
  PasswordDecision,
  PasswordVerdict,
} from "../auth/outside_method.ts";
import { clientLabel, type ClientSession } from "../client/client_session.ts";
import { PasswordWait } from "../client/password_wait.ts";
import type { Logger } from "../log/logger.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";

/** Most that are asked about at the same time. Helpers for PAM are processes. */
const MAX_ASKED: Readonly<Record<OutsideMethod["kind"], number>> = { ldap: 16, pam: 4 };

/** Most that wait for their turn; who logs in at all is limited by `max_login_clients`. */
const MAX_WAITING = 1_000;

/** Longest that PAM may hold a refusal back; `auth_fail_delay` comes on top. */
const MAX_DELAY_MS = 10_000;

/** What it works with. */
export interface OutsideLoginsOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Runs what is asked. */
  readonly tasks: TaskGroup;
  readonly ask: AskOutside;
}

/** Who waits, and who is being asked about. */
export class OutsideLogins {
  readonly #options: OutsideLoginsOptions;
  readonly #queues: Readonly<Record<OutsideMethod["kind"], Queue>> = {
    ldap: new Queue(),
    pam: new Queue(),
  };

  constructor(options: OutsideLoginsOptions) {
    this.#options = options;
  }

  /**
   * Holds the client until its password has been asked about. Resolves with the answer; undefined if
   * the client has left.
   * @throws {PgError} If nobody can say.
   */
  async decide(
    client: ClientSession,
    { method, password }: Pick<OutsideQuestion, "method" | "password">,
  ): Promise<PasswordDecision | undefined> {
    const queue = this.#queues[method.kind];
    const host = client.stream.isUnix ? undefined : client.remote.host;
    const attempt = new Attempt({ method, user: client.user ?? "", password, host });
    if (queue.waiting.size >= MAX_WAITING) {
      this.#note(client, `${method.kind}: ${MAX_WAITING} logins are waiting already`);
      throw unavailable();
    }
    queue.waiting.add(attempt);
    attempt.wait.onLeave = () => {
      queue.waiting.delete(attempt);
      attempt.abort.abort();
    };
    this.#askNext(queue, method.kind);
    const answer = await attempt.wait.hold(client);
    if (answer?.kind !== "unavailable") return answer;
    this.#note(client, `${method.kind}: ${answer.why}`);
    throw unavailable();
  }

  #askNext(queue: Queue, kind: OutsideMethod["kind"]): void {
    while (queue.askedCount < MAX_ASKED[kind]) {
      const [next] = queue.waiting;
      if (next === undefined) return;
      queue.waiting.delete(next);
      queue.askedCount += 1;
      this.#options.tasks.spawn(async (signal) => {
        try {
          await this.#ask(next, signal);
        } finally {
          queue.askedCount -= 1;
          this.#askNext(queue, kind);
        }
      });
    }
  }

  async #ask({ abort, question, wait }: Attempt, signal: AbortSignal): Promise<void> {
    // A helper that asks PAM would have to be killed: who comes and goes could have them made for it.
    const isLeftAlone = question.method.kind === "pam";
    const whole = isLeftAlone ? signal : AbortSignal.any([abort.signal, signal]);
    try {
      const verdict = await this.#options.ask(question, whole);
      const delayMs = verdict.kind === "wrong" ? verdict.delayMs ?? 0 : 0;
      if (abort.signal.aborted) return;
      if (delayMs > 0) this.#settleLater(wait, { verdict, delayMs });
      else wait.settle(verdict);
    } catch (error) {
      wait.settle({ kind: "unavailable", why: errorText(error) });
      throw error;
    }
  }

  /** The client waits, and what was asked does not. */
  #settleLater(
    wait: PasswordWait,
    { delayMs, verdict }: { readonly verdict: PasswordVerdict; readonly delayMs: number },
  ): void {
    const limitMs = Math.min(delayMs, MAX_DELAY_MS);
    const timer = this.#options.clock.startTimer(limitMs, () => wait.settle(verdict));
    wait.onLeave = () => timer.cancel();
  }

  /** The log says more than the client is told. */
  #note(client: ClientSession, text: string): void {
    this.#options.log.error(`${clientLabel(client)} ${text}`);
  }
}

/** One kind of logins. */
class Queue {
  /** Oldest first. */
  readonly waiting = new Set<Attempt>();
  askedCount = 0;
}

/** One client's question. */
class Attempt {
  readonly question: OutsideQuestion;
  readonly wait = new PasswordWait();
  readonly abort = new AbortController();

  constructor(question: OutsideQuestion) {
    this.question = question;
  }
}

/** What a client is told where nobody can be asked; the log says who and why. */
function unavailable(): PgError {
  return new PgError(SQLSTATE.connectionFailure, "authentication is not available now");
}
