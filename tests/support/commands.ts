/** The programs people use with a pooler, run to their end: `psql` and `pgbench`. */

import type { Ids } from "../../scripts/unprivileged.ts";

/** Whom to connect to, and as whom. */
export interface CommandTarget {
  /** Default: 127.0.0.1. */
  readonly host?: string;
  readonly port: number;
  readonly user: string;
  readonly database?: string;
  readonly password?: string;
  /** Whom to run it as; default: this user. */
  readonly ids?: Ids | undefined;
}

/** What a program left. */
export interface CommandOutput {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one command of `psql`: rows as `a|b`, without headings; errors with their SQLSTATE. */
export async function psql(target: CommandTarget, sql: string): Promise<CommandOutput> {
  const options = ["-X", "-A", "-t", "-v", "VERBOSITY=verbose", "-v", "ON_ERROR_STOP=1"];
  return await run("psql", [...options, "-c", sql], target);
}

/** Runs `psql` with arguments of the test's choice. */
export async function psqlWith(
  target: CommandTarget,
  args: readonly string[],
): Promise<CommandOutput> {
  return await run("psql", ["-X", ...args], target);
}

/** Runs `pgbench`. */
export async function pgbench(
  target: CommandTarget,
  args: readonly string[],
): Promise<CommandOutput> {
  return await run("pgbench", args, target);
}

async function run(
  program: string,
  args: readonly string[],
  target: CommandTarget,
): Promise<CommandOutput> {
  const { database = "postgres", host = "127.0.0.1", ids, password, port, user } = target;
  const env: Record<string, string> = {
    PGHOST: host,
    PGPORT: String(port),
    PGUSER: user,
    PGDATABASE: database,
    PGSSLMODE: "disable",
    PGGSSENCMODE: "disable",
    PGCONNECT_TIMEOUT: "20",
    LC_ALL: "C",
    PATH: Deno.env.get("PATH") ?? "",
    ...(password === undefined ? {} : { PGPASSWORD: password }),
  };
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    env,
    clearEnv: true,
    cwd: "/",
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    ...(ids ?? {}),
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}
