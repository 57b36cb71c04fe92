/** A text that must not be printed by accident: not in logs, not in SHOW, not in an error. */

/** Holds a secret; only `reveal()` gives it away. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The secret itself. Not for messages. */
  reveal(): string {
    return this.#text;
  }

  /** Whether both hold the same text, for comparing configurations. */
  equals(other: Secret | undefined): boolean {
    return other !== undefined && other.#text === this.#text;
  }

  /** What is printed in place of the secret. */
  toString(): string {
    return "***";
  }

  /** What JSON shows in place of the secret. */
  toJSON(): string {
    return "***";
  }

  /** What a debugger or `console.log` shows in place of the secret. */
  [Symbol.for("Deno.customInspect")](): string {
    return "Secret(***)";
  }
}
