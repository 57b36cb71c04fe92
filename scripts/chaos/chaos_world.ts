/** What a scenario breaks: PostgreSQL with the ledger in it, and Sluice before it. */

import { join } from "node:path";
import { show, type ShownRow } from "../../tests/support/console.ts";
import { logIn } from "../../tests/support/logins.ts";
import { type ConfigSection, tomlConfig } from "../../tests/support/toml_config.ts";
import { type MadeCertificate, makeCertificate } from "../bench/certificate.ts";
import type { Flavour } from "../embedded_postgres.ts";
import { waitUntil } from "../guarded_process.ts";
import { freePort, type Postgres, startPostgres } from "../postgres_fixture.ts";
import { type SluiceProcess, startSluice } from "../sluice_process.ts";
import { collectGarbage } from "./garbage_collector.ts";
import { type IdleState, readIdleState } from "./idle_state.ts";
import { IDS_SQL, LEDGER_SCHEMA, type LedgerTables, SUMS_SQL } from "./ledger.ts";
import type { LedgerTarget } from "./ledger_clients.ts";
import { NetworkNamespace } from "./namespace.ts";

/** Which engine Sluice is to use. */
export type EngineName = "native" | "portable";

/** Servers that the ledger's clients share. */
export const POOL_SIZE = 5;

/** How a world is made. */
export interface WorldOptions {
  readonly engine: EngineName;
  /** Default `embedded`. */
  readonly flavour?: Flavour;
  /** Lines for postgresql.conf. */
  readonly conf?: readonly string[];
  /** Settings over those that all worlds have. */
  readonly pooler?: ConfigSection;
  /** Most descriptors that Sluice may have open. */
  readonly maxDescriptors?: number;
  /** What is behind a link that can be cut: nothing, PostgreSQL, or Sluice and PostgreSQL. */
  readonly away?: "postgres" | "both";
}

/** The user and database of the ledger. */
const LEDGER = "ledger";

/** How long Sluice may take to be idle again. */
export const IDLE_LIMIT_MS = 20_000;

/** Who may ask Sluice's console. */
const OPERATOR = "operator";

/** A running world. */
export class ChaosWorld implements AsyncDisposable {
  readonly postgres: Postgres;
  readonly sluice: SluiceProcess;
  /** Where the ledger's clients log in. */
  readonly target: LedgerTarget;
  /** The link to what is away. */
  readonly #namespace: NetworkNamespace | undefined;
  readonly #parts: AsyncDisposableStack;
  readonly #inspectAddress: string | undefined;
  #hasSluiceEnded = false;

