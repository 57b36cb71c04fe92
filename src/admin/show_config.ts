/** SHOW CONFIG: every setting of `[pooler]`. */

import { type ShownSetting, showSettings } from "../config/settings.ts";
import type { ConsoleContext } from "./console_context.ts";
import { type ShowColumn, type ShownTable, table, text } from "./result_set.ts";

const COLUMNS: readonly ShowColumn<ShownSetting>[] = [
  text("key", ({ key }) => key),
  text("value", ({ value }) => value),
  text("default", (setting) => setting.default),
  text("changeable", ({ changeable }) => changeable),
];

/** Answers SHOW CONFIG. */
export function showConfig(context: ConsoleContext): ShownTable {
  const settings = showSettings(context.config().settings);
  // `auto` says what was asked for; who looks wants to know what came of it.
  return table(
    COLUMNS,
    settings.map((setting) =>
      setting.key === "io_engine" ? { ...setting, value: context.engine } : setting
    ),
  );
}
