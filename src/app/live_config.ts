/** The configuration in force, with what is derived from it; a reload replaces it as a whole. */

import { databaseConfigOf, poolModeOf } from "../config/effective_settings.ts";
import { UserCredential } from "../auth/credential.ts";
import type { Secret } from "../base/secret.ts";
import type { Config, DatabaseConfig } from "../config/config.ts";
import type { PoolMode, Settings } from "../config/settings.ts";

/** Everything read from files at one moment. */
export interface LoadedConfig {
  readonly config: Config;
  /** What `auth_file` holds. */
  readonly userList: ReadonlyMap<string, Secret>;
}

/** Holds the configuration in force. */
export class LiveConfig {
  #loaded: LoadedConfig;
  #credentials: ReadonlyMap<string, UserCredential>;

  constructor(loaded: LoadedConfig) {
    this.#loaded = loaded;
    this.#credentials = credentialsOf(loaded, new Map());
  }

  get loaded(): LoadedConfig {
    return this.#loaded;
  }

  get config(): Config {
    return this.#loaded.config;
  }

  get settings(): Settings {
    return this.#loaded.config.settings;
  }

  /** Users that can log in, by name. */
  get credentials(): ReadonlyMap<string, UserCredential> {
    return this.#credentials;
  }

  /** Puts a new configuration in force. What was learned of unchanged users is kept. */
  replace(loaded: LoadedConfig): void {
    this.#credentials = credentialsOf(loaded, this.#credentials);
    this.#loaded = loaded;
  }

  /** The entry for a database name: its own, or the fall-back. */
  databaseConfig(name: string): DatabaseConfig | undefined {
    return databaseConfigOf(this.config, name);
  }

  /** How a link is shared: the user's word goes first, then the database's. */
  poolMode(user: string, database: string): PoolMode {
    return poolModeOf(this.config, { database, user });
  }
}

function credentialsOf(
  { config, userList }: LoadedConfig,
  before: ReadonlyMap<string, UserCredential>,
): ReadonlyMap<string, UserCredential> {
  const secrets = new Map<string, Secret | undefined>(userList);
  for (const [name, { password }] of config.users) {
    if (password !== undefined) secrets.set(name, password);
  }
  const credentials = new Map<string, UserCredential>();
  for (const [name, secret] of secrets) {
    const known = before.get(name);
    const isSame = known !== undefined && secret !== undefined && known.hasSecret(secret);
    credentials.set(name, isSame ? known : new UserCredential(name, secret));
  }
  return credentials;
}
