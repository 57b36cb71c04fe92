/**
 * A temporary PostgreSQL for tests, demo and benchmark: a fresh cluster in a folder that is removed at the
 * end, whatever the end. Not for data anybody wants to keep: it does not wait for the disk.
 *
 * As root the server runs under an unprivileged uid. `port` stays the same over `restart()`.
 */

import { join } from "node:path";
// @ts-types="@types/pg"
import pg from "pg";
import { cached, nameOfFile, pruneCache } from "./cache_dir.ts";
import { giveTo, unprivilegedIds } from "./unprivileged.ts";
import type { Ids } from "./unprivileged.ts";
import { GuardedDir, GuardedProcess, waitUntil } from "./guarded_process.ts";
import { postgresBin } from "./embedded_postgres.ts";
import type { Flavour } from "./embedded_postgres.ts";

/** How long a start may take on a busy machine. */
const START_TIMEOUT_MS = 60_000;

/** A port that was free may be taken before PostgreSQL has it; then another is tried. */
const PORT_ATTEMPTS = 5;

/** Where it listens, unless it is in a namespace. */
const LOOPBACK = "127.0.0.1";

/** How a client over TCP has to log in; over the unix socket nobody needs a password. */
export type HostAuth = "scram-sha-256" | "md5" | "password" | "trust";

/** How to stop: wait for the clients, end them, or end everything at once. */
export type StopMode = "smart" | "fast" | "immediate";

/** What kind of PostgreSQL to start. */
export interface PostgresOptions {
  /** Default `embedded`. */
  readonly flavour?: Flavour;
  /** Default `scram-sha-256`. */
  readonly auth?: HostAuth;
  /** Lines for postgresql.conf, after the fixture's own. */
  readonly conf?: readonly string[];
  /** Lines for pg_hba.conf, before the fixture's own. */
  readonly hba?: readonly string[];
  /** The network namespace to run it in, and its address there; this needs root. */
  readonly netns?: { readonly name: string; readonly address: string } | undefined;
}

/** One result row by column name. */
export type Row = Readonly<Record<string, unknown>>;

/** Signals that PostgreSQL's postmaster takes for the three ways to stop. */
const STOP_SIGNALS: Readonly<Record<StopMode, Deno.Signal>> = {
  smart: "SIGTERM",
  fast: "SIGINT",
  immediate: "SIGQUIT",
};

/** Makes a cluster and starts it; it accepts connections when the promise resolves. */
export async function startPostgres(options: PostgresOptions = {}): Promise<Postgres> {
  await using started = new AsyncDisposableStack();
  const postgres = started.use(await startCopy(options));
  await postgres.sql(`alter role ${postgres.superuser} password '${postgres.password}'`);
  started.move();
  return postgres;
}

/** Starts a copy of a fresh cluster, whose superuser does not have his password yet. */
async function startCopy(options: PostgresOptions): Promise<Postgres> {
  const bin = await postgresBin(options.flavour ?? "embedded");
  const ids = unprivilegedIds();
  const dir = await GuardedDir.make("sluice-pg-", ids);
  const password = crypto.randomUUID();
  try {
    await fillCluster({ bin, dir: dir.path, ids, options });
    const { address: host = LOOPBACK, name: netns } = options.netns ?? {};
    return await Postgres.start({ bin, dir, ids, password, host, netns });
  } catch (error) {
    await dir[Symbol.asyncDispose]();
    throw error;
  }
}

/**
 * Makes a standby of a running server and starts it, at the same port of another address of the
 * loopback network. Needs a flavour with `pg_basebackup`.
 */
export async function startStandby(primary: Postgres, host: string): Promise<Postgres> {
  const { bin, ids, password } = primary.cluster;
  const dir = await GuardedDir.make("sluice-pg-", ids);
  try {
    const data = join(dir.path, "data");
    const source = `host=${primary.socketDir} port=${primary.port} user=${primary.superuser}`;
    await run(join(bin, "pg_basebackup"), {
      args: ["-D", data, "-R", "-d", source, "--checkpoint=fast", "--no-sync", "-X", "stream"],
      dir: dir.path,
      ids,
    });
    const own = `listen_addresses = '${host}'\nunix_socket_directories = '${dir.path}'\n`;
    await Deno.writeTextFile(join(data, "postgresql.conf"), own, { append: true });
    return await Postgres.start({ bin, dir, ids, password, host }, primary.port);
  } catch (error) {
    await dir[Symbol.asyncDispose]();
    throw error;
  }
}

