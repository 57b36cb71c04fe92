/** Cancel requests that are for another process: passed on as they are, and not for ever. */

import assert from "node:assert/strict";
import { makeCancelKey } from "../../../src/client/cancel_key.ts";
import type { Listener } from "../../../src/net/network.ts";
import { frontend } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";

const PEER_2 = { kind: "tcp", host: "10.0.0.2", port: 7000, backlog: 8 } as const;

const OPTIONS = { receiveBytes: 1_024, maxBusyReads: 0, tcp: SYSTEM_TCP };

const SECTIONS = `
[databases."*"]
host = "127.0.0.1"
[users.ada]
password = "secret"
[peers.2]
host = "10.0.0.2"
port = 7000
pool_size = 1
`;

/** A pooler that is number 1 of two. */
function numberOne(lines = "", sections = SECTIONS): Promise<PoolerWorld> {
  return PoolerWorld.open({ pooler: `peer_id = 1\n${lines}`, sections });
}

/** A key that process `peerId` has given out. */
function keyOf(peerId: number, isLong = false): Uint8Array<ArrayBuffer> {
  return makeCancelKey(new SeededRandom(7), { isLong, peerId });
}

/** What another process gets: every request, which is answered when the test says so. */
class FakePeer {
  readonly received: Uint8Array[] = [];
  readonly #listener: Listener;
  readonly #answers: (() => void)[] = [];

  private constructor(listener: Listener) {
    this.#listener = listener;
  }

  static async listen(world: PoolerWorld): Promise<FakePeer> {
    const peer = new FakePeer(await world.network.listen(PEER_2, () => OPTIONS));
    void peer.#accept();
    return peer;
  }

  /** Ends the connections that are open. */
  answer(): void {
    for (const close of this.#answers.splice(0)) close();
  }

  close(): void {
    this.answer();
    this.#listener.close();
  }

  async #accept(): Promise<void> {
    for await (const stream of this.#listener.connections()) {
      this.#answers.push(() => stream.close());
      void stream.pump((buffer, length) => {
        this.received.push(buffer.slice(0, length));
      });
    }
  }
}

for (const isLong of [false, true]) {
  const kind = isLong ? "of protocol 3.2" : "of protocol 3.0";

  Deno.test(`a cancel request ${kind} for a client of a peer is passed on, with one forward less`, async () => {
    await using world = await numberOne();
    const peer = await FakePeer.listen(world);
    const key = keyOf(2, isLong);
    let isOver = false;
    const canceling = world.cancel(key).then(() => isOver = true);
    await world.settle();
    const forwarded = Uint8Array.from(key);
    forwarded[7]! -= 1;
    assert.deepEqual(peer.received, [frontend.cancelRequest(forwarded)]);
    assert.equal(isOver, false, "who cancels is answered when the peer has answered");
    peer.close();
    await canceling;
    assert.ok(world.hasLogged("closing because: forwarded cancel request to peer 2"));
  });
}

Deno.test("a client's own key is found before anybody is asked, though peer_id has changed since", async () => {
  await using world = await numberOne();
  const client = await world.login();
  await client.send(frontend.query("select pg_sleep(1)"));
  await world.settle();
  assert.equal(await world.reload({ pooler: "peer_id = 3", sections: SECTIONS }), true);
  await world.cancel(client.cancelKey!);
  assert.equal((await client.result()).errors[0]?.sqlstate, "57014");
  client.close();
});

Deno.test("a key of this process, or of an unknown one, that nobody has is dropped", async () => {
  await using world = await numberOne();
  const peer = await FakePeer.listen(world);
  await world.cancel(keyOf(1));
  assert.ok(world.hasLogged("failed cancel request (unknown key)"));
  await world.cancel(keyOf(9));
  await world.cancel(new Uint8Array(8).fill(255));
  assert.equal(
    world.log.filter((line) => line.includes("could not find peer to forward request to")).length,
    2,
  );
  assert.deepEqual(peer.received, []);
  peer.close();
});

Deno.test("a process without a number passes nothing on", async () => {
  await using world = await PoolerWorld.open({ sections: SECTIONS });
  const peer = await FakePeer.listen(world);
  await world.cancel(keyOf(2));
  assert.deepEqual(peer.received, []);
  assert.ok(world.hasLogged("failed cancel request (unknown key)"));
  peer.close();
});

Deno.test("a request goes round three times among peers that point at each other, and no further", async () => {
  const circle = SECTIONS.replace("10.0.0.2", "127.0.0.1").replace("7000", "6432")
    .replace("pool_size = 1", "pool_size = 9");
  await using world = await numberOne("", circle);
  await world.cancel(keyOf(2));
  const came = (text: string) => world.log.filter((line) => line.includes(text)).length;
  assert.equal(came("forwarded cancel request to peer 2"), 3);
  assert.equal(came("failed to forward cancel request because its TTL was exhausted"), 1);
});

