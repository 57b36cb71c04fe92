/** The PROXY protocol on real sockets: psql through a relay that adds the header, and raw clients. */

import assert from "node:assert/strict";
import { startPostgres } from "../../scripts/postgres_fixture.ts";
import { TaskGroup } from "../../src/base/task_group.ts";
import { passBothWays } from "../support/connection_end.ts";
import { frontend } from "../support/messages.ts";
import { psql } from "../support/commands.ts";
import { proxied, proxyLine, proxyLocal } from "../support/proxy_headers.ts";
import { isMissing } from "../support/requirements.ts";
import { type Section, startWorld, token, until, valueOf } from "./support/world.ts";

const postgres = await startPostgres({ auth: "trust" });
Deno.test.afterAll(() => postgres[Symbol.asyncDispose]());

const ON: Section = {
  proxy_protocol: true,
  proxy_trusted: "127.0.0.1",
  application_name_add_host: true,
};

const CLIENT = {
  source: [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7],
  target: [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
  sourcePort: 53_412,
  targetPort: 6432,
};

/** A proxy that begins each connection to a port of 127.0.0.1 with the same bytes. */
class HeaderRelay implements AsyncDisposable {
  readonly port: number;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #tasks = new TaskGroup((error) => {
    throw error;
  });

  constructor(targetPort: number, header: Uint8Array) {
    this.port = this.#listener.addr.port;
    this.#tasks.spawn(async () => {
      for await (const conn of this.#listener) {
        this.#tasks.spawn(() => relay(conn, { targetPort, header }));
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#tasks[Symbol.asyncDispose]();
  }
}

async function relay(
  conn: Deno.TcpConn,
  { header, targetPort }: { header: Uint8Array; targetPort: number },
): Promise<void> {
  const onward = await Deno.connect({ hostname: "127.0.0.1", port: targetPort });
  const writer = onward.writable.getWriter();
  await writer.write(header);
  writer.releaseLock();
  await passBothWays(conn, onward);
}

const SEEN = "select application_name from pg_stat_activity where pid = pg_backend_pid()";

Deno.test({
  name: "psql behind a proxy is seen at its own address",
  ignore: isMissing("psql"),
  async fn() {
    await using world = await startWorld(postgres, { pooler: ON });
    const headers = [
      [proxyLine("192.0.2.7", 1_234), "psql - 192.0.2.7:1234"],
      [proxied(CLIENT), "psql - [2001:db8::7]:53412"],
    ] as const;
    for (const [header, expected] of headers) {
      await using proxy = new HeaderRelay(world.sluice.port, header);
      const { password, user } = world;
      const output = await psql({ port: proxy.port, user, password }, SEEN);
      assert.equal(output.stderr, "");
      assert.equal(output.stdout.trim(), expected);
    }
    assert.match(world.sluice.log(), /@2001:db8::7:53412 login attempt/);
  },
});

Deno.test("a trusted proxy without a header is hung up on, one with LOCAL is served as itself", async () => {
  await using world = await startWorld(postgres, { pooler: ON });
  const { database, user } = world;
  const startup = frontend.startup({ user, database });
  const bare = await world.open();
  await bare.send(startup);
  assert.equal(await bare.lastWords(), "nothing");
  await until("a line of it", () => world.sluice.log().includes("no PROXY header where one is"));
  const local = await world.open();
  await local.send(proxyLocal());
  await local.send(startup);
  await local.finishLogin({ user });
  assert.match(valueOf(await local.query(SEEN))!, /^app - 127\.0\.0\.1:\d+$/);
});

Deno.test("a header from an address that is not trusted is hung up on; others go on", async () => {
  await using world = await startWorld(postgres, {
    pooler: { ...ON, proxy_trusted: "192.0.2.0/24" },
  });
  const witness = await world.connect();
  const { database, user } = world;
  const liar = await world.open();
  await liar.send(proxyLine("127.0.0.1", 1), frontend.startup({ user, database }));
  assert.equal(await liar.lastWords(), "nothing");
  await until("a line of it", () => world.sluice.log().includes("not in proxy_trusted"));
  const mine = token();
  assert.equal(valueOf(await witness.query(`select '${mine}'`)), mine);
});
