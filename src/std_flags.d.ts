/** Types for `parseArgs` of `@std/flags`; the package on npm comes without them. */

/** How arguments are to be understood. */
export interface ParseArgsOptions {
  /** Names that are flags without a value. */
  readonly boolean?: readonly string[];
  /** Names that take a value, always kept as text. */
  readonly string?: readonly string[];
  /** Names that may be given several times; their values are collected in an array. */
  readonly collect?: readonly string[];
  /** Other names of the same option. */
  readonly alias?: Readonly<Record<string, string | readonly string[]>>;
  /** Values of options that are not given. */
  readonly default?: Readonly<Record<string, unknown>>;
  /** Boolean names that `--no-NAME` turns off. */
  readonly negatable?: readonly string[];
  /** Ends the parsing at the first argument that is not an option. */
  readonly stopEarly?: boolean;
  /** Puts what follows `--` into the result's `--` instead of `_`. */
  readonly "--"?: boolean;
  /** Asked for each unknown option; answering false leaves it out. */
  readonly unknown?: (argument: string, key?: string, value?: unknown) => unknown;
}

/** The options by name, and in `_` all other arguments. */
export interface ParsedArgs {
  readonly [name: string]: unknown;
  readonly _: readonly (string | number)[];
}

/** Parses command-line arguments. */
export function parseArgs(args: readonly string[], options?: ParseArgsOptions): ParsedArgs;