Deno.test("no more connections to a peer are open than its pool_size; others wait for cancel_wait_timeout", async () => {
  await using world = await numberOne("cancel_wait_timeout = 3");
  const peer = await FakePeer.listen(world);
  const first = world.cancel(keyOf(2));
  await world.settle();
  const second = world.cancel(keyOf(2));
  await world.settle();
  assert.equal(peer.received.length, 1);
  peer.answer();
  await first;
  await world.settle();
  assert.equal(peer.received.length, 2, "the place goes to who waited");
  const third = world.cancel(keyOf(2));
  await world.settle();
  await world.advance(3_500);
  await Promise.all([second, third]);
  assert.ok(world.hasLogged("peer 2 did not answer a cancel request"));
  assert.equal(peer.received.length + Number(world.hasLogged("cancel_wait_timeout")), 3);
  peer.close();
});

Deno.test("requests that nobody answers are dropped once max_login_clients of them wait for a peer", async () => {
  await using world = await numberOne("max_login_clients = 2\ncancel_wait_timeout = 0");
  const peer = await FakePeer.listen(world);
  const canceling = [];
  for (let i = 0; i < 3; i++) {
    canceling.push(world.cancel(keyOf(2)));
    await world.settle();
  }
  await world.cancel(keyOf(2));
  assert.ok(world.hasLogged("too many cancel requests wait for peer 2"));
  for (let answered = 1; answered <= 3; answered++) {
    assert.equal(peer.received.length, answered);
    peer.answer();
    await world.settle();
  }
  await Promise.all(canceling);
  peer.close();
});

Deno.test("a request that waits while its peer is taken away by a reload is dropped", async () => {
  await using world = await numberOne();
  const peer = await FakePeer.listen(world);
  const canceling = [world.cancel(keyOf(2))];
  await world.settle();
  canceling.push(world.cancel(keyOf(2)));
  await world.settle();
  const without = SECTIONS.slice(0, SECTIONS.indexOf("[peers.2]"));
  assert.equal(await world.reload({ pooler: "peer_id = 1", sections: without }), true);
  peer.answer();
  await Promise.all(canceling);
  assert.equal(peer.received.length, 1);
  assert.ok(world.hasLogged("could not find peer to forward request to"));
  peer.close();
});

Deno.test("a peer that talks without end is hung up on", async () => {
  await using world = await numberOne("cancel_wait_timeout = 0");
  const listener = await world.network.listen(PEER_2, () => OPTIONS);
  const canceling = world.cancel(keyOf(2));
  for await (const stream of listener.connections()) {
    const noise = new Uint8Array(1_000);
    void stream.pump(() => {});
    for (let i = 0; i < 100 && !stream.isClosed; i++) {
      await stream.write(noise, 0, noise.length);
      await world.settle();
    }
    break;
  }
  await canceling;
  assert.ok(world.hasLogged("peer 2 did not answer a cancel request"));
  listener.close();
});

Deno.test("a peer that cannot be reached costs the request, and nothing else", async () => {
  await using world = await numberOne();
  await world.cancel(keyOf(2));
  assert.ok(world.hasLogged("failed to forward cancel request to peer 2: connect failed"));
  const client = await world.login();
  assert.equal((await client.query("select 'alive'")).rows[0]?.[0], "alive");
  client.close();
});

Deno.test("peers are those of the last reload", async () => {
  await using world = await numberOne();
  const peer = await FakePeer.listen(world);
  const without = SECTIONS.slice(0, SECTIONS.indexOf("[peers.2]"));
  assert.equal(await world.reload({ pooler: "peer_id = 1", sections: without }), true);
  await world.cancel(keyOf(2));
  assert.deepEqual(peer.received, []);
  assert.equal(await world.reload({ pooler: "peer_id = 1", sections: SECTIONS }), true);
  const canceling = world.cancel(keyOf(2));
  await world.settle();
  assert.equal(peer.received.length, 1);
  peer.close();
  await canceling;
});

Deno.test("the end of the pooler does not wait for a peer", async () => {
  await using world = await numberOne("cancel_wait_timeout = 0");
  const peer = await FakePeer.listen(world);
  const canceling = world.cancel(keyOf(2));
  await world.settle();
  world.pooler.shutdown("immediate");
  await world.advance(1_000);
  await world.pooler.stopped;
  await canceling;
  peer.close();
});

Deno.test("the console shows requests that are passed on: waiting, and sent", async () => {
  await using world = await numberOne("admin_users = 'ada'");
  const peer = await FakePeer.listen(world);
  const cancels = [world.cancel(keyOf(2))];
  await world.settle();
  cancels.push(world.cancel(keyOf(2)));
  await world.settle();
  const console = await world.login({ database: "pgbouncer" });
  assert.deepEqual((await console.query("show peer_pools")).rows, [["2", "1", "1", "1", "0"]]);
  const { rows } = await console.query("show clients");
  assert.deepEqual(
    rows.map(([_type, user, database, _replication, state]) => [user, database, state]).slice(0, 2),
    [["", "peer_2", "active_cancel_req"], ["", "peer_2", "waiting_cancel_req"]],
  );
  peer.answer();
  await world.settle();
  peer.answer();
  await Promise.all(cancels);
  assert.deepEqual((await console.query("show peer_pools")).rows, [["2", "0", "0", "0", "0"]]);
  console.close();
  peer.close();
});
