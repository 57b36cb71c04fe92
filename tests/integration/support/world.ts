/**
 * What an integration test works in: Sluice as a process of its own in front of a PostgreSQL that the
 * tests of one file share, and a role (with a schema of the same name) that this test has alone. So
 * the servers of a test can be told from all others by their role.
 *
 * Servers are looked at on PostgreSQL itself, not through Sluice: what Sluice believes is not proof.
 */

// @ts-types="@types/pg"
import pg from "pg";
import { waitUntil } from "../../../scripts/guarded_process.ts";
import type { Postgres, Row } from "../../../scripts/postgres_fixture.ts";
import { type SluiceProcess, startSluice } from "../../support/pooler_process.ts";
import { type LoginOptions, TestClient } from "../../support/test_client.ts";

/** Longest wait for anything that has to come; a busy machine may need a part of it. */
const WAIT_LIMIT_MS = 15_000;

/** Longest life of a world: then Sluice is killed, and a test that hangs fails. */
const LIFE_LIMIT_MS = 25_000;

/** The only database; every world has its own role in it. */
const DATABASE = "postgres";

/** One section of the configuration. */
export type Section = Readonly<Record<string, string | number | boolean>>;

/** Who looks at the console; nobody else may. */
const WATCHER = "watcher";

/** How Sluice is set up, beyond what a world sets itself. */
export interface WorldOptions {
  /** For `[pooler]`. */
  readonly pooler?: Section;
  /** For the database's section. */
  readonly database?: Section;
  /** For the section of the world's user. */
  readonly user?: Section;
  /** For further databases, by name. */
  readonly databases?: Readonly<Record<string, Section>>;
}

/** A server of the world's, as PostgreSQL sees it. */
export interface Backend {
  readonly pid: number;
  /** As pg_stat_activity names it: `active`, `idle`, `idle in transaction`, … */
  readonly state: string;
  readonly query: string;
  readonly applicationName: string;
}

/** The pool of the world's user, as SHOW POOLS has it: how many clients and servers in each state. */
export type PoolCounts = Readonly<Record<string, number>>;

/** What may be given to `connect()`. */
export type ConnectOptions = Partial<LoginOptions>;

/** A world in which all clients take turns on so many servers. */
export function sharedWorld(
  postgres: Postgres,
  poolSize: number,
  pooler: Section = {},
): Promise<World> {
  return startWorld(postgres, {
    pooler: {
      ...{ pool_mode: "transaction", default_pool_size: poolSize, server_round_robin: true },
      ...pooler,
    },
  });
}

/** Starts Sluice in front of PostgreSQL; it accepts connections when the promise resolves. */
export async function startWorld(postgres: Postgres, options: WorldOptions = {}): Promise<World> {
  await using started = new AsyncDisposableStack();
  const user = `u_${crypto.randomUUID().slice(0, 8)}`;
  const password = crypto.randomUUID();
  const observer = new pg.Client({
    host: postgres.socketDir,
    port: postgres.port,
    user: postgres.superuser,
    database: DATABASE,
  });
  await observer.connect();
  started.defer(() => observer.end());
  await observer.query(
    `create role ${user} login password '${password}'; create schema authorization ${user}`,
  );
  const config = configText({ postgres, user, password, options });
  const sluice = started.use(await startSluice({ config }));
  return new World({ postgres, sluice, user, password, observer, resources: started.move() });
}

function configText(
  { postgres, user, password, options }: {
    postgres: Postgres;
    user: string;
    password: string;
    options: WorldOptions;
  },
): string {
  const pooler = {
    listen_addr: "127.0.0.1",
    listen_port: 0,
    unix_socket_dir: "",
    auth_type: "trust",
    stats_users: WATCHER,
    server_tls_sslmode: "disable",
    ...options.pooler,
  };
  const database = { host: postgres.host, port: postgres.port, ...options.database };
  const others = Object.entries(options.databases ?? {});
  return [
    section("pooler", pooler),
    section(`databases.${DATABASE}`, database),
    ...others.map(([name, own]) => section(`databases.${name}`, { ...database, ...own })),
    section(`users.${user}`, { password, ...options.user }),
    section(`users.${WATCHER}`, { password }),
  ].join("\n");
}

