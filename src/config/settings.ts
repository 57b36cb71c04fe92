/**
 * THE table of settings: name, type, default, reloadable or not, meaning, and what today's Sluice
 * does with it. Readers, SHOW CONFIG, SET, `docs/settings.md` and `config.toml` all come from it.
 *
 * Order: as SHOW CONFIG prints, byte-wise by name, but `pool_mode` before `pool_idle_timeout`.
 * Names, units and defaults are PgBouncer's (1.26); `auth_cache_ttl`, `auth_fail_delay`,
 * `auth_ldap_ca_file`, `client_tls_crl_file`, `count_session_features`, `io_engine`, `log_format`,
 * `max_login_clients`, `max_replication_connections`, `max_waiting_clients`, `on_client_loss`,
 * `proxy_protocol`, `proxy_trusted`, `readiness_file`, `server_channel_binding`, `server_protocol`,
 * `server_tls_crl_file`, `server_tls_negotiation` and `warn_session_features` are Sluice's own.
 */

import { hideValue } from "../base/hidden_value.ts";
import { parseIpRange } from "../base/ip_address.ts";
import {
  boolean,
  bytes,
  checkQuery,
  choice,
  integer,
  list,
  milliseconds,
  mode,
  optionalChoice,
  optionalInteger,
  optionalSeconds,
  optionalText,
  type PropertiesOf,
  propertyOf,
  restart,
  seconds,
  secret,
  type SettingSpec,
  text,
} from "./setting_spec.ts";
import { tlsCurvesProblem, tlsVersionsProblem } from "./tls_words.ts";
import { formatValue, type SettingValue } from "./values.ts";

/** The pool modes. */
export const POOL_MODES = ["session", "transaction", "statement"] as const;

const NOT_IN_CONSOLE = {
  pgbouncer: "that is the console, which has no secrets to look up",
} as const;

/** Whether and how TLS is used, with clients or servers. */
export const SSL_MODES = [
  "disable",
  "allow",
  "prefer",
  "require",
  "verify-ca",
  "verify-full",
] as const;

/** How TLS begins with servers. */
const TLS_NEGOTIATIONS = ["postgres", "direct"] as const;

/** Whether logins to servers are bound to TLS. */
const CHANNEL_BINDINGS = ["disable", "prefer", "require"] as const;

/** The ways to authenticate clients. */
const AUTH_TYPES = [
  "any",
  "trust",
  "plain",
  "md5",
  "cert",
  "hba",
  "ldap",
  "pam",
  "scram-sha-256",
  "peer",
] as const;

const AUTH_QUERY =
  "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid WHERE rolname=$1 AND rolcanlogin";

const SYSLOG_FACILITIES = [
  "auth",
  "authpriv",
  "daemon",
  "user",
  "local0",
  "local1",
  "local2",
  "local3",
  "local4",
  "local5",
  "local6",
  "local7",
] as const;

function ipRangeProblem(item: string): string | undefined {
  if (parseIpRange(item) !== undefined) return undefined;
  return `expected addresses or ranges of them, like "10.0.0.0/8", found ${JSON.stringify(item)}`;
}

/** What Linux takes of keepalive; it refuses a socket that is told more. Source: linux/tcp.h. */
const MAX_PROBES = 127;
const MAX_PROBE_SECONDS = 32_767;

