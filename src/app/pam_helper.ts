/**
 * A helper of Sluice, a process of its own: asks PAM, one question after the other, until its stdin
 * ends. What blocks or breaks in a module of PAM blocks or breaks this process alone.
 */

import { errorText } from "../base/error_text.ts";
import { Libpam } from "../net/native/libpam.ts";
import { lineOf, linesOf, type PamRequest, type PamResponse } from "./pam_protocol.ts";

/** Runs as the helper. Returns the exit status. */
export async function runPamHelper(): Promise<number> {
  using pam = Libpam.open();
  for await (const line of linesOf(Deno.stdin.readable)) {
    const response = lineOf(answer(pam, JSON.parse(line)));
    // A module may have printed something, and not have ended its line.
    for (const bytes of [LINE_END, response]) writeAll(bytes);
  }
  return 0;
}

const LINE_END = new TextEncoder().encode("\n");

function writeAll(bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

function answer(pam: Libpam, { token, ...login }: PamRequest): PamResponse {
  try {
    return { token, ...pam.check(login) };
  } catch (error) {
    return { token, problem: errorText(error) };
  }
}

// Run from its source; an executable has it behind an argument.
if (import.meta.main) Deno.exit(await runPamHelper());
