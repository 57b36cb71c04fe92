/** `auth_fail_delay`, with a whole pooler in memory. */

import assert from "node:assert/strict";
import { LoginBrake } from "../../../src/client/login_brake.ts";
import { Logger } from "../../../src/log/logger.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import { LoginRefused, TestClient } from "../../support/test_client.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";

/** As the janitor comes by: so much later may anything be. */
const ROUND_MS = 333;

const WRONG = "FATAL 28P01: password authentication failed";

function braked(lines = ""): Promise<PoolerWorld> {
  return PoolerWorld.open({ pooler: `auth_type = "md5"\nauth_fail_delay = 1\n${lines}` });
}

interface Attempt {
  readonly host?: string;
  readonly user?: string;
  readonly password?: string;
}

/** Logs in, and answers after how long with what. */
async function attempt(
  world: PoolerWorld,
  { host = "10.0.0.7", password = "wrong", user = "ada" }: Attempt = {},
): Promise<readonly [seconds: number, outcome: string]> {
  world.network.sourceHost = host;
  const client = await world.connect();
  const startMs = world.clock.nowMs();
  const login = { user, password, database: "app" };
  let outcome: string | undefined;
  const done = client.login(login).then(() => "in", (error) => {
    assert.ok(error instanceof LoginRefused, String(error));
    return error.message;
  }).then((said) => outcome = said);
  await world.settle();
  while (outcome === undefined) await world.advance(ROUND_MS);
  await done;
  client.close();
  await world.settle();
  // Rounds down to whole seconds what is up to two rounds late.
  return [Math.floor((world.clock.nowMs() - startMs) / 1_000), outcome];
}

Deno.test("wrong passwords are answered later each time, known user or not", async () => {
  for (const user of ["ada", "nobody"]) {
    await using world = await braked();
    const outcomes = [];
    for (let i = 0; i < 6; i++) outcomes.push(await attempt(world, { user }));
    assert.deepEqual(outcomes.map(([seconds]) => seconds), [1, 2, 4, 8, 10, 10]);
    assert.deepEqual(new Set(outcomes.map(([, outcome]) => outcome)), new Set([WRONG]));
  }
});

Deno.test("a right password is served at once from elsewhere, and late from where others failed", async () => {
  await using world = await braked();
  for (let i = 0; i < 3; i++) await attempt(world, { host: "192.0.2.66" });
  assert.deepEqual(await attempt(world, { password: "secret" }), [0, "in"]);
  const there = { host: "192.0.2.66", password: "secret" };
  assert.deepEqual(await attempt(world, { ...there, user: "bob" }), [4, "in"]);
  assert.ok(world.hasLogged("logged in, after others failed, answered in 4000 ms"));
  await world.advance(601_000);
  assert.deepEqual(await attempt(world, there), [0, "in"]);
});

Deno.test("a refusal comes before client_login_timeout does", async () => {
  await using world = await braked("client_login_timeout = 5\n");
  for (let i = 0; i < 3; i++) await attempt(world);
  assert.deepEqual(await attempt(world), [4, WRONG]);
});

Deno.test("who waits for the answer counts as logging in, and is logged though it leaves", async () => {
  await using world = await braked("max_login_clients = 2\n");
  const waiting: TestClient[] = [];
  for (let i = 0; i < 3; i++) {
    const client = await world.connect();
    void client.login({ user: "ada", database: "app", password: "wrong" }).catch(() => {});
    await world.settle();
    waiting.push(client);
  }
  assert.equal(world.clients.length, 2);
  const said = world.log.filter((line) => line.includes("(wrong password), answered in"));
  assert.equal(said.length, 3);
  for (const client of waiting) client.close();
  await world.settle();
  assert.equal(world.clients.length, 0, "who left is not waited for");
});

Deno.test("over the unix socket a right password is served at once", async () => {
  await using world = await braked('unix_socket_dir = "/run/sluice"\n');
  const socket = { kind: "unix", path: "/run/sluice/.s.PGSQL.6432", port: 6432 } as const;
  const options = { receiveBytes: 8_192, maxBusyReads: 0, tcp: SYSTEM_TCP, timeoutMs: 0 };
  const dial = async () => new TestClient(await world.network.dial(socket, options));
  const wrong = await dial();
  const refused = wrong.login({ user: "ada", database: "app", password: "wrong" });
  const expected = assert.rejects(refused, LoginRefused);
  await world.advance(2_000);
  await expected;
  const right = await dial();
  await right.login({ user: "ada", database: "app", password: "secret" });
  for (const client of [wrong, right]) client.close();
});

Deno.test("the end of the pooler does not wait for answers that are held back", async () => {
  await using world = await braked();
  const client = await world.connect();
  void client.login({ user: "ada", database: "app", password: "wrong" }).catch(() => {});
  await world.settle();
  world.pooler.shutdown("immediate");
  await world.advance(1_000);
  assert.equal(world.clients.length, 0);
  client.close();
});

Deno.test("who was told to go while its password was looked at is not held", async () => {
  await using world = await braked();
  const client = await world.connect();
  await world.settle();
  const [session] = world.clients;
  const log = new Logger({
    clock: world.clock,
    processId: 1,
    sink: { write: () => {} },
    verbosity: 0,
  });
  const brake = new LoginBrake({
    clock: world.clock,
    log,
    settings: () => world.pooler.live.settings,
  });
  session!.end("admin forced disconnect");
  let isOver = false;
  void brake.hold(session!, "wrong password").then(() => isOver = true);
  await world.settle();
  assert.ok(isOver, "nobody would let it go");
  client.close();
});

Deno.test("without auth_fail_delay a wrong password is answered at once", async () => {
  await using world = await PoolerWorld.open({ pooler: 'auth_type = "md5"' });
  for (let i = 0; i < 5; i++) assert.deepEqual(await attempt(world), [0, WRONG]);
});