/** The table itself, with the literal types from which `Settings` is derived. */
export const POOLER_TABLE = [
  list("admin_users", "", "Users who may run every console command."),
  boolean(
    "application_name_add_host",
    false,
    "Append the client's address and port to its application_name at login.",
  ),
  seconds(
    "auth_cache_ttl",
    10,
    "How long a secret found by auth_query is used again; 0 = it never is; Sluice's own.",
  ),
  optionalText(
    "auth_dbname",
    "Database in which auth_query runs, if not the one the client asked for.",
    { refusals: NOT_IN_CONSOLE },
  ),
  seconds(
    "auth_fail_delay",
    0,
    "How long a failed login waits for its answer, doubled by each further one; Sluice's own.",
    { max: 10 },
  ),
  optionalText("auth_file", 'File of quoted pairs, one a line: "user" "secret".'),
  text("auth_hba_file", "", "File of HBA rules for auth_type = hba; read at start and by RELOAD."),
  optionalText(
    "auth_ident_file",
    "File of ident maps that HBA rules refer to; read at start and by RELOAD.",
  ),
  optionalText(
    "auth_ldap_ca_file",
    "File of authorities that LDAP servers' certificates are from; Sluice's own.",
  ),
  {
    ...optionalText(
      "auth_ldap_options",
      "Where auth_type = ldap finds users: ldapserver=..., as in auth_hba_file.",
    ),
    hiddenPart: "ldapbindpasswd",
  },
  text("auth_query", AUTH_QUERY, "Query that finds the secret of a user missing in auth_file."),
  choice("auth_type", AUTH_TYPES, "md5", "How clients prove who they are."),
  optionalText("auth_user", "Role that runs auth_query; without one no secret is looked up."),
  seconds(
    "autodb_idle_timeout",
    3600,
    'Forget a database made from the "*" entry after this long without use.',
  ),
  seconds("cancel_wait_timeout", 10, "Longest a cancel request may wait for a server slot."),
  seconds("client_idle_timeout", 0, "Close a client that is idle outside a transaction so long."),
  seconds("client_login_timeout", 60, "A client's login must be done within this."),
  optionalText("client_tls13_ciphers", "TLS 1.3 cipher suites offered to clients."),
  text("client_tls_ca_file", "", "File of authorities that client certificates may be from."),
  text("client_tls_cert_file", "", "File of the certificate shown to clients."),
  text("client_tls_ciphers", "default", "Ciphers offered to clients below TLS 1.3."),
  text(
    "client_tls_crl_file",
    "",
    "File of revocation lists for client certificates; Sluice's own.",
  ),
  choice(
    "client_tls_dheparams",
    ["auto", "legacy", "none"],
    "auto",
    "Diffie-Hellman group used with clients below TLS 1.3; legacy = one of 1024 bits.",
  ),
  text("client_tls_ecdhcurve", "auto", "Elliptic curve used with clients.", {
    textProblem: tlsCurvesProblem,
  }),
  text("client_tls_key_file", "", "File of the key that belongs to client_tls_cert_file."),
  text("client_tls_protocols", "secure", "TLS versions that clients may use.", {
    textProblem: tlsVersionsProblem,
  }),
  choice(
    "client_tls_sslmode",
    SSL_MODES,
    "disable",
    "Whether clients may or must use TLS, and whether their certificate is checked.",
  ),
  optionalText("conffile", "Path of the file that the next reload reads; this one if not set."),
  boolean(
    "count_session_features",
    true,
    "Count what clients in transaction and statement mode use that their servers do not keep.",
  ),
  integer("default_pool_size", 20, "Servers a pool (a database and a user) may have; 0 = 1."),
  restart(boolean("disable_pqexec", false, "Refuse the simple query protocol.")),
  seconds("dns_max_ttl", 15, "Longest time an answer of the name service is kept."),
  seconds("dns_nxdomain_ttl", 15, "How long a failure of the name service is kept."),
  seconds("dns_zone_check_period", 0, "How often zone serials are compared; 0 = never."),
  seconds(
    "idle_transaction_timeout",
    0,
    "Close a client that does nothing inside a transaction for so long.",
  ),
  list(
    "ignore_startup_parameters",
    "",
    "Startup parameters that are accepted and dropped, also inside options.",
  ),
  restart(choice(
    "io_engine",
    ["auto", "native", "portable"],
    "auto",
    "What moves the bytes: the native engine of Linux, the portable one, or the best there is.",
  )),
  restart({
    ...text(
      "job_name",
      "pgbouncer",
      "Name of the process in log lines, which those of log_format = json have; see syslog_ident.",
    ),
    aliases: ["service_name"],
  }),
  restart(
    list("listen_addr", "", "Addresses to listen on; * and :: = all, empty = unix socket only."),
  ),
  restart(
    integer("listen_backlog", 128, "How many connections the kernel queues for accepting, by TCP."),
  ),
  restart(integer("listen_port", 6432, "Port to listen on; it also ends the unix socket's name.", {
    max: 65535,
  })),
  boolean("log_connections", true, "Log each login."),
  boolean("log_disconnections", true, "Log each close with its reason."),
  choice(
    "log_format",
    ["pgbouncer", "json"],
    "pgbouncer",
    "Log lines as PgBouncer writes them, or one JSON object a line; Sluice's own.",
  ),
  boolean("log_pooler_errors", true, "Log the errors that clients are told."),
  boolean("log_stats", true, "Log a line of averages every stats_period."),
  text("logfile", "", "File to log into, besides standard error; needed to run as a daemon."),
  text("login_notify_message", "", "Text of a NOTICE sent after each login."),
  integer("max_client_conn", 100, "Clients that may be logged in, in total."),
  integer("max_db_client_connections", 0, "Clients a database may have; 0 = no limit."),
  integer(
    "max_db_connections",
    0,
    "Servers a database may have, over all its users; 0 = no limit.",
  ),
  integer(
    "max_login_clients",
    0,
    "Connections that have not logged in yet; 0 = max_client_conn, or 100 if that is less; Sluice's own.",
  ),
  bytes("max_packet_size", 2147483647, "Largest protocol message that is let through.", {
    min: 1024,
    max: 2147483647,
  }),
  integer(
    "max_prepared_statements",
    200,
    "Named statements kept on each server in transaction and statement mode; 0 = not tracked.",
  ),
  integer(
    "max_replication_connections",
    10,
    "Replication connections in total, each with a server of its own; 0 = no limit; Sluice's own.",
  ),
  integer("max_user_client_connections", 0, "Clients a user may have; 0 = no limit."),
  integer("max_user_connections", 0, "Servers a user may have, over all databases; 0 = no limit."),
  integer(
    "max_waiting_clients",
    0,
    "Clients that may wait for a server in one pool; more get an error; 0 = no limit; Sluice's own.",
  ),
  integer(
    "min_pool_size",
    0,
    "Servers a pool keeps open while it has clients, or always if its user is forced.",
  ),
  choice(
    "on_client_loss",
    ["recover", "close"],
    "recover",
    "What becomes of the server of a client that leaves amid a transaction or a reply.",
  ),
  integer("peer_id", 0, "This process's number among its peers; 0 = it has none.", {
    max: 16383,
  }),
  restart(text("pidfile", "", "File that holds the process id.")),
  restart(bytes("pkt_buf", 4096, "Size of a socket's buffer.", { min: 512, max: 1048576 })),
  choice("pool_mode", POOL_MODES, "session", "When a server goes back to its pool."),
  seconds("pool_idle_timeout", 0, "Forget an empty pool after this; 0 = never."),
  boolean(
    "proxy_protocol",
    false,
    "Take the client's address from the PROXY header that a trusted proxy sends; Sluice's own.",
  ),
  list(
    "proxy_trusted",
    "",
    "Addresses and ranges of those proxies, whose connections must begin with a header; Sluice's own.",
    { itemProblem: ipRangeProblem },
  ),
  seconds("query_timeout", 0, "Cancel a query that runs longer, and close its client."),
  seconds("query_wait_notify", 5, "Tell a waiting client by a NOTICE after this; 0 = never."),
  seconds("query_wait_timeout", 120, "Close a client that has waited so long for a server."),
  restart(
    text("readiness_file", "", "File that is there while Sluice takes clients; Sluice's own."),
  ),
  integer("reserve_pool_size", 0, "Servers beyond the pool size once clients wait too long."),
  seconds("reserve_pool_timeout", 5, "How long a client waits before the reserve is used."),
  restart(
    text(
      "resolv_conf",
      "",
      "File to use in place of /etc/resolv.conf; hosts files are not read then.",
    ),
  ),
  integer("sbuf_loopcnt", 5, "Chunks handled for one socket before others get a turn; 0 = all."),
  integer("scram_iterations", 4096, "Rounds used to make a SCRAM verifier of a plain secret.", {
    min: 1,
  }),
  choice(
    "server_channel_binding",
    CHANNEL_BINDINGS,
    "prefer",
    "Whether SCRAM logins to servers are bound to TLS; Sluice's own.",
  ),
  seconds(
    "server_check_delay",
    30,
    "A server idle for longer is checked before use; 0 = it always is.",
  ),
  checkQuery(
    "server_check_query",
    "<empty>",
    "Query for that check: <empty> = the empty query, nothing = no check.",
  ),
  seconds("server_connect_timeout", 15, "Connecting and logging in to a server must end in this."),
  boolean(
    "server_fast_close",
    false,
    "In session mode, close a server marked for closing when its transaction ends.",
  ),
  seconds("server_idle_timeout", 600, "Close a server not used for so long, beyond min_pool_size."),
  seconds("server_lifetime", 3600, "Close a server this old once it is idle; 0 = use it once."),
  seconds("server_login_retry", 15, "How long to wait after a failed login to a server."),
  choice(
    "server_protocol",
    ["3.2", "3.0"],
    "3.2",
    "Newest protocol asked of servers; who refuses 3.2 is asked again for 3.0.",
  ),
  text("server_reset_query", "DISCARD ALL", "Query run at release in session mode; empty = none."),
  boolean("server_reset_query_always", false, "Run it in transaction and statement mode too."),
  seconds(
    "server_role_retry",
    1,
    "How soon a host is asked again that lacks the role of target_session_attrs; Sluice's own.",
  ),
  boolean("server_round_robin", false, "Take the server idle for longest, not the last used."),
  optionalText("server_tls13_ciphers", "TLS 1.3 cipher suites offered to servers."),
  text("server_tls_ca_file", "", "File of authorities that server certificates may be from."),
  text("server_tls_cert_file", "", "File of the certificate shown to servers."),
  text("server_tls_ciphers", "default", "Ciphers offered to servers below TLS 1.3."),
  text(
    "server_tls_crl_file",
    "",
    "File of revocation lists for server certificates; Sluice's own.",
  ),
  text("server_tls_key_file", "", "File of the key that belongs to server_tls_cert_file."),
  choice(
    "server_tls_negotiation",
    TLS_NEGOTIATIONS,
    "postgres",
    "How TLS begins: after a request, or directly, as since PostgreSQL 17; Sluice's own.",
  ),
  text("server_tls_protocols", "secure", "TLS versions used with servers.", {
    textProblem: tlsVersionsProblem,
  }),
  choice(
    "server_tls_sslmode",
    SSL_MODES,
    "prefer",
    "Whether servers are spoken to in TLS, and whether their certificate is checked.",
  ),
  restart(
    boolean(
      "so_reuseport",
      false,
      "Let several processes listen on the same port, and take over from each other.",
    ),
  ),
  seconds(
    "stats_period",
    60,
    "Time over which averages are taken, and between their log lines; 0 = from the start, and no lines.",
  ),
  list("stats_users", "", "Users who may run the console commands that only read."),
  seconds("suspend_timeout", 10, "How long SUSPEND waits for messages that are under way."),
  boolean("syslog", false, "Send the log to syslog too."),
  choice("syslog_facility", SYSLOG_FACILITIES, "daemon", "Facility used with syslog."),
  text("syslog_ident", "pgbouncer", "Name used with syslog."),
  integer(
    "tcp_defer_accept",
    1,
    "Seconds a silent new connection stays in the kernel; native engine.",
  ),
  boolean("tcp_keepalive", true, "Use TCP keepalive."),
  integer(
    "tcp_keepcnt",
    0,
    "Keepalive probes before a peer is dead; 0 = as the system; native engine.",
    { max: MAX_PROBES },
  ),
  seconds(
    "tcp_keepidle",
    0,
    "Idle time before the first probe; 0 = as the system; native engine.",
    { max: MAX_PROBE_SECONDS },
  ),
  seconds("tcp_keepintvl", 0, "Time between probes; 0 = as the system; native engine.", {
    max: MAX_PROBE_SECONDS,
  }),
  bytes("tcp_socket_buffer", 0, "Size of the kernel's buffers; 0 = as the system; native engine."),
  milliseconds(
    "tcp_user_timeout",
    0,
    "How long sent data may stay unacknowledged, in milliseconds; 0 = as the system; native engine.",
  ),
  restart(list(
    "track_extra_parameters",
    "IntervalStyle",
    "Parameters, besides those that servers report, that are kept for each client.",
  )),
  seconds("transaction_timeout", 0, "Close a client whose transaction takes longer."),
  restart(text("unix_socket_dir", "/tmp", "Directory of the unix socket; empty = none.")),
  restart(text("unix_socket_group", "", "Group of the unix socket.")),
  restart(mode("unix_socket_mode", "0777", "Mode of the unix socket, in octal digits.")),
  restart(optionalText("user", "Unix user to become when started as root.")),
  integer("verbose", 0, "How much to log: 0 to 3, and more is no more."),
  boolean(
    "warn_session_features",
    false,
    "Warn clients in transaction and statement mode of what their servers do not keep for them.",
  ),
] as const;

