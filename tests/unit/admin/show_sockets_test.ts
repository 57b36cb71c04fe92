/** SHOW SOCKETS and ACTIVE_SOCKETS, and that tables of sessions outlive the sessions. */

import assert from "node:assert/strict";
import type { ConsoleContext } from "../../../src/admin/console_context.ts";
import type { ShownTable } from "../../../src/admin/result_set.ts";
import { showClients } from "../../../src/admin/show_clients.ts";
import { showLists } from "../../../src/admin/show_lists.ts";
import { showServers } from "../../../src/admin/show_servers.ts";
import { showActiveSockets, showSockets } from "../../../src/admin/show_sockets.ts";
import { eventTurn } from "../../support/event_turn.ts";
import { frontend } from "../../support/messages.ts";
import { ConsoleFixture } from "./console_fixture.ts";
import { readResult } from "./shown_result.ts";
import { columns, SOCKET_COLUMNS } from "./shown_columns.ts";

const COLUMNS = [
  ...SOCKET_COLUMNS,
  ...columns("int4 recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail send_avail"),
];

const QUERY_BYTES = String(frontend.query("SELECT 1").length);

function stateOf(show: (context: ConsoleContext) => ShownTable, context: ConsoleContext): string[] {
  return readResult(show(context)).rows.map((row) => `${row["type"]} ${row["state"]}`);
}

Deno.test("SHOW SOCKETS and ACTIVE_SOCKETS have 28 columns", async () => {
  const fixture = await ConsoleFixture.from();
  assert.equal(COLUMNS.length, 28);
  for (const show of [showSockets, showActiveSockets]) {
    assert.deepEqual(readResult(show(fixture)).columns, COLUMNS);
  }
});

Deno.test("SHOW SOCKETS lists clients and servers in PgBouncer's states, but not who is going", async () => {
  const fixture = await ConsoleFixture.from();
  const pool = fixture.addPool({ poolSize: 1 });
  const [first, second, third] = [1, 2, 3].map(() => {
    return fixture.addClient({ user: "anna", database: "shop", pool });
  });
  fixture.addConnection();
  fixture.addLogin({ user: "anna", database: "pgbouncer" });
  fixture.addLogin({ user: "anna", database: "shop", pool });
  fixture.ask(first!);
  const clients = ["C cl_login", "C cl_login", "C cl_waiting"];
  assert.deepEqual(
    stateOf(showSockets, fixture),
    ["C cl_waiting", "C cl_active", "C cl_active", ...clients, "S sv_login"],
  );
  await eventTurn();
  fixture.ask(second!);
  third!.end("client close request");
  assert.deepEqual(
    stateOf(showSockets, fixture),
    ["C cl_active", "C cl_waiting", ...clients, "S sv_active"],
  );
  await fixture.end();
});

Deno.test("SHOW SOCKETS shows every state of a free server", async () => {
  const fixture = await ConsoleFixture.from();
  const client = fixture.addClient({ user: "anna", database: "shop", pool: fixture.addPool() });
  const shown = () => stateOf(showSockets, fixture).at(-1);
  fixture.ask(client);
  await eventTurn();
  for await (const state of fixture.statesOfFreeServer()) {
    assert.equal(shown(), `S sv_${state}`);
  }
  await fixture.end();
});

Deno.test("SHOW ACTIVE_SOCKETS lists those whose request is held, and how much of it", async () => {
  const fixture = await ConsoleFixture.from();
  const pool = fixture.addPool({ poolSize: 1 });
  const [first, second] = [1, 2].map(() => {
    return fixture.addClient({ user: "anna", database: "shop", pool });
  });
  fixture.ask(first!);
  await eventTurn();
  assert.deepEqual(readResult(showActiveSockets(fixture)).rows, []);
  fixture.ask(second!);
  const { rows } = readResult(showActiveSockets(fixture));
  assert.deepEqual(rows.map(({ id }) => id), [String(second!.id)]);
  assert.deepEqual(
    Object.values(rows[0]!).slice(21),
    [QUERY_BYTES, QUERY_BYTES, "0", "0", "0", "0", QUERY_BYTES],
  );
  await fixture.end();
});

