/** What the tests of `AuthLookUp` share: a pooler that looks up the secret of eve. */

import type { FakeBackend } from "../../support/fake_postgres.ts";
import { PoolerWorld, withUsual, type WorldOptions } from "../../support/pooler_world.ts";
import type { LoginOptions } from "../../support/test_client.ts";

const LINES = `auth_type = "md5"
auth_user = "looker"
auth_query = "look up $1"`;

/** An answer comes when the sleepers are woken. */
export const SLOWLY = 'auth_query = "look up $1 slowly"';

/** Databases, and the users whom the configuration knows. */
export const SECTIONS = `
[databases."*"]
host = "127.0.0.1"
[users.ada]
password = "secret"
[users.looker]
password = "looking"
`;

/** The same with more lines for the database that eve logs in to. */
export function withApp(lines = ""): string {
  return `${SECTIONS}[databases.app]\nhost = "127.0.0.1"\n${lines}`;
}

/** A server that eve and looker log in to by MD5. */
export const BY_MD5: NonNullable<WorldOptions["postgres"]> = {
  auth: "md5",
  users: { looker: "looking", eve: "evening" },
};

/** A user whom only the database knows. */
export const EVE: LoginOptions = { user: "eve", database: "app", password: "evening" };

/** How a login ends. */
export const IN = "in";
export const WRONG = "FATAL 28P01: password authentication failed";
/** Where nobody was found yet, users are taken to have verifiers, as PostgreSQL keeps them. */
export const STRANGER = "FATAL 28P01: SASL authentication failed";
export const CONFIG_ERROR = "FATAL XX000: bouncer config error";
export const UNAVAILABLE = "FATAL 08006: authentication is not available now";

/** A configuration by which secrets are looked up. */
export function lookUp({ pooler = "", ...rest }: WorldOptions = {}): WorldOptions {
  return { sections: SECTIONS, ...rest, pooler: withUsual(pooler, LINES) };
}

/** A world in which eve's secret can be looked up. */
export async function openWorld(options?: WorldOptions): Promise<PoolerWorld> {
  const world = await PoolerWorld.open(lookUp(options));
  world.postgres.secrets.set("eve", [["eve", "evening"]]);
  return world;
}

/** How a login as eve, or as these say, ends. */
export function outcome(world: PoolerWorld, login: Partial<LoginOptions> = {}): Promise<string> {
  return world.outcome({ ...EVE, ...login });
}

/** The servers that look secrets up, as backends. */
export function lookers(world: PoolerWorld): FakeBackend[] {
  return world.postgres.backends.filter(({ user }) => user === "looker");
}