/** Every setting of `[pooler]`, in the order of SHOW CONFIG. */
export const SETTINGS: readonly SettingSpec[] = POOLER_TABLE;

/**
 * The values of all settings, as everybody below `config/` gets them: times in ms, sizes in bytes,
 * lists as arrays. The property of `server_idle_timeout` is `serverIdleTimeoutMs`, and so on.
 */
export type Settings = Omit<PropertiesOf<typeof POOLER_TABLE>, "conffile"> & {
  /** The path given at start, unless the file says otherwise. */
  readonly conffile: string;
};

/** When a server goes back to its pool. */
export type PoolMode = (typeof POOL_MODES)[number];

/** Whether and how TLS is used. */
export type SslMode = (typeof SSL_MODES)[number];

/** What of the settings is about TLS with servers. */
export type ServerTlsSettings = Pick<Settings, Extract<keyof Settings, `serverTls${string}`>>;

/** A setting of the console's SHOW CONFIG, in PgBouncer's notation. */
export interface ShownSetting {
  /** The setting's name. */
  readonly key: string;
  /** `undefined` = not set (NULL). */
  readonly value: string | undefined;
  /** `undefined` = not set by default. */
  readonly default: string | undefined;
  /** Whether a reload takes over a new value. */
  readonly changeable: "yes" | "no";
}

