/** An LDAP directory in memory, behind the interface that logins talk to one by. */

import {
  type LdapConnection,
  type LdapConnector,
  type LdapQuery,
  LdapResult,
} from "../../src/auth/ldap_login.ts";

/** What a server does when somebody connects, or asks for a bind. */
export type DirectoryMood = "well" | "refuses" | "silent" | "silent after connecting";

/** Entries with passwords, found by exact filters alone. */
export class FakeDirectory {
  /** Names of entries and their passwords. */
  readonly passwords: Map<string, string>;
  /** Filters and the names that they find. */
  readonly found: Map<string, readonly string[]>;
  /** By host; "well" unless it is said. */
  readonly moods = new Map<string, DirectoryMood>();
  /** All that was asked, in order; of binds the name and whether it was right. */
  readonly asked: string[] = [];
  /** What binds are answered with in place of success; a result code. */
  bindResult = 0;
  openCount = 0;
  /** Connections, of which each was closed in the end. */
  connectionCount = 0;

  constructor(
    { found = {}, passwords = {} }: {
      passwords?: Record<string, string>;
      found?: Record<string, readonly string[]>;
    },
  ) {
    this.passwords = new Map(Object.entries(passwords));
    this.found = new Map(Object.entries(found));
  }

  /** Connects to it. */
  readonly connect: LdapConnector = async (server, { protection, signal }) => {
    const mood = this.moods.get(server.host) ?? "well";
    this.asked.push(`connect ${server.host}:${server.port} ${protection}`);
    if (mood === "refuses") throw new Error("connection refused");
    if (mood === "silent") await never(signal);
    this.connectionCount += 1;
    this.openCount += 1;
    let isOpen = true;
    const close = () => {
      if (isOpen) this.openCount -= 1;
      isOpen = false;
    };
    signal.addEventListener("abort", close);
    return {
      bind: (name, password) => this.#bind(name, password, { mood, signal }),
      search: (query) => this.#search(query),
      close,
    } satisfies LdapConnection;
  };

  async #bind(
    name: string,
    password: string,
    { mood, signal }: { mood: DirectoryMood; signal: AbortSignal },
  ): Promise<void> {
    const isRight = name === "" ? password === "" : this.passwords.get(name) === password;
    const isKnown = name === "" || this.passwords.has(name);
    this.asked.push(`bind ${isKnown ? name : "somebody unknown"} ${isRight ? "right" : "wrong"}`);
    if (mood === "silent after connecting") await never(signal);
    if (this.bindResult !== 0) throw new LdapResult(this.bindResult, "Trouble");
    if (!isRight) throw new LdapResult(49, "InvalidCredentials");
  }

  async #search({ filter, maxCount }: LdapQuery): Promise<readonly string[]> {
    this.asked.push(`search ${filter}`);
    const names = this.found.get(filter) ?? [];
    await Promise.resolve();
    if (names.length > maxCount) throw new LdapResult(4, "SizeLimitExceeded");
    return names;
  }
}

function never(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}
