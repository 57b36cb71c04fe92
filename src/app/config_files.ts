/** The files that the configuration consists of, as this process reads them. */

import { errorText } from "../base/error_text.ts";
import type { RuleFileIo } from "../auth/rule_file.ts";
import { parseUserList } from "../auth/user_list.ts";
import { ConfigError, ConfigErrors, type ConfigIo, loadConfig } from "../config/load.ts";
import { NoLibcError } from "../net/native/libc.ts";
import { Libpam } from "../net/native/libpam.ts";
import { ProcessLibc } from "../net/native/process_libc.ts";
import { loadAuthRules, needsPam, needsSystemUsers } from "./auth_rules.ts";
import type { LoadedConfig } from "./live_config.ts";
import type { UserListFile } from "./reloader.ts";

/** Where the configuration comes from. */
export const FILE_IO: ConfigIo = {
  readTextFile: (path) => Deno.readTextFile(path),
  env: (name) => Deno.env.get(name),
};

/** Where rules come from. */
const RULE_FILE_IO: RuleFileIo = {
  async readTextFile(path) {
    try {
      return await Deno.readTextFile(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
  },
  async listFiles(path) {
    const names: string[] = [];
    for await (const { isDirectory, name } of Deno.readDir(path)) {
      if (!isDirectory) names.push(name);
    }
    return names;
  },
};

/** `auth_file`. */
export const USER_LIST_FILE: UserListFile = {
  async stampOf(path) {
    try {
      const { ctime, ino, mtime, size } = await Deno.stat(path);
      // A file that could not be read and now can has another ctime only.
      return JSON.stringify([path, ino, mtime?.getTime(), ctime?.getTime(), size]);
    } catch (error) {
      // That it cannot be looked at is a state of its own, and reading it says what is wrong.
      return JSON.stringify([path, errorText(error)]);
    }
  },

  async read(path) {
    let text: string;
    try {
      text = await Deno.readTextFile(path);
    } catch (error) {
      throw new UserListError([`Cannot read auth_file ${path}: ${errorText(error)}`]);
    }
    const { problems, users } = parseUserList(text);
    if (problems.length > 0) {
      throw new UserListError(problems.map(({ line, message }) => `${path}:${line}: ${message}`));
    }
    return users;
  },
};

/** Reads a certificate or the like. */
export async function readTlsFile(path: string): Promise<Uint8Array<ArrayBuffer>> {
  return await Deno.readFile(path);
}

/** What is wrong with `auth_file`. */
export class UserListError extends Error {
  override readonly name = "UserListError";

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
  }
}

/**
 * Reads the configuration and the files it names.
 * @throws {ConfigErrors | UserListError} If anything is wrong.
 */
export async function loadFiles(path: string): Promise<LoadedConfig> {
  const config = await loadConfig(path, FILE_IO);
  const rules = await loadAuthRules(config, RULE_FILE_IO);
  const { settings } = config;
  if (needsSystemUsers(settings, rules)) checkLibrary(path, "peer", () => ProcessLibc.open());
  if (needsPam(settings, rules)) checkLibrary(path, "PAM", () => Libpam.open());
  const { authFile } = settings;
  if (authFile === undefined) return { config, userList: new Map(), rules };
  // First of all: what changes while it is being read is read again.
  const userListStamp = await USER_LIST_FILE.stampOf(authFile);
  return { config, userList: await USER_LIST_FILE.read(authFile), userListStamp, rules };
}

/** @throws {ConfigErrors} If a way to authenticate needs a library that is not to be had. */
function checkLibrary(path: string, method: string, open: () => Disposable): void {
  try {
    open()[Symbol.dispose]();
  } catch (error) {
    if (!(error instanceof NoLibcError)) throw error;
    const message = `Cannot authenticate by ${method}: ${error.message}`;
    throw new ConfigErrors([new ConfigError({ file: path, line: undefined }, message)]);
  }
}
