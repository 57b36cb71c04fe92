/** From a command to what came of it, with a look at who may run it. */

import { AssertionError, unreachable } from "../base/assert.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { AdminCommand, ShowThing } from "./admin_parser.ts";
import type { ConsoleContext, ConsoleRights } from "./console_context.ts";
import { RELOAD_COLUMNS, reloadTable } from "./reload_dry.ts";
import type { ShownTable } from "./result_set.ts";
import { ALL_ROWS, type Selection } from "./selection.ts";
import { showClients } from "./show_clients.ts";
import { showConfig } from "./show_config.ts";
import { showDatabases } from "./show_databases.ts";
import { usage } from "./show_help.ts";
import { showParameter } from "./show_parameter.ts";
import { showDnsHosts, showDnsZones } from "./show_dns.ts";
import { showHistograms } from "./show_histograms.ts";
import { showLimits, showShares } from "./show_limits.ts";
import { showLists } from "./show_lists.ts";
import { showMem } from "./show_mem.ts";
import { showPeerPools, showPeers } from "./show_peers.ts";
import { showPools } from "./show_pools.ts";
import { showPrepared } from "./show_prepared.ts";
import { showServers } from "./show_servers.ts";
import { showSessionFeatures } from "./show_session_features.ts";
import { showActiveSockets, showSockets } from "./show_sockets.ts";
import { showState } from "./show_state.ts";
import { showStats } from "./show_stats.ts";
import { showStatsAverages, showStatsTotals, showTotals } from "./show_totals.ts";
import { showTls } from "./show_tls.ts";
import { showUsers } from "./show_users.ts";
import { showVersion } from "./show_version.ts";

/** What came of a command. */
export type CommandOutcome =
  /** Nothing is answered, not even that it is done. */
  | { readonly kind: "silence" }
  /** There was no command. */
  | { readonly kind: "empty" }
  | {
    readonly kind: "rows";
    readonly tag: string;
    readonly table: ShownTable;
    readonly selection: Selection;
  }
  /** It is done; `notice` is to be told first. */
  | { readonly kind: "done"; readonly tag: string; readonly notice?: PgError };

/** An outcome, and what is to be done once it has been told. */
export interface RunCommand {
  readonly outcome: CommandOutcome;
  readonly afterwards?: () => void;
}

/** What a command is run with. */
export interface RunOptions {
  readonly context: ConsoleContext;
  readonly rights: ConsoleRights;
  /** Ends what the command waits for, at the client's request. */
  readonly signal: AbortSignal;
}

const TABLES: Readonly<
  Record<Exclude<ShowThing, "help">, (context: ConsoleContext) => ShownTable>
> = {
  config: showConfig,
  databases: showDatabases,
  pools: showPools,
  clients: showClients,
  servers: showServers,
  users: showUsers,
  limits: showLimits,
  shares: showShares,
  version: showVersion,
  state: showState,
  lists: showLists,
  mem: showMem,
  stats: showStats,
  stats_totals: showStatsTotals,
  stats_averages: showStatsAverages,
  totals: showTotals,
  histograms: showHistograms,
  prepared: showPrepared,
  session_features: showSessionFeatures,
  sockets: showSockets,
  active_sockets: showActiveSockets,
  peers: showPeers,
  peer_pools: showPeerPools,
  dns_hosts: showDnsHosts,
  dns_zones: showDnsZones,
  tls: showTls,
};

/** The columns that a command answers with; undefined if it answers no rows. */
export function columnsOf(
  command: AdminCommand,
  context: ConsoleContext,
): ShownTable["columns"] | undefined {
  switch (command.kind) {
    case "show":
      return command.thing === "help" ? undefined : TABLES[command.thing](context).columns;
    case "show_parameter":
      return showParameter(command.name).columns;
    case "reload":
      return command.isDry ? RELOAD_COLUMNS : undefined;
    default:
      return undefined;
  }
}

/**
 * Runs a command.
 * @throws {PgError} With severity ERROR if it is not allowed, refused, or fails.
 */
