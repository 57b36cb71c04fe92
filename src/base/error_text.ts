/** What went wrong, in words for a person. */

/** The message of an error, without what the runtime adds for programmers. */
export function errorText(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  // "No such file or directory (os error 2): readfile 'x'"; "Requires read access …, run again with …".
  return message.replace(/ \(os error \d+\).*$/s, "").replace(/, run again with .*$/s, "");
}

/** All that is known of an error, for who has to mend our own mistakes. */
export function errorStack(error: unknown): string {
  return error instanceof Error ? error.stack ?? error.message : String(error);
}
