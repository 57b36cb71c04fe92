/** The beginning of a SCRAM login, for tests of what is demanded of whom. */

import assert from "node:assert/strict";
import { cstring, frontend, int32, join, textOf, utf8 } from "./messages.ts";
import type { TestClient } from "./test_client.ts";

/** What SCRAM demands of a user, salt and rounds: the server's first message without its nonce. */
export async function scramChallenge(client: TestClient, user: string): Promise<string> {
  await client.send(frontend.startup({ user, database: "app" }));
  assert.equal((await client.receive())?.type, "R");
  const first = utf8("n,,n=,r=abcdefghijkl");
  await client.send(frontend.password(join(cstring("SCRAM-SHA-256"), int32(first.length), first)));
  const challenge = await client.receive();
  client.close();
  return textOf(challenge!.body.subarray(4)).replace(/^r=[^,]*,/, "");
}
