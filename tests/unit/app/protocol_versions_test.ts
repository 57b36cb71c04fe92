/** Versions of the protocol, on both sides of a pool: what each gets, and that everybody can cancel. */

import assert from "node:assert/strict";
import { frontend, readInt32 } from "../../support/messages.ts";
import { PoolerWorld, type WorldOptions } from "../../support/pooler_world.ts";

const V3 = 3 << 16;

/** What clients ask for, what they are told, and how long their key is. */
const CLIENTS: readonly {
  readonly asked: number;
  readonly told: readonly number[];
  readonly keyBytes: number;
}[] = [
  { asked: 0, told: [], keyBytes: 8 },
  // No real version: as in PostgreSQL 18 it may be had, and is like 3.0.
  { asked: 1, told: [], keyBytes: 8 },
  { asked: 2, told: [], keyBytes: 32 },
  { asked: 3, told: [V3 | 2], keyBytes: 32 },
  { asked: 9_999, told: [V3 | 2], keyBytes: 32 },
];

/** Servers: the newest minor version they speak, and how long their keys are if asked for 3.2. */
const SERVERS = [{ newestMinor: 0, keyBytes: 8 }, { newestMinor: 2, keyBytes: 36 }] as const;

const SLEEP = frontend.query("select pg_sleep(1)");

function world(
  newestMinor: number,
  { pooler = "default_pool_size = 1", postgres }: WorldOptions = {},
): Promise<PoolerWorld> {
  return PoolerWorld.open({ pooler, postgres: { newestMinor, ...postgres } });
}

/** Has a client of this version run something, and cancels it by its key. */
async function assertCancels(pooler: PoolerWorld, minor: number): Promise<void> {
  const client = await pooler.login({ minor });
  const before = pooler.postgres.canceled.length;
  await client.send(SLEEP);
  await pooler.settle();
  await pooler.cancel(client.cancelKey!);
  assert.equal((await client.result()).errors[0]?.sqlstate, "57014");
  assert.equal(pooler.postgres.canceled.length, before + 1);
  assert.deepEqual((await client.query("select 'alive'")).rows, [["alive"]]);
  client.close();
}

for (const { asked, told, keyBytes } of CLIENTS) {
  for (const server of SERVERS) {
    const pair = `a client of 3.${asked} in front of a server of 3.${server.newestMinor}`;

    Deno.test(`${pair} gets a key of ${keyBytes} bytes and cancels by it`, async () => {
      await using pooler = await world(server.newestMinor);
      const client = await pooler.login({ minor: asked });
      assert.deepEqual(client.negotiations.map(({ version }) => version), told);
      assert.equal(client.cancelKey?.length, keyBytes);
      client.close();
      await assertCancels(pooler, asked);
      assert.deepEqual(pooler.postgres.askedMinors, [2]);
      const [idle] = pooler.pool().servers.idle;
      assert.equal(idle?.cancelKey?.length, server.keyBytes);
    });
  }
}

Deno.test("NegotiateProtocolVersion comes once, before authentication, and never names a newer version", async () => {
  await using pooler = await world(2, { pooler: 'auth_type = "plain"' });
  for (const [asked, spoken] of [[0, 0], [1, 1], [2, 2], [9_999, 2]] as const) {
    const client = await pooler.connect();
    const options = { "_pq_.a": "1", "_pq_.b": "2" };
    await client.send(frontend.startup({ user: "ada", database: "app", ...options }, asked));
    assert.deepEqual((await client.receive())?.type, "v");
    const [negotiation] = client.negotiations;
    assert.deepEqual(negotiation, { version: V3 | spoken, options: ["_pq_.a", "_pq_.b"] });
    await client.finishLogin({ user: "ada", password: "secret" });
    assert.equal(client.negotiations.length, 1);
    assert.equal(client.cancelKey?.length, spoken === 2 ? 32 : 8);
    client.close();
  }
});

Deno.test("the console speaks 3.2 too", async () => {
  await using pooler = await world(2, { pooler: 'admin_users = "ada"' });
  const client = await pooler.login({ database: "pgbouncer", minor: 2 });
  assert.deepEqual([client.negotiations, client.cancelKey?.length], [[], 32]);
  client.close();
});

Deno.test("a long key carries the peer's number where a short one does", async () => {
  await using pooler = await world(2, { pooler: "peer_id = 258" });
  for (const minor of [0, 2]) {
    const client = await pooler.login({ minor });
    const key = client.cancelKey!;
    assert.deepEqual([...key.subarray(1, 3)], [2, 1]);
    assert.equal(key[0]! & 0x80, 0);
    assert.equal(key[7]! & 3, 3);
    client.close();
  }
});

Deno.test("a key with anything wrong in it, or of another length, cancels nothing", async () => {
  await using pooler = await world(2);
  for (const minor of [0, 2]) {
    const client = await pooler.login({ minor });
    await client.send(SLEEP);
    await pooler.settle();
    const key = client.cancelKey!;
    for (let at = 0; at < key.length; at++) {
      const wrong = Uint8Array.from(key);
      wrong[at]! ^= 4;
      await pooler.cancel(wrong);
    }
    for (const length of [8, 31, 32, 33, 36, 260]) {
      if (length === key.length) continue;
      const wrong = new Uint8Array(length);
      wrong.set(key.subarray(0, length));
      await pooler.cancel(wrong);
    }
    assert.equal(pooler.postgres.cancelRequestCount, 0);
    pooler.postgres.wakeAll();
    assert.equal((await client.result()).types, "TDCZ");
    client.close();
  }
});

