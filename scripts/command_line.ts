/** What the scripts' command lines have in common: values of options, `--help`, and what is told of mistakes. */

/** A value that the command line should not have. */
export class OptionError extends TypeError {}

/** Reads a positive whole number. @throws {OptionError} If it is none. */
export function positive(name: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new OptionError(`The option --${name} takes a positive whole number, not "${text}"`);
}

/** Reads one of some words. @throws {OptionError} If it is none of them. */
export function oneOf<T extends string>(name: string, text: string, allowed: readonly T[]): T {
  const value = allowed.find((word) => word === text);
  if (value !== undefined) return value;
  throw new OptionError(`The option --${name} takes ${allowed.join(" or ")}, not "${text}"`);
}

/** Reads the names of scenarios, with commas between. @throws {OptionError} If there is none of that name. */
export function scenariosOf<T extends { readonly name: string }>(
  text: string | undefined,
  all: readonly T[],
): readonly T[] {
  return text?.split(",").map((name) => {
    const scenario = all.find((one) => one.name === name);
    if (scenario !== undefined) return scenario;
    throw new OptionError(`The option --scenario knows no "${name}"`);
  }) ?? all;
}

/**
 * Runs a script, which answers its exit status. `--help` prints the usage instead, and so does a command
 * line that cannot be understood, which is status 2.
 */
export async function runScript(usage: string, run: () => Promise<number>): Promise<number> {
  if (Deno.args.includes("--help") || Deno.args.includes("-h")) {
    console.log(usage);
    return 0;
  }
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof OptionError || isUnknownOption(error))) throw error;
    console.error(`${error.message}\n\n${usage}`);
    return 2;
  }
}

/** Whether Node's `parseArgs` said so. */
function isUnknownOption(error: unknown): error is TypeError {
  return error instanceof TypeError && "code" in error &&
    String(error.code).startsWith("ERR_PARSE_ARGS_");
}
