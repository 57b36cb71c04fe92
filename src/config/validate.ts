/**
 * From what a reader found to a `Config`: defaults filled in, everything checked, all errors at
 * once. The only place that knows defaults; everybody else receives `Settings`. Pure.
 */

import { Secret } from "../base/secret.ts";
import { assign, judge, toProperties } from "./assign.ts";
import type { Config, DatabaseConfig, PeerConfig, ServerConfig, UserConfig } from "./config.ts";
import { ConfigError, type Place } from "./config_error.ts";
import { channelBindingOf, hasOwnServerTls, serverTlsOf } from "./effective_settings.ts";
import { peerWarnings } from "./peer_warnings.ts";
import type { RawConfig, RawEntry, RawSection } from "./raw.ts";
import type { PropertiesOf, SettingSpec } from "./setting_spec.ts";
import { clientTlsProblems, serverTlsProblems } from "./tls_needs.ts";
import {
  DATABASE_SETTINGS,
  PEER_SETTINGS,
  POOLER_TABLE,
  SERVER_SETTINGS,
  type Settings,
  USER_SETTINGS,
} from "./settings.ts";

/** Name of the console's database. */
const RESERVED_DATABASE = "pgbouncer";

/** What the default of job_name is. */
const DEFAULT_JOB_NAME = POOLER_TABLE.find(({ name }) => name === "job_name")?.default;

/** Highest peer id: it has 14 bits in the cancel keys. */
const MAX_PEER_ID = 16383;

/** A configuration, and what is wrong with it; use it only if nothing is. */
export interface Validated {
  /** Meaningless when there are errors. */
  readonly config: Config;
  /** In the order of the tables. */
  readonly errors: readonly ConfigError[];
}

/** The settings of an empty file, with some of them changed. */
export function defaultSettings(changes: Partial<Settings> = {}): Settings {
  return { ...toProperties(POOLER_TABLE, []), conffile: "config.toml", ...changes };
}

/** Checks everything. `path` is where the configuration was loaded from. */
export function validate(path: string, raw: RawConfig): Validated {
  const validator = new Validator(raw);
  const settings = validator.settings(path);
  const config: Config = {
    path,
    settings,
    databases: validator.databases(),
    users: validator.users(),
    servers: validator.servers(),
    peers: validator.peers(),
    warnings: validator.warnings,
    files: raw.files,
  };
  validator.checkPeers(config);
  validator.checkListeners(path, settings);
  validator.checkProxies(path, settings);
  validator.checkLog(path, settings);
  validator.checkTls(path, settings);
  validator.checkServerTls(config);
  return { config, errors: validator.errors };
}

class Validator {
  readonly errors: ConfigError[] = [];
  readonly warnings: string[] = [];
  readonly #raw: RawConfig;

  constructor(raw: RawConfig) {
    this.#raw = raw;
  }

  settings(path: string): Settings {
    const settings = this.#read(POOLER_TABLE, this.#raw.pooler, "");
    return { ...settings, conffile: settings.conffile ?? path };
  }

  databases(): Map<string, DatabaseConfig> {
    const databases = new Map<string, DatabaseConfig>();
    for (const section of this.#raw.databases) {
      const { name } = section;
      if (name === RESERVED_DATABASE) {
        this.#fail(section, `Database name "${name}" is reserved for the console`);
      }
      const { host, password, clientEncoding, datestyle, timezone, applicationName, ...rest } = this
        .#readSection(DATABASE_SETTINGS, section, "database");
      const startupParameters = startupParametersOf({
        client_encoding: clientEncoding,
        datestyle,
        timezone,
        application_name: applicationName,
      });
      const secret = toSecret(password);
      databases.set(name, { ...rest, name, hosts: host, password: secret, startupParameters });
    }
    return databases;
  }

  users(): Map<string, UserConfig> {
    const users = new Map<string, UserConfig>();
    for (const section of this.#raw.users) {
      const { name } = section;
      const { password, ...rest } = this.#readSection(USER_SETTINGS, section, "user");
      users.set(name, { ...rest, name, password: toSecret(password) });
    }
    return users;
  }

