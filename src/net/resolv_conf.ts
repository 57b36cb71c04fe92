/**
 * The file that says which name service to ask, and for what names. Pure.
 * Source: resolv.conf(5). What else may be in it (`sortlist`, most options) is passed over, as there.
 */

import { peerIp } from "../base/ip_address.ts";

/** What such a file says. */
export interface ResolvConf {
  /** Addresses, in the order in which they are asked; with a port where IPv6 needs brackets for it. */
  readonly nameServers: readonly string[];
  /** Domains that are tried behind a name. */
  readonly search: readonly string[];
  /** A name with so many dots is tried as it is first. */
  readonly minDots: number;
  /** How long an answer is waited for, and how often it is asked for. */
  readonly timeoutMs: number;
  readonly attempts: number;
}

/** Where the file says nothing of it, or nothing that could be used. */
const DEFAULTS = { minDots: 1, timeoutSeconds: 5, attempts: 2 } as const;

/** The least and the greatest that is taken of a file, as in resolv.conf(5). */
const LIMITS = { minDots: [0, 15], timeoutSeconds: [1, 30], attempts: [1, 5] } as const;

/** As many as are asked, as in resolv.conf(5). */
const MAX_NAME_SERVERS = 3;

/** Where there is none in the file. */
const LOCAL_NAME_SERVER = "127.0.0.1";

/** Reads the file. */
export function readResolvConf(text: string): ResolvConf {
  const nameServers: string[] = [];
  let search: readonly string[] = [];
  const numbers = { ...DEFAULTS } as Record<keyof typeof DEFAULTS, number>;
  for (const line of text.split("\n")) {
    if (/^[;#]/.test(line)) continue;
    const [word = "", ...rest] = line.trim().split(/\s+/);
    switch (word) {
      case "nameserver":
        if (peerIp(rest[0] ?? "") !== undefined) nameServers.push(rest[0]!);
        break;
      case "domain":
        search = rest.slice(0, 1);
        break;
      case "search":
        // The last one counts.
        search = rest.map((name) => name.replace(/\.$/, "")).filter((name) => name !== "");
        break;
      case "options":
        for (const option of rest) readOption(option, numbers);
    }
  }
  const { attempts, minDots, timeoutSeconds } = numbers;
  if (nameServers.length === 0) nameServers.push(LOCAL_NAME_SERVER);
  const asked = nameServers.slice(0, MAX_NAME_SERVERS);
  return { nameServers: asked, search, minDots, attempts, timeoutMs: timeoutSeconds * 1000 };
}

/** Names of options, and what they set. */
const OPTIONS: ReadonlyMap<string, keyof typeof DEFAULTS> = new Map([
  ["ndots", "minDots"],
  ["timeout", "timeoutSeconds"],
  ["attempts", "attempts"],
]);

function readOption(option: string, numbers: Record<keyof typeof DEFAULTS, number>): void {
  const [, name = "", digits = ""] = /^([a-z]+):(\d+)$/.exec(option) ?? [];
  const key = OPTIONS.get(name);
  if (key === undefined) return;
  const [least, most] = LIMITS[key];
  numbers[key] = Math.min(Math.max(Number(digits), least), most);
}

/** The names to ask for in place of one, in their order. */
export function candidateNames(
  name: string,
  { minDots, search }: Pick<ResolvConf, "minDots" | "search">,
): string[] {
  if (name.endsWith(".")) return [name];
  const longer = search.map((domain) => `${name}.${domain}`);
  const dots = name.split(".").length - 1;
  return dots >= minDots ? [name, ...longer] : [...longer, name];
}
