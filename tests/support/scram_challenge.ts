/** The beginning of a SCRAM login, for tests of what is demanded of whom. */

import assert from "node:assert/strict";
import { cstring, frontend, int32, join, textOf, utf8 } from "./messages.ts";
import type { TestClient } from "./test_client.ts";

/** What SCRAM demands of a user, salt and rounds: the server's first message without its nonce. */
export async function scramChallenge(client: TestClient, user: string): Promise<string> {
  await client.send(frontend.startup({ user, database: "app" }));
  assert.equal((await client.receive())?.type, "R");
  await client.send(scramFirst("n,,n=,r=abcdefghijkl"));
  const challenge = await client.receive();
  client.close();
  return textOf(challenge!.body.subarray(4)).replace(/^r=[^,]*,/, "");
}

/** The message that chooses SCRAM without binding, and begins it. */
export function scramFirst(text: string): Uint8Array<ArrayBuffer> {
  const first = utf8(text);
  return frontend.password(join(cstring("SCRAM-SHA-256"), int32(first.length), first));
}
