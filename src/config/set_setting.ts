/** One setting changed while Sluice runs, as SET at the console does. Pure. */

import { refusalOf } from "./assign.ts";
import type { Config } from "./config.ts";
import { propertyOf } from "./setting_spec.ts";
import { SETTINGS } from "./settings.ts";
import { suggestion } from "./suggest.ts";
import { parseValue } from "./values.ts";

/** A setting cannot be changed so. */
export class SettingError extends Error {
  override readonly name = "SettingError";
}

/**
 * The configuration with one setting of `[pooler]` changed; `value` in PgBouncer's notation.
 * @throws {SettingError} If there is no such setting, it takes a restart, or the value is no good.
 */
export function withSetting(config: Config, key: string, value: string): Config {
  const spec = SETTINGS.find(({ aliases, name }) => name === key || aliases?.includes(key));
  if (spec === undefined) {
    throw new SettingError(
      `Unknown setting "${key}"${suggestion(key, SETTINGS.map(({ name }) => name))}`,
    );
  }
  if (!spec.reloadable) throw new SettingError(`"${spec.name}" takes effect with a restart only`);
  const parsed = parseValue(spec, value, "ini");
  if ("problem" in parsed) throw new SettingError(`"${spec.name}": ${parsed.problem}`);
  const refusal = refusalOf(spec, parsed.value);
  if (refusal !== undefined) {
    throw new SettingError(`Cannot set "${spec.name}" to "${value}": ${refusal}`);
  }
  const changed = { [propertyOf(spec)]: parsed.value ?? conffileOf(config, spec.name) };
  return { ...config, settings: { ...config.settings, ...changed }, warnings: [] };
}

/** Without a path of its own, the next reload reads the file that was read last. */
function conffileOf({ path }: Config, name: string): string | undefined {
  return name === "conffile" ? path : undefined;
}
