/** What is wrong with a configuration: every error at once, each with its file and line. */

/** Where something stands. */
export interface Place {
  /** The path by which the file was read. */
  readonly file: string;
  /** Counted from 1; `undefined` when no line is to blame. */
  readonly line: number | undefined;
}

/** One mistake. */
export class ConfigError implements Place {
  /** The path by which the file was read. */
  readonly file: string;
  /** Counted from 1; `undefined` when no line is to blame. */
  readonly line: number | undefined;
  /** What was found and what is allowed; never a secret. */
  readonly message: string;

  /** An error at `place`. */
  constructor(place: Place, message: string) {
    this.file = place.file;
    this.line = place.line;
    this.message = message;
  }

  /** `config.toml:12: …` */
  toString(): string {
    return `${showPlace(this)}: ${this.message}`;
  }
}

/** Thrown when a configuration cannot be used; nothing of it takes effect. */
export class ConfigErrors extends Error {
  /** The class's name. */
  override readonly name = "ConfigErrors";
  /** At least one, in the order of the file. */
  readonly errors: readonly ConfigError[];

  /** `errors` must not be empty. */
  constructor(errors: readonly ConfigError[]) {
    super(errors.map(String).join("\n"));
    this.errors = errors;
  }
}

/** `config.toml:12`, or only the file. */
export function showPlace(place: Place): string {
  return place.line === undefined ? place.file : `${place.file}:${place.line}`;
}
