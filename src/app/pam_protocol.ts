/** What Sluice and its helpers for PAM say to each other: a line of JSON each way, on stdin and stdout. */

import type { PamAnswer, PamLogin } from "../net/native/libpam.ts";

/** A question; nothing of it is in an argument or in the environment, which others may see. */
export interface PamRequest extends PamLogin {
  /** Repeated by the answer: modules of PAM may print too, and must not be able to make one up. */
  readonly token: string;
}

/** An answer. */
export type PamResponse =
  & { readonly token: string }
  & (PamAnswer | { readonly problem: string });

/** Longest line; a password is shorter. */
const MAX_LINE_BYTES = 16_384;

/** The lines of a stream, without their ends. Throws if one is too long. */
export async function* linesOf(bytes: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of bytes.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    if (rest.length > MAX_LINE_BYTES) throw new Error("The line is too long");
    yield* lines;
  }
}

/** A message as it is sent. */
export function lineOf(message: PamRequest | PamResponse): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${JSON.stringify(message)}\n`);
}
