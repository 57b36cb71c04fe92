/** Files and environment variables in memory, for tests of the configuration. */

import type { Config } from "../../../src/config/config.ts";
import type { ConfigIo } from "../../../src/config/config_io.ts";
import { ConfigErrors, loadConfig } from "../../../src/config/load.ts";

/** A `ConfigIo` that knows these files and variables only. */
export function memoryIo(
  files: Readonly<Record<string, string>>,
  env: Readonly<Record<string, string>> = {},
): ConfigIo {
  return {
    readTextFile: (path) => {
      const text = files[path];
      return text === undefined ? Promise.reject(new Error("No such file")) : Promise.resolve(text);
    },
    env: (name) => env[name],
  };
}

/** Loads `text` as `config.toml`. */
export function loadToml(text: string, others: Record<string, string> = {}): Promise<Config> {
  return loadConfig("config.toml", memoryIo({ "config.toml": text, ...others }));
}

/** Loads `text` as `pgbouncer.ini`. */
export function loadIni(text: string, others: Record<string, string> = {}): Promise<Config> {
  return loadConfig("pgbouncer.ini", memoryIo({ "pgbouncer.ini": text, ...others }));
}

/** The errors that loading gives, as the operator reads them; empty when all is well. */
export async function errorsOf(loading: Promise<Config>): Promise<string[]> {
  try {
    await loading;
    return [];
  } catch (error) {
    if (!(error instanceof ConfigErrors)) throw error;
    return error.errors.map(String);
  }
}

/** All that a configuration says, secrets revealed, in a form that compares deeply. */
export function plain(config: Config): unknown {
  const revealed = (entries: Iterable<{ password: { reveal(): string } | undefined }>) =>
    [...entries].map((entry) => ({ ...entry, password: entry.password?.reveal() }));
  return {
    settings: { ...config.settings, conffile: "" },
    databases: revealed(config.databases.values()),
    users: revealed(config.users.values()),
    peers: [...config.peers.values()],
    // Without file and line.
    warnings: config.warnings.map((warning) => warning.replace(/^[^ ]* /, "")),
  };
}
