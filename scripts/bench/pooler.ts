/**
 * The poolers that are compared, started with the same settings in front of the same PostgreSQL. As
 * root all run under an unprivileged uid.
 */

import { join } from "node:path";
import { GuardedDir, GuardedProcess, waitUntil } from "../guarded_process.ts";
import { freePort } from "../postgres_fixture.ts";
import { runSluice, startSluice } from "../sluice_process.ts";
import { giveTo, unprivilegedIds } from "../unprivileged.ts";

/** Which pooler: Sluice on the engine of its choice, on the portable engine, or PgBouncer. */
export type PoolerKind = "sluice" | "portable" | "pgbouncer";

/** All, in the order in which a first round runs them: next to each other what has a goal together. */
export const POOLERS: readonly PoolerKind[] = ["sluice", "pgbouncer", "portable"];

/** The user that the load logs in as, in both poolers and in PostgreSQL. */
export const USER = "bench";

/** That user's password, for the scenario that asks for one. */
export const PASSWORD = "bench-password";

/** What both poolers are told. */
export interface PoolerSettings {
  readonly serverPort: number;
  readonly poolMode: "transaction" | "session";
  readonly authType: "trust" | "scram-sha-256";
  readonly poolSize: number;
  /** What the poolers know of the user's password: PostgreSQL's own SCRAM verifier. */
  readonly verifier: string;
  readonly pgBouncer: PgBouncerProgram;
  /** Files for TLS with clients, which then is demanded; undefined = there is none. */
  readonly tls?: TlsFiles | undefined;
}

/** Paths of PEM files. */
export interface TlsFiles {
  readonly certificate: string;
  readonly key: string;
}

/** A running pooler. */
export interface RunningPooler extends AsyncDisposable {
  readonly pid: number;
  readonly port: number;
  readonly startedAtMs: number;
}

/** The PgBouncer to compare with. */
export interface PgBouncerProgram {
  readonly path: string;
  /** As it says itself: "PgBouncer 1.18.0". */
  readonly version: string;
  /** Whether clients in transaction pooling can have prepared statements, as from 1.21. */
  readonly hasPrepared: boolean;
}

/** Where Debian's package puts the program; the folder is not in every user's PATH. */
export const DEBIAN_PGBOUNCER = "/usr/sbin/pgbouncer";

const MAX_CLIENTS = 6000;

/** Starts a pooler; it accepts connections when the promise resolves. */
export async function startPooler(
  kind: PoolerKind,
  settings: PoolerSettings,
): Promise<RunningPooler> {
  if (kind === "pgbouncer") return await startPgBouncer(settings, freePort());
  return await startSluice({ config: sluiceConfig(kind, settings, 0) });
}

/** Starts a pooler and answers how long it took until it accepted a connection, in milliseconds. */
export async function startupMs(kind: PoolerKind, settings: PoolerSettings): Promise<number> {
  const port = freePort();
  const starting = kind === "pgbouncer"
    ? startPgBouncer(settings, port)
    : startSluice({ config: sluiceConfig(kind, settings, port) });
  const accepted = await waitUntil(() => accepts(port), 30_000);
  const acceptedAtMs = performance.now();
  await using pooler = await starting;
  if (!accepted) throw new Error(`${kind} accepted no connection on port ${port}`);
  return acceptedAtMs - pooler.startedAtMs;
}

async function accepts(port: number): Promise<boolean> {
  try {
    using _conn = await Deno.connect({ hostname: "127.0.0.1", port });
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) return false;
    throw error;
  }
}

/** Sluice's name and version; it names the PgBouncer that it takes after, too, and first. */
export async function sluiceVersion(): Promise<string> {
  const { stdout } = await runSluice({ args: ["--version"] });
  return /Sluice [\d.]+/.exec(stdout)?.[0] ?? stdout.trim();
}

/** Asks a PgBouncer for its version. @throws {Deno.errors.NotFound} If there is none. */
export async function pgBouncerAt(path: string): Promise<PgBouncerProgram> {
  const { stdout } = await new Deno.Command(path, { args: ["--version"] }).output();
  const version = new TextDecoder().decode(stdout).split("\n")[0] ?? "";
  const [, major, minor] = /(\d+)\.(\d+)/.exec(version) ?? [];
  return { path, version, hasPrepared: Number(major) > 1 || Number(minor) >= 21 };
}

/** Sluice's configuration, on the engine that the kind stands for. */
export function sluiceConfig(
  kind: Exclude<PoolerKind, "pgbouncer">,
  settings: PoolerSettings,
  port: number,
): string {
  const { serverPort, poolMode, authType, poolSize, verifier } = settings;
  const tls = tlsLines(settings.tls, (path) => `"${path}"`);
  return `[pooler]
io_engine = "${kind === "portable" ? "portable" : "auto"}"
listen_addr = "127.0.0.1"
listen_port = ${port}
unix_socket_dir = ""
auth_type = "${authType}"
stats_users = "${USER}"
pool_mode = "${poolMode}"
default_pool_size = ${poolSize}
max_client_conn = ${MAX_CLIENTS}
${tls}
[databases."*"]
host = "127.0.0.1"
port = ${serverPort}

[users.${USER}]
password = "${verifier}"
`;
}

function pgBouncerConfig(settings: PoolerSettings, port: number, dir: string): string {
  const { serverPort, poolMode, authType, poolSize } = settings;
  return `[databases]
* = host=127.0.0.1 port=${serverPort}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = ${authType}
stats_users = ${USER}
auth_file = ${join(dir, "users.txt")}
pool_mode = ${poolMode}
default_pool_size = ${poolSize}
max_client_conn = ${MAX_CLIENTS}
${tlsLines(settings.tls, (path) => path)}`;
}

/** The same names in both configurations. */
function tlsLines(tls: TlsFiles | undefined, quoted: (path: string) => string): string {
  if (tls === undefined) return "";
  const mode = quoted("require");
  return `client_tls_sslmode = ${mode}
client_tls_cert_file = ${quoted(tls.certificate)}
client_tls_key_file = ${quoted(tls.key)}
`;
}

async function startPgBouncer(settings: PoolerSettings, port: number): Promise<RunningPooler> {
  const ids = unprivilegedIds();
  const dir = await GuardedDir.make("pgbouncer-", ids);
  const configPath = join(dir.path, "pgbouncer.ini");
  const usersPath = join(dir.path, "users.txt");
  await Deno.writeTextFile(configPath, pgBouncerConfig(settings, port, dir.path));
  await Deno.writeTextFile(usersPath, `"${USER}" "${settings.verifier}"\n`, { mode: 0o600 });
  for (const path of [configPath, usersPath]) await giveTo(ids, path);
  // Unlike Deno, PgBouncer does not raise its limit of open files by itself.
  const command = 'ulimit -n "$(ulimit -Hn)"; exec "$@"';
  const child = await GuardedProcess.start({
    command: "/bin/sh",
    args: ["-c", command, "sh", settings.pgBouncer.path, configPath],
    dir,
    ids,
  });
  const isUp = () => child.hasEnded || child.log().includes("process up");
  if (!(await waitUntil(isUp, 30_000)) || child.hasEnded) {
    throw new Error(`PgBouncer did not come up:\n${child.log()}`);
  }
  return {
    pid: child.pid,
    port,
    startedAtMs: child.startedAtMs,
    async [Symbol.asyncDispose]() {
      await child.stop("SIGTERM");
      await dir[Symbol.asyncDispose]();
    },
  };
}
