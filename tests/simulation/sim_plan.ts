/** What one simulated run is like: everything is drawn from its seed. */

import type { FakePostgresTls } from "../support/fake_postgres.ts";
import type { WorldOptions } from "../support/pooler_world.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import type { SimClientTls } from "./sim_client_tls.ts";
import type { SimHostsPlan } from "./sim_hosts.ts";
import { NO_HAZARDS, type SimHazards } from "./sim_hazards.ts";

/** Keeps what is drawn for limits apart, so that what else a seed stands for stays as it was. */
const CAPS_SEED = 7_000_003;

/** One run. */
export interface SimPlan {
  /**
   * Whether servers, network and time do nothing wrong: then every client that behaves must get
   * exactly what it asked for, whatever the other clients do.
   */
  readonly isCalm: boolean;
  readonly mode: "session" | "transaction" | "statement";
  /** What clients do above all. */
  readonly theme: "anything" | "cancel" | "loss" | "tidy";
  readonly clientCount: number;
  /** Logins of each client, one after the other. */
  readonly sessionCount: number;
  /** Most things one client does in one session. */
  readonly maxOperations: number;
  readonly password: string | undefined;
  /** Whether servers are limited over several pools. */
  readonly isCapped: boolean;
  readonly world: WorldOptions;
  /** What else may happen. */
  readonly hazards: SimHazards;
  /** How servers are in TLS; undefined: they have none. */
  readonly serverTls?: FakePostgresTls;
  /** How clients may be in TLS; undefined: there is none. */
  readonly clientTls?: SimClientTls;
  /** Several hosts; undefined: one, of which no role is asked. */
  readonly hosts?: SimHostsPlan;
}

/** Draws a run. */
export function drawPlan(random: SeededRandom, seed: number): SimPlan {
  const isCalm = random.chance(0.5);
  const theme = random.pick(["anything", "anything", "anything", "cancel", "loss"] as const);
  const mode = random.pick(
    ["transaction", "transaction", "transaction", "session", "statement"] as const,
  );
  const most = theme === "anything" ? 4 : 2;
  const auth = random.pick(["trust", "plain", "md5"] as const);
  const caps = drawCaps(new SeededRandom(CAPS_SEED + seed));
  return {
    isCalm,
    mode,
    theme,
    clientCount: random.between(2, 8),
    sessionCount: random.between(1, 3),
    maxOperations: random.between(3, 20),
    password: auth === "trust" ? undefined : "secret",
    isCapped: caps !== "",
    hazards: NO_HAZARDS,
    world: {
      seed,
      isAutomatic: false,
      chunking: random.pick(["whole", "random", "random", "random"] as const),
      writeAnswers: random.pick(["at_once", "later", "either"] as const),
      bufferBytes: random.pick([64, 700, 8_192, 65_536]),
      pooler: drawSettings(random, { auth, isCalm, mode, most }) + caps,
      postgres: {
        auth: random.pick(["trust", "plain", "md5"] as const),
        users: { ada: "secret", bob: "secret" },
        reportsSearchPath: random.chance(0.8),
        newestMinor: random.pick([0, 2]),
        onNewerVersion: random.pick(["negotiate", "negotiate", "refuse", "hang up"] as const),
      },
    },
  };
}

function drawSettings(
  random: SeededRandom,
  { auth, isCalm, mode, most }: { auth: string; isCalm: boolean; mode: string; most: number },
): string {
  const timeout = (whenTroubled: number) => isCalm ? 0 : random.pick([0, whenTroubled]);
  return `
auth_type = "${auth}"
pool_mode = "${mode}"
unix_socket_dir = ""
default_pool_size = ${random.between(1, most)}
reserve_pool_size = ${random.pick([0, 0, 1])}
reserve_pool_timeout = 1
min_pool_size = ${random.pick([0, 0, 1])}
server_round_robin = ${random.chance(0.3)}
server_lifetime = ${random.pick([0, 1, 3600])}
server_idle_timeout = ${random.pick([1, 600])}
server_check_delay = ${random.pick([0, 1, 30])}
on_client_loss = "${random.pick(["recover", "recover", "recover", "close"])}"
server_reset_query_always = ${random.chance(0.2)}
server_login_retry = ${random.pick([0, 1])}
server_connect_timeout = ${isCalm ? random.pick([15, 60]) : random.pick([2, 15])}
client_login_timeout = ${timeout(20)}
query_wait_timeout = ${timeout(5)}
query_wait_notify = ${random.pick([0, 1])}
query_timeout = ${timeout(10)}
idle_transaction_timeout = ${timeout(10)}
max_prepared_statements = ${random.pick([1, 2, 200])}
pkt_buf = ${random.pick([512, 4096])}
log_stats = false
`;
}

/** Other settings in place of some, such as a reload may bring at any time. */
export function redrawSettings(random: SeededRandom, pooler: string): string {
  const changes: Readonly<Record<string, () => number | boolean>> = {
    default_pool_size: () => random.between(1, 4),
    reserve_pool_size: () => random.below(2),
    min_pool_size: () => random.below(2),
    server_round_robin: () => random.chance(0.5),
    server_lifetime: () => random.pick([0, 1, 3600]),
    server_idle_timeout: () => random.pick([1, 600]),
    server_check_delay: () => random.pick([0, 1, 30]),
    max_prepared_statements: () => random.pick([1, 2, 200]),
    max_db_connections: () => random.between(1, 3),
  };
  return pooler.replaceAll(/^(\w+) = .*$/gm, (line, name: string) => {
    const change = changes[name];
    return change === undefined || random.chance(0.5) ? line : `${name} = ${change()}`;
  });
}

function drawCaps(random: SeededRandom): string {
  if (random.chance(0.6)) return "";
  return `max_db_connections = ${random.between(1, 3)}
max_user_connections = ${random.pick([0, 0, 1, 2])}
[servers.all]
host = "127.0.0.1"
max_connections = ${random.pick([0, 1, 2])}
`;
}