/** What is the same over restarts. */
interface Cluster {
  readonly bin: string;
  readonly dir: GuardedDir;
  readonly ids: Ids | undefined;
  readonly password: string;
  readonly host: string;
  /** The network namespace that it runs in. */
  readonly netns?: string | undefined;
}

/** A running PostgreSQL. */
export class Postgres implements AsyncDisposable {
  /** Where it listens, for TCP. */
  readonly host: string;
  /** The TCP port, which is also the unix socket's suffix. */
  readonly port: number;
  /** The superuser's name. */
  readonly superuser = "postgres";
  /** The superuser's password. */
  readonly password: string;
  /** The folder of the unix socket; there no password is asked for. */
  readonly socketDir: string;
  /** For those that are made from it. */
  readonly cluster: Cluster;
  #process: GuardedProcess | undefined;

  private constructor(cluster: Cluster, port: number, process: GuardedProcess) {
    this.cluster = cluster;
    this.host = cluster.host;
    this.#process = process;
    this.port = port;
    this.password = cluster.password;
    this.socketDir = cluster.dir.path;
  }

  /** Starts a cluster, on a free port unless one is given; use `startPostgres()`. */
  static async start(cluster: Cluster, wanted?: number): Promise<Postgres> {
    for (let attempt = 1;; attempt++) {
      const port = wanted ?? freePort();
      const process = await spawnServer(cluster, port);
      if (await isReady(process, cluster, port)) return new Postgres(cluster, port, process);
      if (
        attempt === PORT_ATTEMPTS || wanted !== undefined ||
        !/could not bind|Address already in use/.test(process.log())
      ) {
        throw new Error(`PostgreSQL did not start:\n${process.log()}`);
      }
    }
  }

