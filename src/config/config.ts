/**
 * What a configuration is once it has been read and found good: settings, databases, users, peers.
 * Only types; `load.ts` makes them. Everything is read-only: a reload makes a new `Config`.
 */

import type { Secret } from "../base/secret.ts";
import type { PoolMode, ServerTlsSettings, Settings, TargetSessionAttrs } from "./settings.ts";

/** A whole configuration. */
export interface Config {
  /** The path it was loaded from. */
  readonly path: string;
  /** What `[pooler]` says, defaults filled in. */
  readonly settings: Settings;
  /** By the name clients ask for; `*` is the fall-back entry. */
  readonly databases: ReadonlyMap<string, DatabaseConfig>;
  /** By user name. */
  readonly users: ReadonlyMap<string, UserConfig>;
  /** Physical servers, by a name of the operator's choice; no two are the same host and port. */
  readonly servers: ReadonlyMap<string, ServerConfig>;
  /** By peer id. */
  readonly peers: ReadonlyMap<number, PeerConfig>;
  /** One line each: what was set and is not honoured. */
  readonly warnings: readonly string[];
  /** Every file that was read, `path` first. */
  readonly files: readonly string[];
}

/** What a database has otherwise in TLS with its servers; `undefined` = as the settings say. */
export type OwnServerTls = {
  readonly [Name in keyof ServerTlsSettings]: ServerTlsSettings[Name] | undefined;
};

/** A database as clients see it; `undefined` = as the settings say, or none. */
export interface DatabaseConfig extends OwnServerTls {
  /** The name clients ask for, or `*`. */
  readonly name: string;
  /** `undefined` = the name the client asked for. */
  readonly dbname: string | undefined;
  /** Empty = PostgreSQL's default unix socket directory. */
  readonly hosts: readonly string[];
  /** The same for all hosts. */
  readonly port: number;
  /** Forced server user; `undefined` = the client's. */
  readonly user: string | undefined;
  /** For the server; `undefined` = the one known of the user. */
  readonly password: Secret | undefined;
  /** Role that runs `authQuery`. */
  readonly authUser: string | undefined;
  /** Looks up secrets. */
  readonly authQuery: string | undefined;
  /** Where `authQuery` runs. */
  readonly authDbname: string | undefined;
  /** Servers a pool may have. */
  readonly poolSize: number | undefined;
  /** Servers a pool keeps open. */
  readonly minPoolSize: number | undefined;
  /** Servers beyond `poolSize`. */
  readonly reservePoolSize: number | undefined;
  /** Run once on each new server. */
  readonly connectQuery: string | undefined;
  /** A user's own goes first. */
  readonly poolMode: PoolMode | undefined;
  /** Longest wait for a server. */
  readonly queryWaitTimeoutMs: number | undefined;
  /** Take the hosts in turn, or stay with the first that works. */
  readonly loadBalanceHosts: "round-robin" | "disable";
  /** Which role the servers must have. */
  readonly targetSessionAttrs: TargetSessionAttrs;
  /** Most servers of this database. */
  readonly maxDbConnections: number | undefined;
  /** Most clients of this database. */
  readonly maxDbClientConnections: number | undefined;
  /** Part of its pools beside others under the same limit. */
  readonly weight: number | undefined;
  /** Most clients that wait in one of its pools. */
  readonly maxWaitingClients: number | undefined;
  /** Most clients that replicate from this database. */
  readonly maxReplicationConnections: number | undefined;
  /** 0 = use a server once. */
  readonly serverLifetimeMs: number | undefined;
  /** Whether logins to its servers are bound to TLS. */
  readonly serverChannelBinding: Settings["serverChannelBinding"] | undefined;
  /** client_encoding, datestyle, timezone, application_name, under these names. */
  readonly startupParameters: ReadonlyMap<string, string>;
}

/** What is special about a user; `undefined` = as the database or the settings say. */
export interface UserConfig {
  /** As clients give it. */
  readonly name: string;
  /** Plain, `md5…` or `SCRAM-SHA-256$…`. */
  readonly password: Secret | undefined;
  /** Servers a pool may have. */
  readonly poolSize: number | undefined;
  /** Servers beyond `poolSize`. */
  readonly reservePoolSize: number | undefined;
  /** Goes before the database's. */
  readonly poolMode: PoolMode | undefined;
  /** Most servers of this user. */
  readonly maxUserConnections: number | undefined;
  /** Most clients of this user. */
  readonly maxUserClientConnections: number | undefined;
  /** Part of its pools beside others under the same limit. */
  readonly weight: number | undefined;
  /** Most clients that wait in one of its pools. */
  readonly maxWaitingClients: number | undefined;
  /** Longest query. */
  readonly queryTimeoutMs: number | undefined;
  /** Longest wait for a server. */
  readonly queryWaitTimeoutMs: number | undefined;
  /** Longest transaction. */
  readonly transactionTimeoutMs: number | undefined;
  /** Longest idling in a transaction. */
  readonly idleTransactionTimeoutMs: number | undefined;
  /** Longest idling outside a transaction. */
  readonly clientIdleTimeoutMs: number | undefined;
}

/** One physical server, whatever databases are on it. */
export interface ServerConfig {
  readonly name: string;
  /** As databases name it. */
  readonly host: string;
  readonly port: number;
  /** Most connections to it; 0 = no limit. */
  readonly maxConnections: number;
}

/** Another process of the same fleet. */
export interface PeerConfig {
  /** 1 to 16383. */
  readonly id: number;
  /** Address or socket directory. */
  readonly host: string;
  /** TCP port, or suffix of the socket. */
  readonly port: number;
  /** Connections for passing on cancel requests. */
  readonly poolSize: number | undefined;
}
