/** What clients of the ledger take for the end of a connection, and what for a fault. */

import assert from "node:assert/strict";
import type { Transfer } from "../../../scripts/chaos/ledger.ts";
import { LEDGER_CLIENTS, type LedgerClient } from "../../../scripts/chaos/ledger_clients.ts";
import { TestAuthority, type TestCertificate } from "../../support/certificates.ts";
import { passBothWays } from "../../support/connection_end.ts";
import { backend, message, textOf } from "../../support/messages.ts";
import { BackendConn, TcpBackend } from "../../support/tcp_backend.ts";

const TRANSFER: Transfer = { id: 1, source: 1, target: 2, amount: 5, end: "commit" };

const SIMPLE = LEDGER_CLIENTS.find(({ name }) => name === "simple")!;

function connect(port: number, certificate?: string): Promise<LedgerClient> {
  const [user, password, database] = ["ledger", "x", "bank"];
  return SIMPLE.connect({ host: "127.0.0.1", port, user, password, database, certificate });
}

/** Answers each statement as PostgreSQL would, up to the one that begins with `last`. */
async function answerUpTo(conn: BackendConn, last: string): Promise<void> {
  await conn.logIn();
  for (;;) {
    const sql = textOf((await conn.receive()).body);
    if (sql.startsWith(last)) return;
    if (sql.startsWith("insert")) {
      const row = [backend.rowDescription(["id"]), backend.dataRow(["1"])];
      await conn.send(...row, backend.complete("INSERT 0 1"), backend.ready("T"));
    } else {
      const tag = sql.startsWith("begin") ? "BEGIN" : "UPDATE 1";
      await conn.send(backend.complete(tag), backend.ready("T"));
    }
  }
}

Deno.test("a ledger client whose connection ends has lost it, and knows what of a transfer is certain", async () => {
  await using postgres = new TcpBackend((conn, index) =>
    answerUpTo(conn, index === 0 ? "update" : "commit")
  );
  for (const outcome of ["rolled back", "unknown"]) {
    const client = await connect(postgres.port);
    assert.equal(await client.transfer(TRANSFER), outcome);
    assert.equal(client.isLost, true);
    // What is sent by a connection that is closed comes to the same.
    assert.equal(await client.transfer(TRANSFER), "rolled back");
  }
});

Deno.test("a ledger client that gets what is no answer fails, and takes it for no lost connection", async () => {
  await using postgres = new TcpBackend(async (conn) => {
    await answerUpTo(conn, "commit");
    // Five values, and none of them there.
    await conn.send(message("D", Uint8Array.of(0, 5)), backend.ready());
    await conn.untilGone();
  });
  const client = await connect(postgres.port);
  await assert.rejects(client.transfer(TRANSFER), RangeError);
});

/** Has a client's TLS end in the middle of a transfer, without the word that belongs there. */
async function cutOffTls(
  listener: Deno.TcpListener,
  { certificate, key }: TestCertificate,
): Promise<void> {
  const decoder = new TextDecoder();
  const [cert, keyText] = [decoder.decode(certificate), decoder.decode(key)];
  using secured = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key: keyText });
  using client = await listener.accept();
  await client.read(new Uint8Array(8));
  await client.write(new TextEncoder().encode("S"));
  using inner = await Deno.connect({ hostname: "127.0.0.1", port: secured.addr.port });
  const passing = passBothWays(client, inner);
  using tls = await secured.accept();
  await answerUpTo(new BackendConn(tls), "commit");
  client.close();
  await passing;
}

Deno.test("a ledger client whose TLS is cut off has lost its connection", async () => {
  const authority = new TestAuthority("Authority");
  const server = authority.issue({ commonName: "localhost", names: ["localhost"] });
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = cutOffTls(listener, server);
  const certificate = new TextDecoder().decode(authority.certificate);
  const client = await connect(listener.addr.port, certificate);
  assert.equal(await client.transfer(TRANSFER), "unknown");
  assert.equal(client.isLost, true);
  await serving;
});
