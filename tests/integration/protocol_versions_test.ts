/** Protocol 3.0 and 3.2 on both sides, with transaction pooling: who speaks what, and who can cancel. */

import assert from "node:assert/strict";
import { type Postgres, startPostgres } from "../../scripts/postgres_fixture.ts";
import { frontend } from "../support/messages.ts";
import { isMissing } from "../support/requirements.ts";
import { TcpBackend } from "../support/tcp_backend.ts";
import { backend as say } from "../support/messages.ts";
import { startWorld, until, valueOf, type World } from "./support/world.ts";

const V3 = 3 << 16;

/** What clients ask for; which version they are told, if any; the length of their key. */
const CLIENTS: readonly (readonly [asked: number, told: readonly number[], keyBytes: number])[] = [
  [0, [], 8],
  [1, [], 8],
  [2, [], 32],
  [9_999, [V3 | 2], 32],
];

function openWorld(postgres: Postgres, pooler: Record<string, string> = {}): Promise<World> {
  return startWorld(postgres, {
    pooler: { pool_mode: "transaction", default_pool_size: 1, verbose: 2, ...pooler },
  });
}

/** A client of each version runs an endless query, and another connection cancels it by its key. */
async function assertEverybodyCancels(world: World): Promise<void> {
  for (const [minor, told, keyBytes] of CLIENTS) {
    const client = await world.connect({ minor });
    assert.deepEqual(client.negotiations.map(({ version }) => version), told);
    assert.equal(client.cancelKey?.length, keyBytes, `key of a client of 3.${minor}`);
    await client.send(frontend.query("select pg_sleep(600)"));
    await world.untilBackends("an endless query", (all) => {
      return all.some(({ query, state }) => state === "active" && query.includes("pg_sleep"));
    });
    const requester = await world.open();
    await requester.send(frontend.cancelRequest(client.cancelKey!));
    assert.deepEqual(await requester.receiveUntilEnd(), []);
    const { errors, status } = await client.result();
    assert.deepEqual([errors[0]?.sqlstate, status], ["57014", "I"]);
    assert.equal(valueOf(await client.query("select 'alive'")), "alive");
  }
}

/** PostgreSQL by version, with the protocol that is spoken to it. */
const SERVERS = [
  { flavour: "embedded", name: "PostgreSQL 18", spoken: "3.2", ignore: false },
  { flavour: "debian", name: "PostgreSQL 15", spoken: "3.0", ignore: isMissing("postgresql-15") },
] as const;

for (const { flavour, name, spoken, ignore } of SERVERS) {
  Deno.test({
    name: `clients of every version cancel their queries on ${name}, to which ${spoken} is spoken`,
    ignore,
    async fn() {
      await using postgres = await startPostgres({ auth: "scram-sha-256", flavour });
      await using world = await openWorld(postgres);
      await assertEverybodyCancels(world);
      assert.match(world.sluice.log(), new RegExp(`S-0x.* speaks protocol ${spoken}`));
      assert.match(world.sluice.log(), /C-0x.* speaks protocol 3\.2/);
      await world.untilBackendCount(1);
    },
  });
}

Deno.test("with server_protocol = 3.0 PostgreSQL 18 is spoken to in 3.0, and cancels work", async () => {
  await using postgres = await startPostgres({ auth: "trust" });
  await using world = await openWorld(postgres, { server_protocol: "3.0" });
  await assertEverybodyCancels(world);
  assert.match(world.sluice.log(), /S-0x.* speaks protocol 3\.0/);
});

for (const how of ["with an error", "by closing the connection"]) {
  Deno.test(`a server that refuses 3.2 ${how} serves its clients in 3.0`, async () => {
    const asked: string[] = [];
    await using server = new TcpBackend(async (conn) => {
      const packet = await conn.startup();
      asked.push(`${packet[1]}.${packet[3]}`);
      if (packet[3] !== 0) {
        if (how === "with an error") await conn.send(say.error("08P01", "bad packet", "FATAL"));
        return;
      }
      await conn.send(
        say.authentication(0),
        say.parameterStatus("server_version", "9.2"),
        say.keyData(4711, 815),
        say.ready(),
      );
      await conn.serve("served");
    });
    await using postgres = await startPostgres({ auth: "trust" });
    await using world = await startWorld(postgres, {
      pooler: { pool_mode: "transaction" },
      database: { port: server.port },
    });
    const client = await world.connect({ minor: 2 });
    assert.equal(valueOf(await client.query("select 1")), "served");
    await until("the log line", () => /speaks no protocol 3\.2/.test(world.sluice.log()));
    assert.deepEqual(asked, ["3.2", "3.0"]);
  });
}