/** All settings as SHOW CONFIG lists them. */
export function showSettings(settings: Settings): ShownSetting[] {
  const values = settings as Readonly<Record<string, SettingValue>>;
  return SETTINGS.map((spec) => ({
    key: spec.name,
    value: shownValue(spec, values[propertyOf(spec)]),
    default: spec.default,
    changeable: spec.reloadable ? "yes" : "no",
  }));
}

/** The settings that differ, by their names; also where only what is hidden does. */
export function differingSettings(some: Settings, others: Settings): ReadonlySet<string> {
  const [a, b] = [some, others] as Readonly<Record<string, SettingValue>>[];
  const differing = SETTINGS.filter((spec) => {
    const property = propertyOf(spec);
    return formatValue(spec, a![property]) !== formatValue(spec, b![property]);
  });
  return new Set(differing.map(({ name }) => name));
}

function shownValue(spec: SettingSpec, value: SettingValue): string | undefined {
  const text = formatValue(spec, value);
  return spec.hiddenPart === undefined || text === undefined
    ? text
    : hideValue(spec.hiddenPart, text);
}

const LOAD_BALANCE = ["round-robin", "disable"] as const;

/** As libpq has them. */
export const TARGET_SESSION_ATTRS = [
  "any",
  "read-write",
  "read-only",
  "primary",
  "standby",
  "prefer-standby",
] as const;