  private constructor(
    parts: AsyncDisposableStack,
    { inspectAddress, namespace, postgres, sluice, target }: {
      postgres: Postgres;
      sluice: SluiceProcess;
      target: LedgerTarget;
      namespace: NetworkNamespace | undefined;
      inspectAddress: string | undefined;
    },
  ) {
    this.#inspectAddress = inspectAddress;
    this.postgres = postgres;
    this.sluice = sluice;
    this.target = target;
    this.#namespace = namespace;
    this.#parts = parts;
    void sluice.exited.then(() => this.#hasSluiceEnded = true);
  }

  /** Starts all of it. */
  static async start(options: WorldOptions): Promise<ChaosWorld> {
    await using parts = new AsyncDisposableStack();
    const namespace = options.away === undefined
      ? undefined
      : parts.use(await NetworkNamespace.make());
    const postgres = parts.use(
      await startPostgres({
        flavour: options.flavour ?? "embedded",
        // A commit that was answered has to outlive a crash of PostgreSQL, though not one of the machine.
        conf: ["synchronous_commit = on", ...options.conf ?? []],
        netns: namespace,
      }),
    );
    await postgres.sql(`create role ${LEDGER} login password '${LEDGER}'`);
    await postgres.sql(`create database ${LEDGER}`);
    await postgres.sql(LEDGER_SCHEMA, LEDGER);
    const certificate = parts.use(await makeCertificate());
    const isAway = options.away === "both";
    const host = isAway ? namespace?.address ?? "" : "127.0.0.1";
    // An executable has its runtime in it, which takes no flags.
    const hasFlags = (Deno.env.get("SLUICE_EXE") ?? "") === "";
    const inspectAddress = hasFlags ? `${host}:${freePort()}` : undefined;
    const sluice = parts.use(
      await startSluice({
        config: sluiceConfig(options, { postgres, certificate, host }),
        maxDescriptors: options.maxDescriptors,
        netns: isAway ? namespace?.name : undefined,
        runtimeFlags: inspectAddress === undefined ? [] : [`--inspect=${inspectAddress}`],
      }),
    );
    const pem = await Deno.readTextFile(certificate.files.certificate);
    const login = { user: LEDGER, password: LEDGER, database: LEDGER };
    const target = { host, port: sluice.port, ...login, certificate: pem };
    return new ChaosWorld(parts.move(), { postgres, sluice, target, namespace, inspectAddress });
  }

  /** The link to what is away. @throws {Error} If nothing is. */
  get link(): NetworkNamespace {
    if (this.#namespace === undefined) throw new Error("Nothing of this world is away");
    return this.#namespace;
  }

  /** Whether Sluice has ended, which it never should. */
  get hasSluiceEnded(): boolean {
    return this.#hasSluiceEnded;
  }

  /** Process ids of the backends that Sluice has for the ledger. */
  async backends(): Promise<number[]> {
    const rows = await this.postgres.sql(
      `select pid from pg_stat_activity where usename = '${LEDGER}'`,
    );
    return rows.map(({ pid }) => Number(pid));
  }

  /** Rows of one of the console's SHOW commands. */
  async show(what: string): Promise<ShownRow[]> {
    return await show(this.operator, what);
  }

  /** Runs a command of the console's. Rejects with its error. */
  async command(sql: string): Promise<void> {
    const client = await logIn({ ...this.operator, database: "pgbouncer" });
    try {
      await client.query(sql);
    } finally {
      await client.end();
    }
  }

  /** How an operator logs in to the console. */
  get operator(): { host: string; port: number; user: string; password: string } {
    const { host, port } = this.target;
    return { host, port, user: OPERATOR, password: OPERATOR };
  }

  /** Has Sluice collect its garbage, where that can be asked for. */
  async collectGarbage(): Promise<void> {
    if (this.#inspectAddress !== undefined) await collectGarbage(this.#inspectAddress);
  }

  /** What Sluice holds now, garbage included that it has not collected. */
  async idleState(): Promise<IdleState> {
    return await readIdleState(this.operator, this.sluice.pid);
  }

  /** Waits for a Sluice that has nobody to serve; answers what it holds then, or when the time is over. */
  async untilIdle(): Promise<IdleState> {
    let state!: IdleState;
    await waitUntil(async () => {
      state = await this.idleState();
      return state.clients === 0 && state.busyServers === 0;
    }, IDLE_LIMIT_MS);
    return state;
  }

  /** What the ledger's tables hold now. */
  async tables(): Promise<LedgerTables> {
    const ids = await this.postgres.sql(IDS_SQL, LEDGER);
    const [sums] = await this.postgres.sql(SUMS_SQL, LEDGER);
    return {
      ids: ids.map(({ id }) => Number(id)),
      sum: Number(sums?.["sum"]),
      wrongAccounts: Number(sums?.["wrong"]),
      noise: Number(sums?.["noise"]),
    };
  }

  /** Faults that Sluice itself has logged: the first of them, and how many there are. */
  internalErrors(): string[] {
    const lines = this.sluice.log().split("\n").filter((line) => line.includes("internal error"));
    return lines.length === 0 ? [] : [`${lines.length} internal errors: ${lines[0]}`];
  }

  /** Ends and removes all of it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts[Symbol.asyncDispose]();
  }
}

/** What Sluice has to know of the rest. */
interface Surroundings {
  readonly postgres: Postgres;
  readonly certificate: MadeCertificate;
  readonly host: string;
}

function sluiceConfig(
  { away, engine, pooler }: WorldOptions,
  { certificate, host, postgres }: Surroundings,
): string {
  return tomlConfig({
    pooler: {
      io_engine: engine,
      listen_addr: host,
      auth_type: "scram-sha-256",
      admin_users: OPERATOR,
      client_tls_sslmode: "allow",
      client_tls_cert_file: certificate.files.certificate,
      client_tls_key_file: certificate.files.key,
      pool_mode: "transaction",
      default_pool_size: POOL_SIZE,
      max_client_conn: 1000,
      // What heals is to be found healed soon.
      server_login_retry: 1,
      server_connect_timeout: 3,
      log_connections: false,
      log_disconnections: false,
      ...pooler,
    },
    databases: {
      [LEDGER]: { host: away === "both" ? "127.0.0.1" : postgres.host, port: postgres.port },
    },
    users: { [LEDGER]: { password: LEDGER }, [OPERATOR]: { password: OPERATOR } },
  });
}

/** All processes of a PostgreSQL, the postmaster first. */
export async function postgresProcesses({ pid }: Postgres): Promise<number[]> {
  const path = join("/proc", String(pid), "task", String(pid), "children");
  const children = await Deno.readTextFile(path);
  return [pid, ...children.split(" ").filter((word) => word.trim() !== "").map(Number)];
}
