/** Logins to servers, bound to TLS or not: what is asked for against what a server offers. */

import assert from "node:assert/strict";
import type { ClientAuthenticationMethod } from "../../../src/auth/client_authentication.ts";
import { tlsServerEndPoint } from "../../../src/auth/channel_binding.ts";
import { TestAuthority } from "../../support/certificates.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import { SimTls } from "../../support/sim_tls_context.ts";
import { toClients } from "../../support/tls_material.ts";
import { scramVerifier } from "../auth/auth_support.ts";

const CERTIFICATE = new TestAuthority("Authority").issue({ commonName: "db" });

const OTHER = new TestAuthority("Other").issue({ commonName: "db" });

const CONTEXT = new SimTls().makeContext(toClients(CERTIFICATE));

const END_POINT = tlsServerEndPoint(CERTIFICATE.der);

/** What a server has: TLS with and without PLUS, TLS that somebody else ends, or none. */
const SERVERS = {
  "TLS, PLUS": { context: CONTEXT, endPoint: END_POINT },
  "TLS": { context: CONTEXT },
  "TLS of another": { context: CONTEXT, endPoint: tlsServerEndPoint(OTHER.der) },
  "plain": undefined,
} as const;

const LET_IN = "channel binding required, but server authenticated client without channel binding";
const UNSUPPORTED = "channel binding required but not supported by server's authentication request";
const NOT_OFFERED =
  "channel binding is required, but server did not offer an authentication method that supports channel binding";
const NO_TLS = "channel binding required, but SSL not in use";
const MISMATCH = 'FATAL password authentication failed for user "ada"';
const PLUS = "SCRAM-SHA-256-PLUS p";

type Case = readonly [
  server: keyof typeof SERVERS,
  method: ClientAuthenticationMethod | "trust",
  disable: string,
  prefer: string,
  require: string,
];

const CASES: readonly Case[] = [
  ["TLS, PLUS", "scram-sha-256", "SCRAM-SHA-256 n", PLUS, PLUS],
  ["TLS", "scram-sha-256", "SCRAM-SHA-256 n", "SCRAM-SHA-256 y", NOT_OFFERED],
  ["TLS of another", "scram-sha-256", "SCRAM-SHA-256 n", MISMATCH, MISMATCH],
  ["plain", "scram-sha-256", "SCRAM-SHA-256 n", "SCRAM-SHA-256 n", NO_TLS],
  ["TLS, PLUS", "md5", "in", "in", UNSUPPORTED],
  ["TLS, PLUS", "plain", "in", "in", UNSUPPORTED],
  ["TLS, PLUS", "trust", "in", "in", LET_IN],
  ["plain", "md5", "in", "in", UNSUPPORTED],
  ["plain", "plain", "in", "in", UNSUPPORTED],
  ["plain", "trust", "in", "in", LET_IN],
];

async function open(binding: string, options: {
  server: keyof typeof SERVERS;
  auth: Case[1];
  clientAuth?: string;
  secret?: string;
}): Promise<PoolerWorld> {
  const { auth, clientAuth = "trust", secret = "secret", server } = options;
  const world = await PoolerWorld.open({
    pooler: `auth_type = "${clientAuth}"`,
    sections: `[users.ada]
password = "${secret}"
[databases.app]
host = "127.0.0.1"
server_tls_sslmode = "${server === "plain" ? "prefer" : "require"}"
server_channel_binding = "${binding}"`,
    postgres: auth === "trust" ? {} : { auth, users: { ada: secret } },
  });
  world.postgres.tls = SERVERS[server];
  return world;
}

/** The mechanism and flag of the first login, "in" without SCRAM, or why there is none. */
function cameOf(world: PoolerWorld): string {
  const end = world.log.find((line) => / S-.* closing because: /.test(line));
  if (end !== undefined) {
    return end.replace(/.*closing because: server login failed: (.*) \(age.*/, "$1");
  }
  const [first] = world.postgres.scramMessages;
  return first?.replace(/\0[^]{4}(.).*/s, " $1") ?? "in";
}

for (const [server, auth, ...expected] of CASES) {
  Deno.test(`a login by ${auth} to a server with ${server} is bound as the setting says`, async () => {
    for (const [at, binding] of ["disable", "prefer", "require"].entries()) {
      await using world = await open(binding, { server, auth });
      await world.outcome();
      assert.match(cameOf(world), new RegExp(`^${expected[at]!}`), binding);
    }
  });
}

Deno.test("keys that a client has shown open servers by PLUS as well", async () => {
  const secret = await scramVerifier("secret");
  await using world = await open("require", {
    server: "TLS, PLUS",
    auth: "scram-sha-256",
    clientAuth: "scram-sha-256",
    secret,
  });
  assert.equal(await world.outcome({ password: "secret" }), "in");
  assert.equal(cameOf(world), PLUS);
});
