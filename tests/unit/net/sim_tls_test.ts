/** What simulated TLS looks like from outside; that it is TLS to its users, a suite says. */

import assert from "node:assert/strict";
import { TlsHandshakeError } from "../../../src/net/tls.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { textOf } from "../../support/messages.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { SimNetwork, type SimStream } from "../../support/sim_net.ts";
import { SimTls } from "../../support/sim_tls_context.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";
import { makeTlsMaterial, toClients, toServers } from "../../support/tls_material.ts";

const STREAM_OPTIONS = { receiveBytes: 4_096, maxBusyReads: 0, tcp: SYSTEM_TCP };

const MATERIAL = makeTlsMaterial();

async function connect(): Promise<[near: SimStream, far: SimStream]> {
  const random = new SeededRandom(1);
  const network = new SimNetwork({ random, clock: new FakeClock(), isAutomatic: true });
  const address = { kind: "tcp", host: "127.0.0.1", port: 0, backlog: 16 } as const;
  const listener = await network.listen(address, () => STREAM_OPTIONS);
  const accepted = listener.connections().next();
  const near = await network.dial(listener.address, { ...STREAM_OPTIONS, timeoutMs: 0 });
  return [near, (await accepted).value as SimStream];
}

const toServer = new SimTls().makeContext(toServers());
const toClient = new SimTls().makeContext(toClients(MATERIAL.server));

Deno.test("A plain reader sees that a simulated handshake begins, and nothing of what is said", async () => {
  const [near, far] = await connect();
  const failing = assert.rejects(
    near.startTls({ context: toServer, serverName: "db.example" }),
    new TlsHandshakeError("The connection has ended"),
  );
  for await (const chunk of far.chunks()) {
    assert.equal(chunk[0], 0x16);
    assert.doesNotMatch(textOf(chunk), /TLSv1|db\.example/);
    break;
  }
  far.close();
  await failing;
});

Deno.test("The accepting end learns what the server is called, unless that is an address", async () => {
  for (
    const [serverName, told] of [["db.example", "db.example"], ["127.0.0.1", undefined]] as const
  ) {
    const [near, far] = await connect();
    const shaking = near.startTls({ context: toServer, serverName });
    await far.startTls({ context: toClient });
    await shaking;
    assert.equal(far.tlsServerName, told);
    near.close();
    far.close();
  }
});

Deno.test("Who asks for another application protocol is refused, and who asks for none is not", async () => {
  const [near, far] = await connect();
  const web = new SimTls({ protocols: ["http/1.1"] }).makeContext(toServers());
  const refused = new TlsHandshakeError("The peer says: no application protocol");
  const failing = assert.rejects(near.startTls({ context: web }), refused);
  await assert.rejects(far.startTls({ context: toClient }), TlsHandshakeError);
  await failing;
  near.close();
  far.close();

  const [old, again] = await connect();
  const silent = new SimTls({ protocols: [] }).makeContext(toServers());
  const shaking = old.startTls({ context: silent });
  assert.equal((await again.startTls({ context: toClient })).hasProtocol, false);
  assert.equal((await shaking).hasProtocol, false);
  old.close();
  again.close();
});