/** Which role a server must have. */
export type TargetSessionAttrs = (typeof TARGET_SESSION_ATTRS)[number];

/** Where PgBouncer cannot tell 0 from nothing; in TOML it means no limit. */
const UNSET_BY_ZERO = { isUnsetByZero: true } as const;

/** The keys of `[databases.NAME]`; `undefined` as default means: as in `[pooler]`, or none. */
export const DATABASE_SETTINGS = [
  optionalText("dbname", "Name of the database on the server, if another."),
  list(
    "host",
    "",
    "Host, address or socket directory of the server, or several; empty = unix socket.",
  ),
  integer("port", 5432, "Port of the server, the same for all hosts.", { min: 1, max: 65535 }),
  optionalText("user", "Log in to the server as this user, whoever the client is."),
  secret("password", "Secret for the server."),
  optionalText("auth_user", "Role that runs this database's auth_query."),
  optionalText("auth_query", "auth_query of this database."),
  optionalText("auth_dbname", "Database in which that query runs.", { refusals: NOT_IN_CONSOLE }),
  optionalInteger("pool_size", "Servers a pool of this database may have."),
  optionalInteger("min_pool_size", "Servers a pool of this database keeps open."),
  optionalInteger("reserve_pool_size", "Servers beyond that once clients wait too long.", {
    aliases: ["reserve_pool"],
  }),
  optionalText("connect_query", "Query run once on each new server."),
  optionalChoice("pool_mode", POOL_MODES, "Pool mode of this database; a user's own goes first."),
  optionalSeconds("query_wait_timeout", "Longest a client of this database waits for a server."),
  choice(
    "load_balance_hosts",
    LOAD_BALANCE,
    "round-robin",
    "Take the hosts in turn, or stay with the first one that works.",
  ),
  choice(
    "target_session_attrs",
    TARGET_SESSION_ATTRS,
    "any",
    "Role that the servers must have, asked of each; as in libpq; Sluice's own.",
  ),
  optionalInteger(
    "max_db_connections",
    "Servers this database may have; 0 = no limit.",
    UNSET_BY_ZERO,
  ),
  optionalInteger(
    "max_db_client_connections",
    "Clients this database may have; 0 = no limit.",
    UNSET_BY_ZERO,
  ),
  optionalInteger(
    "max_waiting_clients",
    "Clients that may wait for a server in a pool of this database; 0 = no limit.",
  ),
  optionalInteger(
    "max_replication_connections",
    "Of all replication connections, those this database may have; 0 = no limit of its own.",
  ),
  optionalInteger(
    "weight",
    "Part of this database's pools beside others under the same limit; 1 if not set; Sluice's own.",
    { min: 1, max: 1000 },
  ),
  optionalSeconds(
    "server_lifetime",
    "Age at which servers of this database are closed.",
    UNSET_BY_ZERO,
  ),
  optionalChoice(
    "server_channel_binding",
    CHANNEL_BINDINGS,
    "server_channel_binding of this database.",
  ),
  optionalText("server_tls13_ciphers", "server_tls13_ciphers of this database."),
  optionalText("server_tls_ca_file", "server_tls_ca_file of this database."),
  optionalText("server_tls_cert_file", "server_tls_cert_file of this database."),
  optionalText("server_tls_ciphers", "server_tls_ciphers of this database."),
  optionalText("server_tls_crl_file", "server_tls_crl_file of this database."),
  optionalText("server_tls_key_file", "server_tls_key_file of this database."),
  optionalChoice(
    "server_tls_negotiation",
    TLS_NEGOTIATIONS,
    "server_tls_negotiation of this database.",
  ),
  optionalText("server_tls_protocols", "server_tls_protocols of this database.", {
    textProblem: tlsVersionsProblem,
  }),
  optionalChoice("server_tls_sslmode", SSL_MODES, "server_tls_sslmode of this database."),
  optionalText("client_encoding", "client_encoding given to the server at login."),
  optionalText("datestyle", "datestyle given to the server at login."),
  optionalText("timezone", "timezone given to the server at login."),
  optionalText("application_name", "application_name given to the server at login."),
] as const;