export async function runCommand(
  command: AdminCommand,
  options: RunOptions,
): Promise<RunCommand> {
  switch (command.kind) {
    case "empty":
      return { outcome: { kind: "empty" } };
    case "show":
      return { outcome: show(command, options.context) };
    case "show_parameter":
      return { outcome: rows("SHOW", showParameter(command.name)) };
    case "set_parameter":
      return { outcome: { kind: "done", tag: "SET", notice: setIgnored() } };
    default:
      requireAdmin(options.rights);
      return await runAdminCommand(command, options);
  }
}

type AdminOnly = Exclude<
  AdminCommand,
  { readonly kind: "empty" | "show" | "show_parameter" | "set_parameter" }
>;

async function runAdminCommand(
  command: AdminOnly,
  { context, signal }: RunOptions,
): Promise<RunCommand> {
  const { operations } = context;
  switch (command.kind) {
    case "set":
      operations.set(command.key, command.value);
      return done(`SET ${command.key}=${command.value}`);
    case "reload":
      return command.isDry ? await reloadDry(context) : await reload(context);
    case "pause":
      await operations.pause(command.database, signal);
      return done("PAUSE");
    case "resume":
      operations.resume(command.database);
      return done("RESUME");
    case "reconnect":
      operations.reconnect(command.database);
      return done("RECONNECT");
    case "kill":
      await operations.kill(command.database);
      return done("KILL");
    case "wait_close":
      await operations.waitClose(command.database, signal);
      return done("WAIT_CLOSE");
    case "disable":
      operations.disable(command.database);
      return done("DISABLE");
    case "enable":
      operations.enable(command.database);
      return done("ENABLE");
    case "kill_client":
      operations.killClient(command.id);
      return done("KILL_CLIENT");
    case "suspend":
      await operations.suspend(signal);
      return done("SUSPEND");
    case "shutdown":
      return shutdown(command, context);
    default:
      return unreachable(command);
  }
}

function show(
  { selection, thing }: { readonly thing: ShowThing; readonly selection: Selection },
  context: ConsoleContext,
): CommandOutcome {
  if (thing === "help") return { kind: "done", tag: "SHOW", notice: usage() };
  return { kind: "rows", tag: "SHOW", table: TABLES[thing](context), selection };
}

function rows(tag: string, table: ShownTable): CommandOutcome {
  return { kind: "rows", tag, table, selection: ALL_ROWS };
}

function done(tag: string): RunCommand {
  return { outcome: { kind: "done", tag } };
}

/** To one that ends all at once there is no answer; the others are answered before they begin. */
function shutdown(
  { limitMs, mode }: Extract<AdminCommand, { readonly kind: "shutdown" }>,
  context: ConsoleContext,
): RunCommand {
  return {
    outcome: mode === "immediate" ? { kind: "silence" } : { kind: "done", tag: "SHUTDOWN" },
    afterwards: () => context.shutdown(mode, limitMs),
  };
}

async function reload(context: ConsoleContext): Promise<RunCommand> {
  await orReloadFailed(context.reload());
  return done("RELOAD");
}

async function reloadDry(context: ConsoleContext): Promise<RunCommand> {
  const changes = await orReloadFailed(context.planReload());
  return { outcome: rows("RELOAD", reloadTable(changes)) };
}

/**
 * What is wrong with a configuration is for the log: its files are not the console's to show.
 * @throws {PgError} In place of whatever it was.
 */
async function orReloadFailed<T>(reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof AssertionError) throw error;
    throw new PgError(
      SQLSTATE.configFileError,
      "RELOAD failed, see logs for additional details",
      { severity: "ERROR" },
    );
  }
}

function requireAdmin(rights: ConsoleRights): void {
  if (rights === "admin") return;
  throw new PgError(SQLSTATE.insufficientPrivilege, "admin access needed", { severity: "ERROR" });
}

function setIgnored(): PgError {
  return new PgError(SQLSTATE.successfulCompletion, "SET ignored", { severity: "NOTICE" });
}