function section(name: string, values: Section): string {
  const lines = Object.entries(values).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  return `[${name}]\n${lines.join("\n")}\n`;
}

/** What a world is made of. */
interface WorldParts {
  readonly postgres: Postgres;
  readonly sluice: SluiceProcess;
  readonly user: string;
  readonly password: string;
  readonly observer: pg.Client;
  readonly resources: AsyncDisposableStack;
}

/** Sluice, its PostgreSQL and the verbs of a test. */
export class World implements AsyncDisposable {
  readonly postgres: Postgres;
  readonly sluice: SluiceProcess;
  /** The role; its schema has the same name and is the first in its search path. */
  readonly user: string;
  readonly password: string;
  readonly database = DATABASE;
  readonly #observer: pg.Client;
  readonly #resources: AsyncDisposableStack;
  readonly #clients: TestClient[] = [];
  #console: pg.Client | undefined;

  /** Use `startWorld()`. */
  constructor(parts: WorldParts) {
    this.postgres = parts.postgres;
    this.sluice = parts.sluice;
    this.user = parts.user;
    this.password = parts.password;
    this.#observer = parts.observer;
    this.#resources = parts.resources;
    const watchdog = setTimeout(() => parts.sluice.signal("SIGKILL"), LIFE_LIMIT_MS);
    this.#resources.defer(() => clearTimeout(watchdog));
  }

  /** For `new pg.Client()`. */
  get driverOptions() {
    const { database, password, user } = this;
    return { host: "127.0.0.1", port: this.sluice.port, user, password, database };
  }

  /** What libpq's programs need to reach PostgreSQL itself, as the same role. */
  get directLibpqEnv(): Record<string, string> {
    const { port, socketDir } = this.postgres;
    return { ...this.libpqEnv, PGHOST: socketDir, PGPORT: String(port) };
  }

  /** What libpq's programs need to reach Sluice. */
  get libpqEnv(): Record<string, string> {
    return {
      PGHOST: "127.0.0.1",
      PGPORT: String(this.sluice.port),
      PGUSER: this.user,
      PGPASSWORD: this.password,
      PGDATABASE: this.database,
    };
  }

  /** A connection to Sluice on which nothing was said yet; it is closed with the world. */
  async open(): Promise<TestClient> {
    const client = await TestClient.connect({ hostname: "127.0.0.1", port: this.sluice.port });
    this.#clients.push(client);
    return client;
  }

  /** A client of Sluice that has logged in; it is closed with the world. */
  async connect(options: ConnectOptions = {}): Promise<TestClient> {
    const client = await this.open();
    const { database, password, user } = this;
    await client.login({ user, database, password, ...options });
    return client;
  }

  /** Several clients, logged in one after the other. */
  async connectMany(count: number): Promise<TestClient[]> {
    const clients: TestClient[] = [];
    for (let i = 0; i < count; i++) clients.push(await this.connect());
    return clients;
  }

  /** Has so many servers opened, by as many clients in transactions at once. */
  async openServers(count: number): Promise<void> {
    const clients = await this.connectMany(count);
    for (const client of clients) await client.query("begin");
    for (const client of clients) await client.query("commit");
  }

  /** A client of `npm:pg`, connected through Sluice; it is ended with the world. */
  async driver(options: pg.ClientConfig = {}): Promise<pg.Client> {
    const client = new pg.Client({ ...this.driverOptions, ...options });
    // Without a listener the loss of a connection would end the test's process.
    client.on("error", () => {});
    await client.connect();
    this.#resources.defer(() => client.end());
    return client;
  }