Deno.test("SHOW ACTIVE_SOCKETS makes no rows of those that it leaves out, however many they are", async () => {
  const fixture = await ConsoleFixture.from();
  const pool = fixture.addPool({ poolSize: 1 });
  let madeCount = 0;
  for (let i = 0; i < 3; i++) {
    const client = fixture.addClient({ user: "anna", database: "shop", pool });
    const { remote } = client;
    Object.defineProperty(client, "remote", { get: () => (madeCount += 1, remote) });
  }
  assert.equal(readResult(showSockets(fixture)).rows.length, 3);
  assert.equal(madeCount, 3);
  assert.deepEqual(readResult(showActiveSockets(fixture)).rows, []);
  assert.equal(madeCount, 3);
  await fixture.end();
});

Deno.test("SHOW CLIENTS and SOCKETS list cancel requests under way, by the pool they are for", async () => {
  const fixture = await ConsoleFixture.from();
  const pool = fixture.addPool({ poolSize: 1 });
  const client = fixture.addClient({ user: "anna", database: "shop", pool });
  fixture.ask(client);
  await eventTurn();
  const key = new Uint8Array(8).fill(7);
  fixture.clients.addCancelKey(key, client);
  const requesters = [fixture.addConnection(), fixture.addConnection()];
  const cancels = requesters.map((requester) => fixture.cancels.cancel(key, requester));
  await eventTurn();
  const { rows } = readResult(showClients(fixture));
  assert.deepEqual(rows.map(({ database, state, user }) => [state, database, user]), [
    ["active", "shop", "anna"],
    ["active_cancel_req", "shop", "anna"],
    ["waiting_cancel_req", "shop", "anna"],
  ]);
  assert.deepEqual(
    stateOf(showSockets, fixture).slice(1, 3),
    ["C cl_active_cancel_req", "C cl_waiting_cancel_req"],
  );
  const lists = readResult(showLists(fixture)).rows;
  assert.equal(lists.find(({ list }) => list === "login_clients")!["items"], "0");
  fixture.serverStreams[1]!.close();
  await eventTurn();
  fixture.serverStreams[2]!.close();
  await Promise.all(cancels);
  assert.equal(readResult(showClients(fixture)).rows.length, 1);
  await fixture.end();
});

for (
  const [name, show] of [["CLIENTS", showClients], ["SERVERS", showServers], [
    "SOCKETS",
    showSockets,
  ]] as const
) {
  Deno.test(`SHOW ${name} can be read while sessions end and begin`, async () => {
    const fixture = await ConsoleFixture.from();
    const pool = fixture.addPool();
    const clients = [1, 2, 3].map(() => {
      return fixture.addClient({ user: "anna", database: "shop", pool });
    });
    for (const client of clients) {
      fixture.ask(client);
      await eventTurn();
    }
    const { rows } = show(fixture);
    const iterator = rows[Symbol.iterator]();
    const idOf = (row: IteratorResult<readonly unknown[]>) => row.value?.[20];
    const firstId = idOf(iterator.next());
    clients[1]!.end("client unexpected eof");
    fixture.clients.remove(clients[1]!);
    await eventTurn();
    fixture.addClient({ user: "anna", database: "shop", pool });
    const ids = [firstId];
    for (let row = iterator.next(); !row.done; row = iterator.next()) ids.push(idOf(row));
    const clientIds = [clients[0]!.id, clients[2]!.id];
    const serverIds = [fixture.servers[0]!.id, fixture.servers[2]!.id];
    const expected = { CLIENTS: clientIds, SERVERS: serverIds, SOCKETS: clientIds };
    assert.deepEqual(ids.slice(0, 2), expected[name]);
    assert.equal(ids.length, name === "SOCKETS" ? 4 : 2);
    await fixture.end();
  });
}
