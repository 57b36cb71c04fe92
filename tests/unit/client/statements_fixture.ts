/** Clients that share prepared statements: what the tests of those have in common. */

import { frontend } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import type { TestClient } from "../../support/test_client.ts";

/** A world whose clients share so many servers. */
export function world(servers: number, lines = ""): Promise<PoolerWorld> {
  return PoolerWorld.open({ pooler: `default_pool_size = ${servers}\n${lines}` });
}

/** Prepares a statement under a name. */
export async function prepare(client: TestClient, name: string, sql: string): Promise<string> {
  await client.send(frontend.parse(sql, name), frontend.sync());
  return (await client.result()).types;
}

/** Runs a statement by its name. */
export async function run(client: TestClient, statement: string, value = "x"): Promise<string> {
  await client.send(
    frontend.bind({ statement, values: [value] }),
    frontend.execute(),
    frontend.sync(),
  );
  const { errors, rows, types } = await client.result();
  const [error] = errors;
  return error === undefined ? `${types} ${rows.flat()}` : `${error.sqlstate} ${error.message}`;
}

/** The same by a client that asks what the result is like each time, as libpq does. */
export async function runDescribed(
  client: TestClient,
  statement: string,
  value = "x",
): Promise<string> {
  await client.send(
    frontend.bind({ statement, values: [value], resultFormats: [0] }),
    frontend.describe("P"),
    frontend.execute(),
    frontend.sync(),
  );
  const { errors, rows, types } = await client.result();
  const [error] = errors;
  return error === undefined ? `${types} ${rows.flat()}` : `${error.sqlstate} ${error.message}`;
}

/** How often backends were told to parse. */
export function parseCount({ postgres }: PoolerWorld): number {
  return postgres.backends.flatMap(({ received }) => [...received]).filter((each) => each === "P")
    .length;
}

/** The named statements of all backends. */
export function namesOf({ postgres }: PoolerWorld): string[] {
  return postgres.live.flatMap(({ statements }) => statements.names.filter((each) => each !== ""));
}
