/** However a server is lost before it was idle, it counts as a failed login: a pause follows. */

import assert from "node:assert/strict";
import { backend as say } from "../../support/messages.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { SimNetwork } from "../../support/sim_net.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { type Peer, ServerBench } from "./server_bench.ts";

for (
  const [how, lose] of [
    ["closes", (peer: Peer) => peer.close()],
    ["says FATAL and closes", async (peer: Peer) => {
      await peer.send(say.error("57P01", "terminating connection", "FATAL"));
      peer.close();
    }],
    ["talks nonsense", (peer: Peer) => peer.send(new Uint8Array([0, 255, 255, 255, 255, 0]))],
  ] as const
) {
  Deno.test(`ServerSession that ${how} during connect_query is unreachable, not served`, async () => {
    await using bench = await ServerBench.open({ connectQuery: "select pg_sleep(1)" });
    const peer = await bench.logIn();
    assert.equal(bench.server.state.kind, "login");
    await lose(peer);
    await bench.settle();
    assert.notEqual(bench.end().kind, "served");
  });

  Deno.test(`ServerSession that ${how} when it was idle has served`, async () => {
    await using bench = await ServerBench.open();
    const peer = await bench.logIn();
    await lose(peer);
    await bench.settle();
    assert.equal(bench.end().kind, "served");
  });
}

Deno.test("ServerSession that says FATAL during connect_query ends with its words, for the log and clients", async () => {
  await using bench = await ServerBench.open({ connectQuery: "select pg_sleep(1)" });
  const peer = await bench.logIn();
  await peer.send(say.error("57P01", "terminating connection", "FATAL"));
  peer.close();
  await bench.settle();
  const { error, reason } = bench.end();
  assert.equal(reason, "server conn crashed? (FATAL: terminating connection)");
  assert.deepEqual([error.sqlstate, error.message], ["57P01", "terminating connection"]);
});

Deno.test("ServerSession that reports an error during connect_query and hangs up has crashed", async () => {
  await using bench = await ServerBench.open({ connectQuery: "select pg_sleep(1)" });
  const peer = await bench.logIn();
  await peer.send(say.error("22012", "division by zero"));
  peer.close();
  await bench.settle();
  const { error, reason } = bench.end();
  assert.deepEqual([error.message, reason], ["server conn crashed?", "server conn crashed?"]);
});

Deno.test("ServerSession whose login ends in a fault of ours is unreachable, not served", async () => {
  const network = new SimNetwork({ random: new SeededRandom(1), clock: new FakeClock() });
  network.dial = () => Promise.reject(new TypeError("made to fail"));
  await using bench = await ServerBench.open({ network });
  await assert.rejects(bench.server.run(), TypeError);
  assert.equal(bench.end().kind, "unreachable");
  assert.equal(bench.end().error.message, "internal error", "the client is not told more");
});
