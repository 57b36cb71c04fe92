/** Reads a configuration file, TOML or PgBouncer's INI, into a `Config`. */

import { errorText } from "../base/error_text.ts";
import type { Config } from "./config.ts";
import { ConfigError, ConfigErrors } from "./config_error.ts";
import type { ConfigIo } from "./config_io.ts";
import { readIni } from "./ini_file.ts";
import { readToml } from "./toml_file.ts";
import { validate } from "./validate.ts";
import type { Dialect } from "./values.ts";

export { ConfigError, ConfigErrors } from "./config_error.ts";
export type { ConfigIo } from "./config_io.ts";

/**
 * Reads and checks the file and all it includes.
 *
 * @throws {ConfigErrors} If anything is wrong; it holds all errors at once.
 */
export async function loadConfig(path: string, io: ConfigIo): Promise<Config> {
  const text = await readConfigText(path, io);
  const read = dialectOf(path, text) === "ini" ? readIni : readToml;
  const { raw, errors, syntaxErrors } = await read(path, text, io);
  if (syntaxErrors.length > 0) throw new ConfigErrors(syntaxErrors);
  const validated = validate(path, raw);
  const all = inOrder([...errors, ...validated.errors], raw.files);
  if (all.length > 0) throw new ConfigErrors(all);
  return validated.config;
}

/**
 * The text of a configuration file.
 *
 * @throws {ConfigErrors} If it cannot be read.
 */
export async function readConfigText(path: string, io: ConfigIo): Promise<string> {
  try {
    return await io.readTextFile(path);
  } catch (error) {
    const place = { file: path, line: undefined };
    throw new ConfigErrors([new ConfigError(place, `Cannot read the file: ${errorText(error)}`)]);
  }
}

/**
 * By the end of the name; for names that end in neither .ini nor .toml, a section `[pgbouncer]`,
 * which TOML files here do not have, says that it is PgBouncer's.
 */
export function dialectOf(path: string, text: string): Dialect {
  if (path.endsWith(".ini")) return "ini";
  if (path.endsWith(".toml")) return "toml";
  return /^[ \t]*\[pgbouncer\]/m.test(text) ? "ini" : "toml";
}

/** In the order of files and lines, so that the operator can go through the file once. */
export function inOrder(errors: readonly ConfigError[], files: readonly string[]): ConfigError[] {
  return errors.toSorted((a, b) =>
    files.indexOf(a.file) - files.indexOf(b.file) || (a.line ?? Infinity) - (b.line ?? Infinity) ||
    0
  );
}