  /** Process id of the postmaster. @throws {Error} If it is stopped. */
  get pid(): number {
    if (this.#process === undefined) throw new Error("PostgreSQL is stopped");
    return this.#process.pid;
  }

  /** What it has logged since the cluster was made. */
  log(): string {
    return this.#process?.log() ?? "";
  }

  /** A URL for the superuser over TCP, password included. */
  url(database = "postgres"): string {
    return `postgres://${this.superuser}:${this.password}@${this.host}:${this.port}/${database}`;
  }

  /** Runs one or more statements as superuser and answers the rows of the last one. */
  async sql(text: string, database = "postgres"): Promise<Row[]> {
    const client = new pg.Client({
      host: this.socketDir,
      port: this.port,
      user: this.superuser,
      database,
    });
    await client.connect();
    try {
      const results: unknown = await client.query(text);
      const last: unknown = Array.isArray(results) ? results.at(-1) : results;
      return (last as { rows: Row[] }).rows;
    } finally {
      await client.end();
    }
  }

  /** Stops the server; the cluster stays until the fixture is disposed. */
  async stop(mode: StopMode = "fast"): Promise<void> {
    const process = this.#process;
    this.#process = undefined;
    await process?.stop(STOP_SIGNALS[mode], START_TIMEOUT_MS);
  }

  /** Ends the server at once, as a crash would: clients see their connection break. */
  async kill(): Promise<void> {
    await this.stop("immediate");
  }

  /** Starts the server again, after stopping it if it runs, on the same port. */
  async restart(mode: StopMode = "fast"): Promise<void> {
    await this.stop(mode);
    const process = await spawnServer(this.cluster, this.port);
    if (!(await isReady(process, this.cluster, this.port))) {
      throw new Error(`PostgreSQL did not start again:\n${process.log()}`);
    }
    this.#process = process;
  }

  /** Stops the server and removes the cluster. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.stop("immediate");
    } finally {
      await this.cluster.dir[Symbol.asyncDispose]();
    }
  }
}

/** What `fillCluster` needs. */
interface FillOptions {
  readonly bin: string;
  readonly dir: string;
  readonly ids: Ids | undefined;
  readonly options: PostgresOptions;
}

/** Copies what initdb made once, and writes the configuration. */
async function fillCluster({ bin, dir, ids, options }: FillOptions): Promise<void> {
  const data = join(dir, "data");
  await run("cp", { args: ["-Rp", await freshCluster(bin, ids), data], dir, ids });
  await Deno.writeTextFile(join(data, "postgresql.conf"), conf(dir, options));
  await Deno.writeTextFile(join(data, "pg_hba.conf"), hba(options));
}

/**
 * A cluster as initdb leaves it, whose superuser has no password. It is kept, for as long as the same
 * PostgreSQL is there: making one takes ten times as long as copying it.
 */
async function freshCluster(bin: string, ids: Ids | undefined): Promise<string> {
  const key = await nameOfFile(join(bin, "postgres"), String(ids?.uid));
  const folder = await cached(`cluster-${key}`, async (building) => {
    await giveTo(ids, building);
    const args = [
      ...["-D", join(building, "data"), "-U", "postgres", "-E", "UTF8", "--locale=C"],
      ...["--no-sync", "--auth=trust", "--wal-segsize=1"], // MB: 16 would make up half of what is copied.
    ];
    await run(join(bin, "initdb"), { args, dir: building, ids });
  });
  await pruneCache("cluster-");
  return join(folder, "data");
}

/** Runs a program to its end. @throws {Error} With what it said, if it failed. */
async function run(
  program: string,
  { args, dir, ids }: { args: readonly string[]; dir: string; ids: Ids | undefined },
): Promise<void> {
  const { success, stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    cwd: dir,
    stdout: "piped",
    stderr: "piped",
    ...(ids ?? {}),
  }).output();
  if (success) return;
  const text = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
  throw new Error(`${program} failed:\n${text}`);
}

/** postgresql.conf: no waiting for the disk, the socket in our folder, messages in English. */
function conf(dir: string, options: PostgresOptions): string {
  const lines = [
    `listen_addresses = '${options.netns === undefined ? LOOPBACK : "*"}'`,
    `unix_socket_directories = '${dir}'`,
    "fsync = off",
    "synchronous_commit = off",
    "full_page_writes = off",
    "max_wal_size = '256MB'",
    "timezone = 'UTC'",
    "log_timezone = 'UTC'",
    `password_encryption = '${options.auth === "md5" ? "md5" : "scram-sha-256"}'`,
    ...(options.conf ?? []),
  ];
  return lines.join("\n") + "\n";
}

/** pg_hba.conf: over TCP as asked, over the unix socket without a password. */
function hba(options: PostgresOptions): string {
  const method = options.auth ?? "scram-sha-256";
  const lines = [
    ...(options.hba ?? []),
    "local all all trust",
    "local replication all trust",
    `host all all 127.0.0.1/32 ${method}`,
    `host replication all 127.0.0.1/32 ${method}`,
    ...(options.netns === undefined ? [] : [`host all all samenet ${method}`]),
  ];
  return lines.join("\n") + "\n";
}

async function spawnServer(
  { bin, dir, ids, netns }: Cluster,
  port: number,
): Promise<GuardedProcess> {
  return await GuardedProcess.start({
    command: join(bin, "postgres"),
    args: ["-D", join(dir.path, "data"), "-p", String(port)],
    dir,
    ids,
    logName: "postgres.log",
    netns,
  });
}

/** Waits until a login works; answers false when the server ended instead. */
async function isReady(process: GuardedProcess, cluster: Cluster, port: number): Promise<boolean> {
  const canAnswer = await waitUntil(
    async () => process.hasEnded || await canLogIn(cluster, port),
    START_TIMEOUT_MS,
  );
  return canAnswer && !process.hasEnded;
}

/** Whether a login as superuser works now, over the unix socket, which only this cluster can have. */
async function canLogIn({ dir }: Cluster, port: number): Promise<boolean> {
  const client = new pg.Client({ host: dir.path, port, user: "postgres", database: "postgres" });
  try {
    await client.connect();
  } catch {
    return false; // Not yet; the caller asks again until its limit.
  }
  await client.end();
  return true;
}

/** A TCP port that is free now on the loopback address. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
