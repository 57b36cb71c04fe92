/**
 * What one login by SCRAM costs the pooler, by itself: `deno task bench:hot`. What the other side says
 * is made beforehand; keys of a plain secret are derived already, as they are after the first login.
 */

import { type AuthStep, ClientAuthentication } from "../../src/auth/client_authentication.ts";
import { UserCredential } from "../../src/auth/credential.ts";
import { KeyDerivation } from "../../src/auth/key_derivation.ts";
import { ServerAuthentication } from "../../src/auth/server_authentication.ts";
import { Secret } from "../../src/base/secret.ts";
import { authenticationOk } from "../../src/wire/authentication_messages.ts";

const PASSWORD = "pencil";
const VERIFIER = "SCRAM-SHA-256$4096:MTsXVicYH2VrLZbz4rSRdA==$" +
  "dlLAd2r56bP9oCaQVi+jsbsZuf3km49eXWTgFOF1t7M=:5UPTq1QVN92o2L5VRLzWbGFZ4hhyPTdyyHRFdzwh5qQ=";

const random = { bytes: (count: number) => new Uint8Array(count).fill(1) };
const derivation = new KeyDerivation();
const mockSecret = new Uint8Array(32);
const plain = new UserCredential("ada", new Secret(PASSWORD));
const stored = new UserCredential("ada", new Secret(VERIFIER));

function demand(credential: UserCredential | undefined): ClientAuthentication {
  const looks = { verifierShare: 1, shapes: [], verifierShapes: [] };
  const options = { random, derivation, mockSecret, looks, scramIterations: 4096 };
  return new ClientAuthentication({
    ...options,
    method: "scram-sha-256",
    userName: "ada",
    credential,
  });
}

function answer(): ServerAuthentication {
  return new ServerAuthentication({ userName: "ada", credential: plain, random, derivation });
}

/** Everything both sides say in one login: bodies, the demanding side's first. */
async function transcript(credential: UserCredential): Promise<readonly Uint8Array[]> {
  const [demanding, answering] = [demand(credential), answer()];
  const bodies: Uint8Array[] = [];
  let step: AuthStep = demanding.start();
  while (step.kind === "challenge") {
    bodies.push(new Uint8Array(step.message.subarray(5)));
    const answered = await answering.receive(bodies.at(-1)!);
    if (answered.kind !== "send") throw new Error(`unexpected: ${answered.kind}`);
    bodies.push(new Uint8Array(answered.message.subarray(5)));
    step = await demanding.receive(bodies.at(-1)!);
  }
  if (step.kind !== "accepted") throw new Error("the login failed");
  return [...bodies, new Uint8Array(step.message!.subarray(5)), authenticationOk().subarray(5)];
}

const withVerifier = await transcript(stored);
const withPlain = await transcript(plain);

function letIn(credential: UserCredential | undefined, bodies: readonly Uint8Array[]) {
  const exchange = demand(credential);
  exchange.start();
  void exchange.receive(bodies[1]!);
  return exchange.receive(bodies[3]!);
}

Deno.bench("a client is let in by a stored SCRAM verifier", () => {
  const step = letIn(stored, withVerifier);
  if (step instanceof Promise || step.kind !== "accepted") throw new Error("not let in at once");
});

Deno.bench("a client is let in by a plain secret", async () => {
  const step = await letIn(plain, withPlain);
  if (step.kind !== "accepted") throw new Error("not let in");
});

Deno.bench("a client who does not exist is refused", () => {
  const step = letIn(undefined, withVerifier);
  if (step instanceof Promise || step.kind !== "rejected") throw new Error("not refused at once");
});

Deno.bench("a server lets us in by SCRAM", async () => {
  const exchange = answer();
  for (const at of [0, 2, 4, 5]) {
    const step = await exchange.receive(withPlain[at]!);
    if (step.kind === "failed") throw new Error(step.reason);
  }
});
