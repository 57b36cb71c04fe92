/** A client that leaves while it waits for a server is noticed, and nothing of it is run. */

import assert from "node:assert/strict";
import type { ClientSession } from "../../../src/client/client_session.ts";
import type { ServerSession } from "../../../src/server/server_session.ts";
import { frontend, join, utf8 } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";

/** `pkt_buf`, which the simulated network reads at once. */
const RECEIVE_BYTES = 4_096;

/** Longer than a round of the janitor, which looks after those who wait. */
const A_ROUND_MS = 1_000;

Deno.test("a client that leaves while it waits is ended, and its query is never run", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
  const busy = await world.login();
  await busy.send(frontend.query("select pg_sleep(1)"));
  const impatient = await world.login();
  await impatient.send(frontend.query("select 'too late'"));
  await world.settle();
  assert.equal(world.pool().waiting.size, 1);
  impatient.close();
  // At once: no time passes for a round of the janitor.
  await world.settle();
  world.check();
  assert.deepEqual([world.pool().waiting.size, world.pooler.clients.count], [0, 1]);
  assert.ok(world.hasLogged("client unexpected eof"));
  world.postgres.wakeAll();
  await busy.result();
  await world.settle();
  assert.deepEqual(world.postgres.ran.map(({ sql }) => sql), ["select pg_sleep(1)"]);
  busy.close();
});

Deno.test("a client that leaves while it waits for the first server is ended", async () => {
  await using world = await PoolerWorld.open();
  world.network.obstruct(world.postgres.address, "black hole");
  const client = await world.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }));
  await world.settle();
  assert.equal(world.pool().loggingIn.size, 1);
  client.close();
  await world.advance(A_ROUND_MS);
  world.check();
  assert.deepEqual([world.pool().loggingIn.size, world.pooler.clients.count], [0, 0]);
  world.network.obstruct(world.postgres.address, undefined);
});

Deno.test("a client that is watched while it waits gets its answer, whatever it sends meanwhile", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
  const busy = await world.login();
  await busy.send(frontend.query("select pg_sleep(1)"));
  const patient = await world.login();
  await patient.send(frontend.query("select 'first'"));
  await world.advance(A_ROUND_MS);
  await patient.send(frontend.query("select 'second'"));
  await world.advance(A_ROUND_MS);
  world.postgres.wakeAll();
  assert.deepEqual((await patient.result()).rows, [["first"]]);
  assert.deepEqual((await patient.result()).rows, [["second"]]);
  patient.close();
  busy.close();
});

Deno.test("a client that asks, says goodbye and leaves is served though it had to wait", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
  const busy = await world.login();
  await busy.send(frontend.query("select pg_sleep(1)"));
  const hasty = await world.login();
  await hasty.send(frontend.query("select 'last words'"), frontend.terminate());
  await world.settle();
  assert.equal(world.pool().waiting.size, 1);
  hasty.close();
  await world.settle();
  await world.advance(A_ROUND_MS);
  world.postgres.wakeAll();
  await busy.result();
  await world.settle();
  assert.deepEqual(world.postgres.ran.map(({ sql }) => sql).slice(0, 2), [
    "select pg_sleep(1)",
    "select 'last words'",
  ]);
  busy.close();
});

Deno.test("the end of a long query that looks like Terminate does not end a client that waits", async () => {
  for (const tail of ["X\0\0\0\u0004", "X12'\0"]) {
    await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
    const busy = await world.login();
    await busy.send(frontend.query("select pg_sleep(1)"));
    const client = await world.login();
    // As much as one read takes, and then just those five bytes.
    const start = "select '";
    const text = start + "x".repeat(RECEIVE_BYTES - 5 - start.length);
    const whole = join(frontend.query(text).subarray(0, RECEIVE_BYTES), utf8(tail));
    new DataView(whole.buffer).setInt32(1, whole.length - 1);
    await client.send(whole);
    await world.settle();
    await world.advance(A_ROUND_MS);
    assert.equal(world.pool().waiting.size, 1, tail);
    world.postgres.wakeAll();
    client.close();
    busy.close();
    await world.settle();
  }
});

/** A client whose long query its server takes only the beginning of, and one that had it before. */
async function sendToSlowServer(world: PoolerWorld) {
  const busy = await world.login();
  await busy.send(frontend.query("select pg_sleep(1)"));
  const client = await world.login();
  const session = world.clients[1]!;
  await client.send(frontend.query(`select '${"x".repeat(2_000)}'`));
  await world.settle();
  assert.equal(world.pool().waiting.size, 1);
  const [server] = world.pool().servers.active;
  const link = world.network.connections.find(({ dialer }) => dialer === server!.stream);
  link!.acceptor.stall();
  world.network.rules.bufferBytes = 64;
  world.postgres.wakeAll();
  await busy.result();
  await world.settle();
  assert.equal(session.relay!.server, server, "the server takes no more of the chunk");
  return { busy, client, link: link!, server: server!, session };
}

