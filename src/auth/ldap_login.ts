/**
 * Whether a directory takes a user's password: one conversation per login, over a connection that is
 * passed in. A server that is down, silent or too slow is given up for the next one.
 *
 * Invariants: no name is bound without a password, which a directory would take for a question of
 * nobody; every step ends within its limit; whether an entry was found is not told by the number of
 * steps. Referrals are not followed.
 * Source: PostgreSQL, "LDAP Authentication"; RFC 4511, 4513.
 */

import { assert } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import { errorText } from "../base/error_text.ts";
import type { Random } from "../base/random.ts";
import { within } from "../base/time_limit.ts";
import { entryNameOf, isFitForLdap, userFilterOf } from "./ldap_names.ts";
import type {
  LdapOptions,
  LdapProtection,
  LdapScope,
  LdapSearchBind,
  LdapServer,
} from "./ldap_options.ts";
import type { PasswordVerdict } from "./outside_method.ts";

/** A search for entries. */
export interface LdapQuery {
  readonly baseDn: string;
  readonly scope: LdapScope;
  readonly filter: string;
  /** More need not be found. */
  readonly maxCount: number;
}

/** A connection to a directory. All reject with an LdapResult if the directory says no. */
export interface LdapConnection {
  /** With two empty texts: as nobody. */
  bind(name: string, password: string): Promise<void>;
  /** The names of the entries. */
  search(query: LdapQuery): Promise<readonly string[]>;
  close(): void;
}

/**
 * Connects, TLS included. When the signal is aborted, the connection is closed, and whatever is under
 * way rejects.
 */
export type LdapConnector = (
  server: LdapServer,
  options: { readonly protection: LdapProtection; readonly signal: AbortSignal },
) => Promise<LdapConnection>;

/** A directory's answer that is not success. */
export class LdapResult extends Error {
  override readonly name = "LdapResult";
  /** The result code, as RFC 4511 numbers them. */
  readonly code: number;

  constructor(code: number, name: string) {
    super(`${name}, result ${code}`);
    this.code = code;
  }
}

/** What a login is asked with. */
export interface LdapLoginOptions {
  readonly options: LdapOptions;
  readonly connect: LdapConnector;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
}

/** As PgBouncer's. */
const CONNECT_LIMIT_MS = 3_000;

/** A directory may have to look far. */
const ANSWER_LIMIT_MS = 5_000;

/** Of more than one entry none is the user's. */
const MAX_ENTRIES = 2;

const SIZE_LIMIT_EXCEEDED = 4;

/** protocolError, strongerAuthRequired, confidentialityRequired, busy, unavailable: not about a user. */
const NOBODYS_FAULT: readonly number[] = [2, 8, 13, 51, 52];

/** Asks about a user. The password must not be empty. It never rejects. */
export async function askLdap(
  { password, user }: { readonly user: string; readonly password: string },
  login: LdapLoginOptions,
): Promise<PasswordVerdict> {
  assert(password !== "", "A bind without a password proves nothing");
  const { bind, servers } = login.options;
  if (!isFitForLdap(user, bind.kind)) {
    return { kind: "wrong", why: "invalid character in user name for LDAP authentication" };
  }
  const problems: string[] = [];
  for (const server of servers) {
    const verdict = await new Conversation(server, login).run(user, password);
    if (verdict.kind !== "unavailable") return verdict;
    problems.push(`${server.host}:${server.port}: ${verdict.why}`);
    if (login.signal.aborted) break;
  }
  return { kind: "unavailable", why: problems.join("; ") };
}

/** What one server says. */
class Conversation {
  readonly #server: LdapServer;
  readonly #login: LdapLoginOptions;
  readonly #abort = new AbortController();
  #connection: LdapConnection | undefined;

  constructor(server: LdapServer, login: LdapLoginOptions) {
    this.#server = server;
    this.#login = login;
  }

  async run(user: string, password: string): Promise<PasswordVerdict> {
    const { signal } = this.#login;
    const onAbort = () => this.#abort.abort(new Error("the client has left"));
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
    try {
      return await this.#verdict(user, password);
    } catch (error) {
      return { kind: "unavailable", why: errorText(error) };
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#connection?.close();
      // A connection that comes too late is nobody's.
      this.#abort.abort();
    }
  }

  async #verdict(user: string, password: string): Promise<PasswordVerdict> {
    const { bind } = this.#login.options;
    if (bind.kind === "simple") return await this.#bind(entryNameOf(bind, user), password);
    const found = await this.#search(bind, user);
    const [name] = found;
    if (found.length === 1 && name !== undefined) return await this.#bind(name, password);
    // As long as for somebody who is there, as far as that is up to us.
    await this.#bind(this.#nobodyIn(bind), password);
    const what = found.length === 0 ? "does not exist" : "is not unique";
    return { kind: "wrong", why: `LDAP user "${user}" ${what}` };
  }

  /** The names that fit. On a connection of its own, so that nothing of the searcher is left over. */
  async #search(bind: LdapSearchBind, user: string): Promise<readonly string[]> {
    const connection = await this.#connect();
    const { searcher } = bind;
    const name = searcher?.dn ?? "";
    const as = `initial LDAP bind for ldapbinddn "${name}"`;
    await this.#step(as, connection.bind(name, searcher?.password.reveal() ?? ""));
    const { baseDn, scope } = bind;
    const filter = userFilterOf(bind.filter, user);
    try {
      const query = { baseDn, scope, filter, maxCount: MAX_ENTRIES };
      return await this.#step(`search for filter "${filter}"`, connection.search(query));
    } catch (error) {
      if (!(error instanceof StepError) || error.code !== SIZE_LIMIT_EXCEEDED) throw error;
      return new Array<string>(MAX_ENTRIES).fill(this.#nobodyIn(bind));
    } finally {
      connection.close();
    }
  }

  async #bind(name: string, password: string): Promise<PasswordVerdict> {
    // Without a name it would be nobody who logs in, which a directory may allow.
    if (name.trim() === "") return { kind: "wrong", why: "the entry has no name" };
    const connection = await this.#connect();
    try {
      await this.#step(`LDAP login as "${name}"`, connection.bind(name, password));
      return { kind: "right" };
    } catch (error) {
      const isRefusal = error instanceof StepError && error.code !== undefined &&
        !NOBODYS_FAULT.includes(error.code);
      if (!isRefusal) throw error;
      return { kind: "wrong", why: error.message };
    }
  }

  /** A name that no entry has. */
  #nobodyIn({ baseDn }: LdapSearchBind): string {
    const name = this.#login.random.bytes(16).toHex();
    return `cn=${name}${baseDn === "" ? "" : `,${baseDn}`}`;
  }

  async #connect(): Promise<LdapConnection> {
    const { connect, options: { protection } } = this.#login;
    const { signal } = this.#abort;
    const made = connect(this.#server, { protection, signal });
    return this.#connection = await this.#step("connecting", made, CONNECT_LIMIT_MS);
  }

  /** Waits for a step, for so long and until there is nobody who waits. */
  async #step<T>(what: string, action: Promise<T>, limitMs = ANSWER_LIMIT_MS): Promise<T> {
    const { signal } = this.#abort;
    try {
      return await within(action, { clock: this.#login.clock, limitMs, signal });
    } catch (error) {
      throw new StepError(what, error);
    }
  }
}

/** A step that failed. */
class StepError extends Error {
  /** What the directory said, if it did. */
  readonly code: number | undefined;

  constructor(what: string, cause: unknown) {
    super(`${what}: ${errorText(cause)}`);
    this.code = cause instanceof LdapResult ? cause.code : undefined;
  }
}