/** The keys of `[users.NAME]`; all but the password default to what `[pooler]` says. */
export const USER_SETTINGS = [
  secret("password", "Secret: plain, md5... or SCRAM-SHA-256$...; before auth_file."),
  optionalInteger("pool_size", "Servers a pool of this user may have."),
  optionalInteger("reserve_pool_size", "Servers beyond that once clients wait too long."),
  optionalChoice("pool_mode", POOL_MODES, "Pool mode of this user; goes before the database's."),
  optionalInteger(
    "max_user_connections",
    "Servers this user may have; 0 = no limit.",
    UNSET_BY_ZERO,
  ),
  optionalInteger(
    "max_user_client_connections",
    "Clients this user may have; 0 = no limit.",
    UNSET_BY_ZERO,
  ),
  optionalInteger(
    "max_waiting_clients",
    "Clients that may wait for a server in a pool of this user; 0 = no limit.",
  ),
  optionalInteger(
    "weight",
    "Part of this user's pools beside others; goes before the database's; Sluice's own.",
    { min: 1, max: 1000 },
  ),
  optionalSeconds("query_timeout", "Cancel this user's queries that run longer.", UNSET_BY_ZERO),
  optionalSeconds(
    "query_wait_timeout",
    "Longest this user's clients wait for a server.",
    UNSET_BY_ZERO,
  ),
  optionalSeconds(
    "transaction_timeout",
    "Close this user's clients in longer transactions.",
    UNSET_BY_ZERO,
  ),
  optionalSeconds(
    "idle_transaction_timeout",
    "Close this user's clients idle in a transaction.",
    UNSET_BY_ZERO,
  ),
  optionalSeconds(
    "client_idle_timeout",
    "Close this user's clients idle for so long.",
    UNSET_BY_ZERO,
  ),
] as const;

/** The keys of `[peers.ID]`. */
export const PEER_SETTINGS = [
  optionalText("host", "Address or socket directory of the peer; required."),
  integer("port", 6432, "Port of the peer.", { min: 1, max: 65535 }),
  optionalInteger("pool_size", "Connections to the peer for passing on cancel requests."),
] as const;

/** The keys of `[servers.NAME]`, which is Sluice's own. */
export const SERVER_SETTINGS = [
  optionalText("host", "Host, address or socket directory, as databases name it; required."),
  integer("port", 5432, "Port of the server.", { min: 1, max: 65535 }),
  integer(
    "max_connections",
    0,
    "Connections to this server, over all databases and users; 0 = no limit.",
  ),
] as const;
