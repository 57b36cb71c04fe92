/**
 * Asks PAM by helpers, which are processes: started when there is a question, kept for the next one,
 * and ended when they are silent for too long.
 */

import { errorText } from "../base/error_text.ts";
import type { Clock, Timer } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import { within } from "../base/time_limit.ts";
import type { PasswordVerdict } from "../auth/outside_method.ts";
import { isTooLongName } from "../auth/user_list.ts";
import type { AskPam, PamQuestion } from "./ask_outside.ts";
import { lineOf, linesOf, type PamResponse } from "./pam_protocol.ts";

/** The argument by which an executable is its own helper. */
export const PAM_HELPER_ARGUMENT = "pam-helper";

/** A module may ask a server over the network. */
const ANSWER_LIMIT_MS = 30_000;

/** How long a helper is kept that nobody needs. */
const IDLE_LIMIT_MS = 60_000;

/** Modules may leak. */
const MAX_QUESTIONS = 1_000;

/** As PAM_MAX_RESP_SIZE, with the zero at the end. */
const MAX_PASSWORD_BYTES = 511;

/** What a helper needs of the environment to start; the rest may hold secrets. */
const PASSED_VARIABLES = ["DENO_DIR", "HOME", "PATH"] as const;

/** What helpers are made with. */
export interface PamHelpersOptions {
  readonly clock: Clock;
  readonly random: Random;
}

/** The helpers. How many there are at once is up to who asks. */
export class PamHelpers implements Disposable {
  readonly #options: PamHelpersOptions;
  readonly #idle: Helper[] = [];
  #isClosed = false;

  constructor(options: PamHelpersOptions) {
    this.#options = options;
  }

  /** Asks; when the signal is aborted, the helper is ended. */
  readonly ask: AskPam = async (question, signal) => {
    const unfit = problemOf(question);
    if (unfit !== undefined) return { kind: "wrong", why: unfit };
    let helper: Helper | undefined;
    try {
      helper = this.#takeIdle() ?? new Helper(this.#options);
      const verdict = await helper.ask(question, signal);
      this.#keep(helper);
      return verdict;
    } catch (error) {
      helper?.end();
      return { kind: "unavailable", why: errorText(error) };
    }
  };

  [Symbol.dispose](): void {
    this.#isClosed = true;
    for (const helper of this.#idle) helper.end();
    this.#idle.length = 0;
  }

  #takeIdle(): Helper | undefined {
    for (;;) {
      const helper = this.#idle.pop();
      if (helper === undefined || !helper.hasEnded) return helper;
      // Somebody has killed it meanwhile.
      helper.end();
    }
  }

  #keep(helper: Helper): void {
    if (this.#isClosed || helper.isWorn) return helper.end();
    this.#idle.push(helper);
    helper.whenSilent(() => {
      const at = this.#idle.indexOf(helper);
      if (at >= 0) this.#idle.splice(at, 1);
      helper.end();
    });
  }
}

/** One process. */
class Helper {
  readonly #options: PamHelpersOptions;
  readonly #child: Deno.ChildProcess;
  readonly #requests: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncGenerator<string>;
  #questionCount = 0;
  #hasEnded = false;
  #idleTimer: Timer | undefined;

  constructor(options: PamHelpersOptions) {
    this.#options = options;
    this.#child = startHelper();
    this.#requests = this.#child.stdin.getWriter();
    this.#lines = linesOf(this.#child.stdout);
    // Owned by the process; it rejects never.
    void this.#child.status.then(() => this.#hasEnded = true);
  }

  /** Whether the process is gone. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Whether it is better replaced. */
  get isWorn(): boolean {
    return this.#questionCount >= MAX_QUESTIONS;
  }

  /** Rejects if there is no answer; then the helper must be ended. */
  async ask(question: PamQuestion, signal: AbortSignal): Promise<PasswordVerdict> {
    this.#idleTimer?.cancel();
    this.#questionCount += 1;
    const { clock, random } = this.#options;
    const token = random.bytes(16).toHex();
    const limit = { clock, limitMs: ANSWER_LIMIT_MS, signal };
    return await within(this.#answer(question, token), limit);
  }

  /** Calls `end` if nothing is asked for long. */
  whenSilent(end: () => void): void {
    this.#idleTimer = this.#options.clock.startTimer(IDLE_LIMIT_MS, end);
  }

  /** Ends the process, whatever it is doing. */
  end(): void {
    this.#idleTimer?.cancel();
    // Else our ends of its pipes would stay open. One that is being read ends by itself, and rejects.
    void Promise.allSettled([this.#requests.abort(), this.#child.stdout.cancel()]);
    try {
      this.#child.kill("SIGKILL");
    } catch (error) {
      // It has ended by itself.
      if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  async #answer(question: PamQuestion, token: string): Promise<PasswordVerdict> {
    const { host, password, service, user } = question;
    await this.#requests.write(lineOf({ token, host, password, service, user }));
    for (;;) {
      const { done, value: line } = await this.#lines.next();
      if (done === true) throw new Error("the helper has ended");
      const response = responseOf(line);
      // What a module has printed is nothing to us.
      if (response?.token === token) return verdictOf(response);
    }
  }
}

function startHelper(): Deno.ChildProcess {
  const source = ["run", "--no-prompt", "--no-config", "--no-lock", "--allow-ffi"];
  const args = Deno.build.standalone
    ? [PAM_HELPER_ARGUMENT]
    : [...source, new URL("./pam_helper.ts", import.meta.url).href];
  const env: Record<string, string> = {};
  for (const name of PASSED_VARIABLES) {
    const value = Deno.env.get(name);
    if (value !== undefined) env[name] = value;
  }
  return new Deno.Command(Deno.execPath(), {
    args,
    cwd: "/",
    env,
    clearEnv: true,
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
}

function responseOf(line: string): PamResponse | undefined {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function verdictOf(response: PamResponse): PasswordVerdict {
  if ("problem" in response) return { kind: "unavailable", why: response.problem };
  const { delayMs, refusal } = response;
  return refusal === undefined ? { kind: "right" } : { kind: "wrong", why: refusal, delayMs };
}

/** Why PAM is not asked, if so. */
function problemOf({ password, user }: PamQuestion): string | undefined {
  // deno-lint-ignore no-control-regex
  if (user === "" || /[\x00-\x1f\x7f]/.test(user)) return "invalid character in user name for PAM";
  if (isTooLongName(user)) return "the user name is too long";
  const { length } = new TextEncoder().encode(password);
  return length > MAX_PASSWORD_BYTES ? "the password is too long" : undefined;
}