Deno.test("a cancel request of any length is closed: without a word, or as no cancel request", async () => {
  await using pooler = await world(2);
  for (let length = 0; length <= 300; length++) {
    const requester = await pooler.connect();
    await requester.send(frontend.cancelRequest(pooler.random.bytes(length)));
    const isRequest = length >= 8 && length <= 260;
    const words = isRequest ? "nothing" : "FATAL 08P01 bad cancel request";
    assert.equal(await requester.lastWords(), words, `${length} bytes`);
  }
  await pooler.settle();
  assert.equal(pooler.postgres.cancelRequestCount, 0);
});

Deno.test("a long key that was forwarded cancels as it did before", async () => {
  await using pooler = await world(2);
  const client = await pooler.login({ minor: 2 });
  await client.send(SLEEP);
  await pooler.settle();
  const forwarded = Uint8Array.from(client.cancelKey!);
  forwarded[7]! &= ~3;
  await pooler.cancel(forwarded);
  assert.equal((await client.result()).errors[0]?.sqlstate, "57014");
  client.close();
});

// --- servers that do not negotiate ---

for (const onNewerVersion of ["refuse", "hang up"] as const) {
  Deno.test(`a server that answers 3.2 by "${onNewerVersion}" is asked for 3.0, and so at once from then on`, async () => {
    await using pooler = await world(0, {
      pooler: "default_pool_size = 2",
      postgres: { onNewerVersion },
    });
    await assertCancels(pooler, 2);
    assert.deepEqual(pooler.postgres.askedMinors, [2, 0]);
    assert.ok(pooler.hasLogged("speaks no protocol 3.2, only 3.0"));
    const clients = [await pooler.login(), await pooler.login()];
    for (const client of clients) await client.query("begin");
    assert.deepEqual(pooler.postgres.askedMinors, [2, 0, 0]);
    for (const client of clients) client.close();
  });
}

Deno.test("a server that could not be reached is asked for 3.2 again", async () => {
  await using pooler = await world(0, {
    pooler: "server_login_retry = 0",
    postgres: { onNewerVersion: "refuse" },
  });
  const client = await pooler.login();
  await client.query("select 'one'");
  pooler.network.obstruct(pooler.postgres.address, "refused");
  pooler.postgres.live[0]!.close();
  await pooler.settle();
  await client.send(frontend.query("select 'two'"));
  await pooler.settle();
  pooler.postgres.onNewerVersion = "negotiate";
  pooler.network.obstruct(pooler.postgres.address, undefined);
  await pooler.advance(1_000);
  assert.deepEqual((await client.result()).rows, [["two"]]);
  assert.deepEqual(pooler.postgres.askedMinors, [2, 0, 2]);
  client.close();
});

Deno.test("server_protocol = 3.0 asks for no more", async () => {
  await using pooler = await world(2, { pooler: 'server_protocol = "3.0"' });
  await assertCancels(pooler, 2);
  assert.deepEqual(pooler.postgres.askedMinors, [0]);
  assert.equal(pooler.pool().servers.idle[0]?.cancelKey?.length, 8);
});

Deno.test("a server that refuses both versions is asked twice, and its word is passed on", async () => {
  await using pooler = await world(2);
  const report = { severity: "FATAL", sqlstate: "08P01", message: "no more connections" };
  pooler.postgres.refusal = report;
  const login = pooler.login({ minor: 2 });
  await assert.rejects(login, /08P01: no more connections/);
  assert.deepEqual(pooler.postgres.askedMinors, [2, 0]);
  assert.ok(!pooler.hasLogged("speaks no protocol"));
  // Nothing is remembered of it.
  pooler.postgres.refusal = undefined;
  await pooler.advance(15_000);
  await assertCancels(pooler, 0);
  assert.deepEqual(pooler.postgres.askedMinors, [2, 0, 2]);
});

Deno.test("a server that refuses for another reason is not asked for another version", async () => {
  await using pooler = await world(2, { postgres: { databases: ["other"] } });
  await assert.rejects(pooler.login(), /3D000/);
  assert.deepEqual(pooler.postgres.askedMinors, [2]);
});

Deno.test("clients that wait are told at once when the server negotiates what it may not", async () => {
  await using pooler = await world(0, { postgres: { onNewerVersion: "refuse" } });
  // Newer than was asked for.
  const answer = [0x76, 0, 0, 0, 12, 0, 3, 0, 9, 0, 0, 0, 0];
  pooler.postgres.garbage = Uint8Array.from(answer);
  const text = "NegotiateProtocolVersion offers protocol 3.9 instead of 3.2";
  await assert.rejects(pooler.login(), new RegExp(`08P01: server login failed: ${text}`));
  assert.ok(pooler.hasLogged(text));
});

Deno.test("SHOW SERVERS shows the process ID of a long key", async () => {
  await using pooler = await world(2, { pooler: 'admin_users = "ada"' });
  const client = await pooler.login({ minor: 2 });
  const console = await pooler.login({ database: "pgbouncer" });
  const { rows } = await console.query("show servers");
  const processId = readInt32(pooler.pool().servers.idle[0]!.cancelKey!);
  assert.ok(rows[0]?.includes(String(processId)));
  for (const each of [client, console]) each.close();
});