  servers(): Map<string, ServerConfig> {
    const servers = new Map<string, ServerConfig>();
    const names = new Map<string, string>();
    for (const section of this.#raw.servers) {
      const { host, ...rest } = this.#readSection(SERVER_SETTINGS, section, "server");
      const name = JSON.stringify(section.name);
      const address = `${host?.toLowerCase()} ${rest.port}`;
      const other = names.get(address);
      if (host === undefined) this.#fail(section, `Server ${name} has no "host"`);
      else if (other !== undefined) {
        this.#fail(section, `Server ${name} is the same host and port as ${other}`);
      } else {
        names.set(address, name);
        servers.set(section.name, { ...rest, name: section.name, host });
      }
    }
    return servers;
  }

  peers(): Map<number, PeerConfig> {
    const peers = new Map<number, PeerConfig>();
    for (const section of this.#raw.peers) {
      const { host, ...rest } = this.#readSection(PEER_SETTINGS, section, "peer");
      const name = JSON.stringify(section.name);
      const id = /^[0-9]{1,5}$/.test(section.name) ? Number(section.name) : 0;
      if (id < 1 || id > MAX_PEER_ID) {
        this.#fail(section, `Peer ${name}: expected a number from 1 to ${MAX_PEER_ID}`);
      } else if (peers.has(id)) {
        this.#fail(section, `Peer ${name} is defined twice`);
      } else if (host === undefined) {
        this.#fail(section, `Peer ${name} has no "host"`);
      } else {
        peers.set(id, { ...rest, id, host });
      }
    }
    return peers;
  }

  checkPeers({ path, peers, settings }: Config): void {
    for (const warning of peerWarnings(peers, settings)) this.warnings.push(`${path}: ${warning}`);
  }

  checkListeners(path: string, settings: Settings): void {
    if (settings.listenAddr.length > 0 || settings.unixSocketDir !== "") return;
    const message = 'Nothing to listen on: "listen_addr" and "unix_socket_dir" are both empty';
    this.#fail({ file: path, line: undefined }, message);
  }

  checkTls(path: string, settings: Settings): void {
    for (const problem of clientTlsProblems(settings)) {
      this.#fail({ file: path, line: undefined }, problem);
    }
  }

  /** What databases have in common is told once. */
  checkServerTls(config: Config): void {
    const { path, settings } = config;
    const shared: Place = { file: path, line: undefined };
    const isOwn = ({ name }: RawSection) => hasOwnServerTls(config.databases.get(name)!);
    const sections = this.#raw.databases;
    if (sections.length === 0 || sections.some((section) => !isOwn(section))) {
      for (const problem of serverTlsProblems(settings)) this.#fail(shared, problem);
    }
    for (const section of sections.filter(isOwn)) {
      const { name } = section;
      const effective = {
        ...serverTlsOf(config, name),
        serverChannelBinding: channelBindingOf(config, name),
      };
      for (const problem of serverTlsProblems(effective)) {
        this.#fail(section, `${problem}, for database ${JSON.stringify(name)}`);
      }
    }
  }

  checkProxies(path: string, settings: Settings): void {
    if (!settings.proxyProtocol || settings.proxyTrusted.length > 0) return;
    this.warnings.push(
      `${path}: "proxy_protocol" believes nobody's header as long as "proxy_trusted" is empty`,
    );
  }

  checkLog(path: string, { jobName, logFormat }: Settings): void {
    if (logFormat === "json" || jobName === DEFAULT_JOB_NAME) return;
    this.warnings.push(`${path}: "job_name" is shown with log_format = "json" only`);
  }

  #readSection<const Table extends readonly SettingSpec[]>(
    table: Table,
    section: RawSection,
    kind: string,
  ): PropertiesOf<Table> {
    if (section.name === "" || section.name.includes("\0")) {
      this.#fail(section, `The name of a ${kind} cannot be empty or contain a NUL byte`);
    }
    return this.#read(table, section.entries, ` of ${kind} ${JSON.stringify(section.name)}`);
  }

  #read<const Table extends readonly SettingSpec[]>(
    table: Table,
    entries: readonly RawEntry[],
    owner: string,
  ): PropertiesOf<Table> {
    const { errors } = this;
    const assignments = assign(entries, { table, dialect: this.#raw.dialect, owner, errors });
    judge(assignments, { owner, errors });
    return toProperties(table, assignments);
  }

  #fail(place: Place, message: string): void {
    this.errors.push(new ConfigError(place, message));
  }
}

function startupParametersOf(values: Record<string, string | undefined>): Map<string, string> {
  const parameters = new Map<string, string>();
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined) parameters.set(name, value);
  }
  return parameters;
}

function toSecret(text: string | undefined): Secret | undefined {
  return text === undefined ? undefined : new Secret(text);
}
