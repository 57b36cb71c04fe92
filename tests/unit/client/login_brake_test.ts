/** `auth_fail_delay`, with a whole pooler in memory. */

import assert from "node:assert/strict";
import { LoginBrake } from "../../../src/client/login_brake.ts";
import { Logger } from "../../../src/log/logger.ts";
import { ADA, PoolerWorld } from "../../support/pooler_world.ts";
import { type LoginOptions, TestClient } from "../../support/test_client.ts";
import { turnsOn } from "../../support/turns_on.ts";

/** As the janitor comes by: so much later may anything be. */
const ROUND_MS = 333;

/** A login that fails. */
const BAD: LoginOptions = { ...ADA, password: "wrong" };

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
  const done = client.outcome(login).then((said) => outcome = said);
  await world.settle();
  while (outcome === undefined) await world.advance(ROUND_MS);
  await done;
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
  const clients: TestClient[] = [];
  const logins: Promise<void>[] = [];
  // The oldest makes room for the third.
  const ends = ["too many logins under way", ...Array(2).fill("connection ended during the login")];
  for (const end of ends) {
    const client = await world.connect();
    logins.push(assert.rejects(client.login(BAD), new RegExp(end)));
    clients.push(client);
    await world.settle();
  }
  assert.equal(world.clients.length, 2);
  const said = world.log.filter((line) => line.includes("(wrong password), answered in"));
  assert.equal(said.length, 3);
  for (const client of clients) client.close();
  await world.settle();
  assert.equal(world.clients.length, 0, "who left is not waited for");
  await Promise.all(logins);
});

Deno.test("over the unix socket a right password is served at once", async () => {
  await using world = await braked('unix_socket_dir = "/run/sluice"\n');
  const refused = (await world.connectBySocket()).outcome(BAD);
  await world.advance(2_000);
  assert.equal(await refused, WRONG);
  assert.equal(await (await world.connectBySocket()).outcome(ADA), "in");
});

Deno.test("the end of the pooler does not wait for answers that are held back", async () => {
  await using world = await braked();
  const client = await world.connect();
  const refused = assert.rejects(client.login(BAD), /57P01: pooler is shutting down/);
  await world.settle();
  world.pooler.shutdown("immediate");
  await world.advance(1_000);
  await refused;
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
    turns: turnsOn(world.clock),
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
