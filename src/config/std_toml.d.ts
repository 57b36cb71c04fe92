/** Types for the parts of `@std/toml` that are used; the package on npm comes without them. */

/** Parses a TOML document. Throws SyntaxError. */
export function parse(toml: string): Record<string, unknown>;

/** Writes an object as a TOML document. */
export function stringify(object: Record<string, unknown>): string;
