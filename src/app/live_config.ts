/** The configuration in force, with what is derived from it; a reload replaces it as a whole. */

import { databaseConfigOf, poolModeOf, withRunningSettings } from "../config/effective_settings.ts";
import { UserCredential } from "../auth/credential.ts";
import { LooksTally, type UserLooks } from "../auth/mock_challenge.ts";
import type { Secret } from "../base/secret.ts";
import type { Config, DatabaseConfig } from "../config/config.ts";
import type { PoolMode, Settings } from "../config/settings.ts";
import { type AuthRules, checkAuthRules } from "./auth_rules.ts";

/** Everything read from files at one moment. */
export interface LoadedConfig {
  readonly config: Config;
  /** What `auth_file` holds. */
  readonly userList: ReadonlyMap<string, Secret>;
  /** Tells whether `auth_file` is still the same; undefined if it was not looked at. */
  readonly userListStamp?: string | undefined;
  /** What `auth_hba_file` and `auth_ident_file` hold; undefined if neither is set. */
  readonly rules?: AuthRules | undefined;
}

/** A configuration that only has to be put in force, which cannot fail. */
export interface PreparedConfig {
  /** As it will be in force: what needs a restart is as it was. */
  readonly loaded: LoadedConfig;
  putInForce(): void;
}

/** Holds the configuration in force. */
export class LiveConfig {
  #loaded: LoadedConfig;
  #credentials: ReadonlyMap<string, UserCredential>;
  #looks: UserLooks;

  constructor(loaded: LoadedConfig) {
    this.#loaded = loaded;
    this.#credentials = credentialsOf(loaded, new Map());
    this.#looks = looksOf(loaded, this.#credentials);
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

  /** How these users look in a login. */
  get looks(): UserLooks {
    return this.#looks;
  }

  /**
   * Makes a new configuration ready. What was learned of unchanged users is kept.
   * @throws {RulesError} If its settings ask for rules that were not read.
   */
  prepare(read: LoadedConfig): PreparedConfig {
    const loaded = { ...read, config: withRunningSettings(read.config, this.settings) };
    checkAuthRules(loaded.config.settings, loaded.rules);
    const credentials = credentialsOf(loaded, this.#credentials);
    const looks = looksOf(loaded, credentials);
    const putInForce = () => {
      this.#credentials = credentials;
      this.#looks = looks;
      this.#loaded = loaded;
    };
    return { loaded, putInForce };
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

function looksOf(
  { config }: LoadedConfig,
  credentials: ReadonlyMap<string, UserCredential>,
): UserLooks {
  const tally = new LooksTally();
  for (const credential of credentials.values()) tally.add(credential);
  return tally.looks(config.settings.scramIterations);
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