Deno.test("a chunk stays with a client that leaves until the server is closed that is being sent it", async () => {
  await using world = await PoolerWorld.open({
    pooler: 'default_pool_size = 1\non_client_loss = "close"',
  });
  const { busy, client, server, session } = await sendToSlowServer(world);
  const wereOpen = resumptions(session, server);
  session.end("test");
  await world.settle();
  assert.deepEqual(wereOpen, [false]);
  busy.close();
  client.close();
});

Deno.test("a chunk stays with a client that leaves until a server that recovers has taken it", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 1" });
  const { busy, client, link, server, session } = await sendToSlowServer(world);
  const wereOpen = resumptions(session, server);
  session.end("test");
  await world.settle();
  assert.deepEqual([wereOpen, server.state.kind], [[], "recovering"]);
  link.acceptor.unstall();
  await world.settle();
  assert.deepEqual([wereOpen, server.state.kind], [[true], "idle"]);
  assert.equal(world.pooler.clients.count, 1);
  busy.close();
  client.close();
});

/**
 * A client in the middle of a long query when all is suspended, whose rest and a second query have
 * come since, and of which the server takes no more.
 */
async function sendInFreeze(world: PoolerWorld) {
  const client = await world.login();
  const [session] = world.clients;
  const query = frontend.query(`select '${"x".repeat(10_000)}'`);
  await client.send(query.subarray(0, 8_000));
  await world.settle();
  const [server] = world.pool().servers.active;
  const link = world.network.connections.find(({ dialer }) => dialer === server!.stream);
  link!.acceptor.stall();
  suspend(world);
  await client.send(query.subarray(8_000), frontend.query("select 'second'"));
  world.network.rules.bufferBytes = 64;
  await world.settle();
  return { client, link: link!, server: server!, session: session! };
}

/** Returns whether everything is frozen by now. */
function suspend({ pooler }: PoolerWorld): () => boolean {
  let isOver = false;
  pooler.operations.suspend(new AbortController().signal).then(() => {
    isOver = true;
  }, () => {});
  return () => isOver;
}

/** Whether the server's connection was open each time the client's loop was let go. */
function resumptions(session: ClientSession, server: ServerSession): boolean[] {
  const wereOpen: boolean[] = [];
  const { stream } = session;
  const resume = stream.resume.bind(stream);
  stream.resume = () => {
    wereOpen.push(!server.stream!.isClosed);
    resume();
  };
  return wereOpen;
}

Deno.test("a chunk of which a part was sent in a freeze stays with a client that leaves after the thaw", async () => {
  await using world = await PoolerWorld.open();
  const { client, server, session } = await sendInFreeze(world);
  world.pooler.operations.resume(undefined);
  const wereOpen = resumptions(session, server);
  world.pooler.operations.killClient(session.id);
  await world.settle();
  assert.deepEqual(wereOpen, [false]);
  client.close();
});

Deno.test("what a server is sent slowly after a thaw stays with a client that leaves", async () => {
  await using world = await PoolerWorld.open();
  const client = await world.login();
  const [session] = world.clients;
  await client.query("begin");
  await world.settle();
  const [server] = world.pool().servers.active;
  suspend(world);
  await client.send(frontend.query(`select '${"x".repeat(2_000)}'`));
  await world.settle();
  const link = world.network.connections.find(({ dialer }) => dialer === server!.stream);
  link!.acceptor.stall();
  world.network.rules.bufferBytes = 64;
  world.pooler.operations.resume(undefined);
  await world.settle();
  const wereOpen = resumptions(session!, server!);
  world.pooler.operations.killClient(session!.id);
  await world.settle();
  assert.deepEqual(wereOpen, [false]);
  client.close();
});

Deno.test("a freeze that follows another waits for what is still being sent, and holds what comes behind", async () => {
  await using world = await PoolerWorld.open();
  const { client, link } = await sendInFreeze(world);
  const { operations } = world.pooler;
  operations.resume(undefined);
  const isFrozen = suspend(world);
  await world.settle();
  assert.equal(isFrozen(), false, "a message is still under way");
  world.network.rules.bufferBytes = 65_536;
  link.acceptor.unstall();
  await world.advance(1_000);
  assert.equal(isFrozen(), true);
  assert.ok(!world.postgres.ran.some(({ sql }) => sql === "select 'second'"), "it is held");
  operations.resume(undefined);
  assert.equal((await client.result()).rows[0]![0]!.length, 10_000);
  assert.deepEqual((await client.result()).rows, [["second"]]);
  client.close();
});
