import assert from "node:assert/strict";
import { receiveOpening } from "../../../src/client/client_startup.ts";
import { LoginInput } from "../../../src/client/login_input.ts";
import { PgError, ProtocolError } from "../../../src/wire/pg_error.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { frontend, utf8 } from "../../support/messages.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { SimNetwork } from "../../support/sim_net.ts";
import { TestClient } from "../../support/test_client.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";

const ADDRESS = { kind: "tcp", host: "127.0.0.1", port: 6432 } as const;
const OPTIONS = { receiveBytes: 4_096, maxBusyReads: 0, tcp: SYSTEM_TCP, timeoutMs: 0 };

/** What `client` opens with, as the other side understands it. */
async function opening(client: (client: TestClient) => Promise<void>) {
  const network = new SimNetwork({
    random: new SeededRandom(1),
    clock: new FakeClock(),
    isAutomatic: true,
  });
  const listener = await network.listen({ ...ADDRESS, backlog: 1 }, () => OPTIONS);
  const accepting = listener.connections().next();
  const near = new TestClient(await network.dial(ADDRESS, OPTIONS));
  const far = (await accepting).value!;
  try {
    const received = receiveOpening(new LoginInput(far.chunks()), {
      stream: far,
      tlsOffer: () => ({ tls: undefined, isRequired: false }),
      startTls: () => Promise.reject(new Error("There is no TLS here")),
    });
    const [result] = await Promise.allSettled([received, client(near)]);
    if (result.status === "rejected") throw result.reason;
    return result.value;
  } finally {
    near.close();
    far.close();
    listener.close();
    await network.runUntilIdle();
  }
}

Deno.test("receiveOpening() gives the StartupMessage", async () => {
  const found = await opening((client) => client.send(frontend.startup({ user: "ada" }, 2)));
  assert.ok(found.kind === "startup_message");
  assert.equal(found.minor, 2);
  assert.deepEqual([...found.parameters], [["user", "ada"]]);
});

Deno.test("receiveOpening() gives the key of a CancelRequest, of any length", async () => {
  for (const length of [8, 36, 260]) {
    const key = new Uint8Array(length).fill(9);
    const found = await opening((client) => client.send(frontend.cancelRequest(key)));
    assert.deepEqual(found, { kind: "cancel_request", key });
  }
});

Deno.test("receiveOpening() answers requests for encryption with N, in either order", async () => {
  const { gssencRequest, sslRequest, startup } = frontend;
  for (const requests of [[sslRequest()], [gssencRequest()], [gssencRequest(), sslRequest()]]) {
    const found = await opening(async (client) => {
      for (const request of requests) {
        await client.send(request);
        assert.equal(await client.receiveByte(), "N");
      }
      await client.send(startup({ user: "ada" }));
    });
    assert.equal(found.kind, "startup_message");
  }
});

for (
  const [what, request, expected] of [
    ["SSLRequest", frontend.sslRequest(), "received unencrypted data after SSL request"],
    [
      "GSSENCRequest",
      frontend.gssencRequest(),
      "received unencrypted data after GSSAPI encryption request",
    ],
  ] as const
) {
  Deno.test(`receiveOpening() refuses bytes that came with ${what}`, async () => {
    const attack = opening((client) => client.send(request, frontend.startup({ user: "ada" })));
    await assert.rejects(attack, (error) => {
      assert.ok(error instanceof PgError);
      assert.deepEqual([error.sqlstate, error.message], ["08P01", expected]);
      return true;
    });
  });

  Deno.test(`receiveOpening() refuses a second ${what}`, async () => {
    const twice = opening(async (client) => {
      await client.send(request);
      await client.receiveByte();
      await client.send(request);
    });
    await assert.rejects(twice, PgError);
  });
}

Deno.test("receiveOpening() makes nothing of a probe, and a line of a client that broke off", async () => {
  const probe = await opening((client) => Promise.resolve(client.close()));
  assert.deepEqual(probe, { kind: "nothing", reason: undefined });
  const half = await opening(async (client) => {
    await client.send(frontend.startup({ user: "ada" }).subarray(0, 9));
    client.close();
  });
  assert.deepEqual(half, { kind: "nothing", reason: "client unexpected eof" });
  const afterRefusal = await opening(async (client) => {
    await client.send(frontend.sslRequest());
    await client.receiveByte();
    client.close();
  });
  assert.deepEqual(afterRefusal, { kind: "nothing", reason: "client unexpected eof" });
});

Deno.test("receiveOpening() says that there is no TLS to a direct TLS handshake", async () => {
  const found = await opening((client) => client.send(new Uint8Array([0x16, 3, 1, 2, 0])));
  assert.deepEqual(found, { kind: "nothing", reason: "TLS is not available" });
});

Deno.test("receiveOpening() refuses protocol 2", async () => {
  const old = frontend.startup({ user: "ada" });
  old[5] = 2;
  await assert.rejects(opening((client) => client.send(old)), (error) => {
    assert.ok(error instanceof PgError);
    assert.deepEqual([error.sqlstate, error.message], ["0A000", "old V2 protocol not supported"]);
    return true;
  });
});

Deno.test("receiveOpening() gives a protocol error for what is no startup packet", async () => {
  const unterminated = frontend.startup({ user: "ada" });
  unterminated[unterminated.length - 1] = 0x61;
  for (
    const bytes of [utf8("GET / HTTP/1.1\r\n\r\n"), utf8("\0\0\0\x09\0\x03\0\0a"), unterminated]
  ) {
    await assert.rejects(opening((client) => client.send(bytes)), ProtocolError);
  }
});
