/** The command line: PgBouncer's options, and the commands `check`, `console`, `convert` and `hba`. Pure. */

// @ts-types="../std_flags.d.ts"
import { parseArgs } from "@std/flags";
import { type HbaQuestion, isAddress } from "./hba_report.ts";

/** What the command line asks for. */
export type Invocation =
  | { readonly kind: "help" }
  | { readonly kind: "version" }
  | {
    readonly kind: "check";
    readonly path: string;
    /** Whether to say what a reload would change in the Sluice that runs. */
    readonly isDiff: boolean;
  }
  | { readonly kind: "convert"; readonly path: string }
  /** Have the Sluice that runs carry out a command of its console. */
  | { readonly kind: "console"; readonly path: string; readonly command: string }
  | { readonly kind: "hba"; readonly path: string; readonly question: HbaQuestion }
  | { readonly kind: "usage_error"; readonly message: string }
  | RunInvocation;

/** Run the pooler. */
export interface RunInvocation {
  readonly kind: "run";
  readonly path: string;
  readonly isDaemon: boolean;
  readonly isQuiet: boolean;
  /** How often -v was given. */
  readonly verbosity: number;
  readonly user: string | undefined;
}

/** What `--help` prints. */
export const USAGE = `Usage: sluice [OPTION]... CONFIG
       sluice check [--diff] CONFIG
       sluice console CONFIG COMMAND
       sluice convert FILE.ini
       sluice hba CONFIG --user=USER --database=NAME [--address=IP] [--tls] [--replication]

CONFIG is a TOML file, or a pgbouncer.ini as it is.

  -d, --daemon         run in the background (needs logfile or syslog)
  -q, --quiet          no log on standard error
  -v, --verbose        more in the log; may be repeated
  -u, --user=USER      become USER when started as root
  -V, --version        show the version and exit
  -h, --help           show this and exit

  check CONFIG         say what is wrong with CONFIG, or what Sluice would do with it
  check --diff CONFIG  say what RELOAD would change in the Sluice that runs with CONFIG
  console CONFIG COMMAND
                       run COMMAND in the console of the Sluice that runs with CONFIG, over its unix
                       socket, as the user that it runs as; words may be quoted or not
  convert FILE.ini     print FILE.ini as TOML
  hba CONFIG ...       say which line of auth_hba_file decides about a connection, and why those
                       before it do not match; without --address, one over the unix socket. Status
                       1: nobody is let in
`;

const NO_ONLINE_RESTART =
  "-R (--reboot) is not supported: for a restart without an interruption, start a second Sluice " +
  "beside the first, then end the first with SIGTERM (rolling restart; both on one port with " +
  "so_reuseport)";

const FLAGS = {
  daemon: "d",
  quiet: "q",
  verbose: "v",
  version: "V",
  help: "h",
  diff: [],
  tls: [],
  replication: [],
  reboot: "R",
} as const;

/** Reads the command line. */
export function readArguments(args: readonly string[]): Invocation {
  const unknown: string[] = [];
  const parsed = parseArgs([...args], {
    boolean: Object.keys(FLAGS),
    string: ["user", "database", "address"],
    alias: { ...FLAGS, user: "u" },
    collect: ["verbose"],
    unknown: (argument) => {
      if (argument.startsWith("-")) unknown.push(argument);
      return !argument.startsWith("-");
    },
  });
  const words = parsed._.map(String);
  if (parsed["help"] === true) return { kind: "help" };
  if (parsed["version"] === true) return { kind: "version" };
  if (unknown.length > 0) return usageError(`Unknown option ${unknown.join(", ")}`);
  if (parsed["user"] === "") return usageError("-u takes the name of a user");
  if (parsed["reboot"] === true) return usageError(NO_ONLINE_RESTART);
  const [first, second] = words;
  const isDiff = parsed["diff"] === true;
  if (isDiff && first !== "check") return usageError("--diff goes with check only");
  if (first === "hba") return readHba(parsed, words);
  const stray = ["database", "address", "tls", "replication"].find((name) => {
    return parsed[name] !== undefined && parsed[name] !== false;
  });
  if (stray !== undefined) return usageError(`--${stray} goes with hba only`);
  if (first === "check" || first === "convert") {
    if (words.length !== 2) return usageError(`${first} takes one file`);
    const path = second!;
    return first === "check" ? { kind: first, path, isDiff } : { kind: first, path };
  }
  if (first === "console") {
    if (second === undefined || words.length < 3) {
      return usageError("console takes a configuration file and a command");
    }
    return { kind: "console", path: second, command: words.slice(2).join(" ") };
  }
  if (words.length !== 1) return usageError("One configuration file is needed");
  return {
    kind: "run",
    path: first!,
    isDaemon: parsed["daemon"] === true,
    isQuiet: parsed["quiet"] === true,
    verbosity: countOf(parsed["verbose"]),
    user: typeof parsed["user"] === "string" ? parsed["user"] : undefined,
  };
}

function readHba(
  { address, database, replication, tls, user }: Readonly<Record<string, unknown>>,
  words: readonly string[],
): Invocation {
  if (words.length !== 2) return usageError("hba takes one configuration file");
  if (typeof user !== "string") return usageError("hba needs --user");
  if (typeof database !== "string" || database === "") return usageError("hba needs --database");
  const host = typeof address === "string" ? address : undefined;
  if (host !== undefined && !isAddress(host)) return usageError("--address takes an IP address");
  if (host === undefined && tls === true) return usageError("--tls goes with --address only");
  const isReplication = replication === true;
  const question = { user, database, address: host, isTls: tls === true, isReplication };
  return { kind: "hba", path: words[1]!, question };
}

function countOf(flag: unknown): number {
  return Array.isArray(flag) ? flag.filter(Boolean).length : flag === true ? 1 : 0;
}

function usageError(message: string): Invocation {
  return { kind: "usage_error", message };
}