  /** The counts of the world's pool, as Sluice's console shows them; all absent before there is one. */
  async pool(): Promise<PoolCounts> {
    this.#console ??= await this.driver({ user: WATCHER, database: "pgbouncer" });
    const { rows } = await this.#console.query<Record<string, unknown>>("show pools");
    const row = rows.find((row) => row["user"] === this.user) ?? {};
    return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, Number(value)]));
  }

  /** Waits until the counts of the pool are as given. */
  async untilPool(counts: PoolCounts): Promise<void> {
    await until(`a pool with ${JSON.stringify(counts)}`, async () => {
      const pool = await this.pool();
      return Object.entries(counts).every(([name, count]) => pool[name] === count);
    });
  }

  /** Waits until so many clients wait for a server. */
  async untilWaiting(count: number): Promise<void> {
    await this.untilPool({ cl_waiting: count });
  }

  /** Makes a gate, closed. */
  async gate(): Promise<Gate> {
    const key = crypto.getRandomValues(new Int32Array(1))[0]!;
    await this.direct(`select pg_advisory_lock(${key})`);
    return new Gate(key, async () => {
      await this.direct(`select pg_advisory_unlock(${key})`);
    });
  }

  /** Runs statements as superuser on PostgreSQL itself and answers the rows of the last one. */
  async direct(text: string): Promise<Row[]> {
    const results: unknown = await this.#observer.query(text);
    const last: unknown = Array.isArray(results) ? results.at(-1) : results;
    return (last as { rows: Row[] }).rows;
  }

  /** The servers that PostgreSQL has for this world, oldest first. */
  async backends(): Promise<Backend[]> {
    const rows = await this.direct(
      `select pid, coalesce(state, 'starting') as state, query, application_name
       from pg_stat_activity where usename = '${this.user}' order by backend_start`,
    );
    return rows.map((row) => ({
      pid: Number(row["pid"]),
      state: String(row["state"]),
      query: String(row["query"]),
      applicationName: String(row["application_name"]),
    }));
  }

  /** Process ids of the servers, oldest first. */
  async backendPids(): Promise<number[]> {
    return (await this.backends()).map(({ pid }) => pid);
  }

  /** Waits until the servers are as asked. */
  async untilBackends(
    what: string,
    isAsWanted: (backends: readonly Backend[]) => boolean,
  ): Promise<Backend[]> {
    let backends: Backend[] = [];
    await until(what, async () => {
      backends = await this.backends();
      return isAsWanted(backends);
    });
    return backends;
  }

  /** Waits until there are so many servers. */
  async untilBackendCount(count: number): Promise<Backend[]> {
    return await this.untilBackends(`${count} servers`, ({ length }) => length === count);
  }

  /** Has PostgreSQL end a server, and waits until it is gone. */
  async terminateBackend(pid: number): Promise<void> {
    await this.direct(`select pg_terminate_backend(${pid})`);
    await this.untilBackends(
      `the end of ${pid}`,
      (backends) => backends.every((backend) => backend.pid !== pid),
    );
  }

  /** Takes down clients, Sluice and the role. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close();
    await this.#resources.disposeAsync();
  }
}

/** What queries stop at until the test lets them go on: an advisory lock that the test has. */
export class Gate {
  /** Opens the gate for good. */
  readonly open: () => Promise<void>;
  readonly #key: number;

  /** Use `world.gate()`. */
  constructor(key: number, open: () => Promise<void>) {
    this.#key = key;
    this.open = open;
  }

  /** A query that stops at the gate; its row begins with the given text. */
  query(text: string): string {
    return `select '${text}', pg_advisory_xact_lock_shared(${this.#key})`;
  }
}

/** Waits for a condition, a limited time. @throws {Error} If it does not come true. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  if (!await waitUntil(condition, WAIT_LIMIT_MS)) {
    throw new Error(`Waited ${WAIT_LIMIT_MS} ms in vain for: ${what}`);
  }
}

/** The backend's process id, as a query through Sluice tells it. */
export async function pidOf(client: TestClient): Promise<number> {
  const { rows } = await client.query("select pg_backend_pid()");
  return Number(rows[0]?.[0]);
}

/** The single value of an answer. */
export function valueOf(result: { readonly rows: readonly (readonly (string | null)[])[] }) {
  return result.rows[0]?.[0];
}

/** What a client reads by SHOW. */
export async function shown(client: TestClient, name: string): Promise<string | null | undefined> {
  return valueOf(await client.query(`show ${name}`));
}

/** Some text that nobody else will send. */
export function token(): string {
  return crypto.randomUUID();
}

/** What a finished program said. */
export interface ProgramResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end; `stdin` is given to it. */
export async function runProgram(
  command: string,
  { args, env, stdin = "" }: {
    readonly args: readonly string[];
    readonly env: Readonly<Record<string, string>>;
    readonly stdin?: string;
  },
): Promise<ProgramResult> {
  const child = new Deno.Command(command, {
    args: [...args],
    env: { ...env },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  if (stdin !== "") await writer.write(new TextEncoder().encode(stdin));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}
