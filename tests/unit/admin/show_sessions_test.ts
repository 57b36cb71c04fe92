/** SHOW POOLS, CLIENTS and SERVERS: the columns, and what stands in them. */

import assert from "node:assert/strict";
import { showClients } from "../../../src/admin/show_clients.ts";
import { showPools } from "../../../src/admin/show_pools.ts";
import { showServers } from "../../../src/admin/show_servers.ts";
import { eventTurn } from "../../support/event_turn.ts";
import { backend } from "../../support/messages.ts";
import { ConsoleFixture } from "./console_fixture.ts";
import { readResult } from "./shown_result.ts";
import { columns, SOCKET_COLUMNS } from "./shown_columns.ts";
import { SHOWN_TOML } from "./shown_config.ts";

Deno.test("SHOW POOLS has the columns of PgBouncer and a row for the console", async () => {
  const fixture = await ConsoleFixture.from(SHOWN_TOML);
  fixture.addClient({ user: "root", database: "pgbouncer" });
  const { columns: shown, rows } = readResult(showPools(fixture));
  assert.deepEqual(
    shown,
    columns(
      "text database user",
      "int4 cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active",
      "int4 sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait",
      "int4 maxwait_us",
      "text pool_mode load_balance_hosts",
    ),
  );
  const zeros = Array.from("0".repeat(12));
  assert.deepEqual(rows.map((row) => Object.values(row)), [
    ["pgbouncer", "pgbouncer", "1", ...zeros, "statement", null],
  ]);
});

Deno.test("SHOW POOLS orders by database and user, the console in its place", async () => {
  const fixture = await ConsoleFixture.from(SHOWN_TOML);
  for (const [database, user] of [["zoo", "b"], ["zoo", "a"], ["archive", "reader"]] as const) {
    fixture.addPool({ database, user });
  }
  const { rows } = readResult(showPools(fixture));
  assert.deepEqual(
    rows.map(({ database, user }) => `${database}/${user}`),
    ["archive/reader", "pgbouncer/pgbouncer", "zoo/a", "zoo/b"],
  );
  const early = await ConsoleFixture.from(SHOWN_TOML);
  early.addPool({ database: "archive", user: "reader" });
  const last = readResult(showPools(early)).rows.at(-1);
  assert.equal(last!["database"], "pgbouncer");
});

Deno.test("SHOW POOLS takes the pool mode from the user, then the database, then all", async () => {
  const fixture = await ConsoleFixture.from(SHOWN_TOML);
  fixture.addPool({ database: "archive", user: "anna" });
  fixture.addPool({ database: "archive", user: "reader" });
  fixture.addPool({ database: "made_up", user: "reader" });
  const { rows } = readResult(showPools(fixture));
  const modes = rows.filter(({ database }) => database !== "pgbouncer")
    .map((row) => [row["database"], row["user"], row["pool_mode"], row["load_balance_hosts"]]);
  assert.deepEqual(modes, [
    ["archive", "anna", "statement", "round-robin"],
    ["archive", "reader", "session", "round-robin"],
    ["made_up", "reader", "transaction", null],
  ]);
});

Deno.test("SHOW POOLS counts clients by state, idle ones as active", async () => {
  const fixture = await ConsoleFixture.from(SHOWN_TOML);
  const pool = fixture.addPool({ poolSize: 1 });
  const [first, second] = [1, 2, 3].map(() => {
    return fixture.addClient({ user: "anna", database: "shop", pool });
  });
  fixture.ask(first!);
  await eventTurn();
  fixture.ask(second!);
  fixture.addConnection();
  const row = readResult(showPools(fixture)).rows[1]!;
  assert.deepEqual(
    [row["cl_active"], row["cl_waiting"], row["sv_active"], row["sv_idle"]],
    ["2", "1", "1", "0"],
  );
  await fixture.end();
});

Deno.test("SHOW POOLS counts servers by state", async () => {
  const fixture = await ConsoleFixture.from(SHOWN_TOML);
  const pool = fixture.addPool();
  const shown = () => {
    const row = readResult(showPools(fixture)).rows[1]!;
    return ["active", "being_canceled", "idle", "used", "tested", "login"]
      .map((state) => row[`sv_${state}`]).join("");
  };
  const client = fixture.addClient({ user: "anna", database: "shop", pool });
  fixture.ask(client);
  assert.equal(shown(), "000001");
  await eventTurn();
  assert.equal(shown(), "100000");
  const expected = ["010000", "001000", "000100", "000010"];
  for await (const state of fixture.statesOfFreeServer()) {
    assert.equal(shown(), expected.shift(), state);
  }
  await fixture.end();
});

Deno.test("SHOW POOLS shows how long the first has waited, for a server or for its login", async () => {
  const fixture = await ConsoleFixture.from(SHOWN_TOML);
  fixture.areServersUp = false;
  const pool = fixture.addPool({ poolSize: 1 });
  const client = fixture.addClient({ user: "anna", database: "shop", pool });
  fixture.ask(client);
  fixture.clock.advance(1_250);
  fixture.ask(fixture.addClient({ user: "anna", database: "shop", pool }));
  fixture.clock.advance(1_000.5);
  const wait = () => {
    const row = readResult(showPools(fixture)).rows[1]!;
    return [row["maxwait"], row["maxwait_us"]];
  };
  assert.deepEqual(wait(), ["2", "250500"]);
  client.relay!.cancelWait();
  assert.deepEqual(wait(), ["1", "500"]);
  await fixture.end();
});

Deno.test("SHOW POOLS counts those who wait for the first server's parameters", async () => {
  const fixture = await ConsoleFixture.from(SHOWN_TOML);
  fixture.areServersUp = false;
  const pool = fixture.addPool({ poolSize: 1 });
  const login = fixture.addLogin({ user: "anna", database: "shop", pool });
  fixture.clock.advance(500);
  fixture.awaitWelcome(pool);
  fixture.clock.advance(3_000);
  const [, row] = readResult(showPools(fixture)).rows;
  assert.deepEqual([row!["cl_active"], row!["cl_waiting"], row!["maxwait"]], ["0", "1", "3"]);
  const [shown] = readResult(showClients(fixture)).rows;
  assert.deepEqual(
    [shown!["id"], shown!["state"], shown!["wait"], shown!["wait_us"]],
    [String(login.id), "waiting", "3", "0"],
  );
  await fixture.end();
});

Deno.test("SHOW POOLS shows cancel requests under way and those that wait for a place", async () => {
  const fixture = await ConsoleFixture.from(SHOWN_TOML);
  const pool = fixture.addPool({ poolSize: 1 });
  const client = fixture.addClient({ user: "anna", database: "shop", pool });
  fixture.ask(client);
  await eventTurn();
  const key = new Uint8Array(8).fill(7);
  fixture.clients.addCancelKey(key, client);
  const cancels = [1, 2].map(() => fixture.cancels.cancel(key, fixture.addConnection()));
  await eventTurn();
  const [, row] = readResult(showPools(fixture)).rows;
  assert.deepEqual(
    [row!["cl_active_cancel_req"], row!["cl_waiting_cancel_req"], row!["sv_active_cancel"]],
    ["1", "1", "1"],
  );
  fixture.serverStreams[1]!.close();
  await eventTurn();
  fixture.serverStreams[2]!.close();
  await Promise.all(cancels);
  await fixture.end();
});

Deno.test("SHOW CLIENTS has 21 columns and a row for each client, also the console's", async () => {
  const fixture = await ConsoleFixture.from(SHOWN_TOML);
  const pool = fixture.addPool();
  const client = fixture.addClient({
    user: "anna",
    database: "shop",
    pool,
    applicationName: "till 3",
  });
  fixture.clock.advance(61_000);
  fixture.addClient({ user: "root", database: "pgbouncer" });
  fixture.ask(client);
  await eventTurn();
  const { columns: shown, rows } = readResult(showClients(fixture));
  assert.deepEqual(shown, SOCKET_COLUMNS);
  assert.equal(shown.length, 21);
  const local = ["127.0.0.1", "6432"];
  assert.deepEqual(rows.map((row) => Object.values(row)), [
    [
      ...["C", "anna", "shop", "none", "active", "127.0.0.1", "50001", ...local],
      ...["2026-11-22 10:35:55 UTC", "2026-11-22 10:36:56 UTC", "0", "0", "0"],
      ...["0x000000000001", "0x000000000001", "0", "", "till 3", "0", "1"],
    ],
    [
      ...["C", "root", "pgbouncer", "none", "idle", "127.0.0.1", "50002", ...local],
      ...["2026-11-22 10:36:56 UTC", "2026-11-22 10:36:56 UTC", "0", "0", "0"],
      ...["0x000000000002", "", "0", "", "", "0", "2"],
    ],
  ]);
  await fixture.end();
});

Deno.test("SHOW CLIENTS shows how long a client waits, and only while it does", async () => {
  const fixture = await ConsoleFixture.from(SHOWN_TOML);
  const pool = fixture.addPool({ poolSize: 1 });
  const [first, second] = [1, 2].map(() =>
    fixture.addClient({ user: "anna", database: "shop", pool })
  );
  fixture.ask(first!);
  await eventTurn();
  fixture.ask(second!);
  fixture.clock.advance(2_000.25);
  const shown = () =>
    readResult(showClients(fixture)).rows.map((row) =>
      `${row["state"]} ${row["wait"]} ${row["wait_us"]}`
    );
  assert.deepEqual(shown(), ["active 0 0", "waiting 2 250"]);
  fixture.serverStreams[0]!.push(backend.ready());
  await eventTurn();
  assert.deepEqual(shown(), ["idle 0 0", "active 0 0"]);
  await fixture.end();
});

Deno.test("SHOW CLIENTS shows no wait of a client that asks nothing while others log in", async () => {
  const fixture = await ConsoleFixture.from(SHOWN_TOML);
  fixture.areServersUp = false;
  const pool = fixture.addPool();
  fixture.addClient({ user: "anna", database: "shop", pool });
  fixture.awaitWelcome(pool);
  fixture.clock.advance(3_000);
  const [row] = readResult(showClients(fixture)).rows;
  assert.deepEqual([row!["state"], row!["wait"]], ["idle", "0"]);
  await fixture.end();
});

Deno.test("SHOW CLIENTS and SHOW SERVERS show when the last request set out", async () => {
  const fixture = await ConsoleFixture.from(SHOWN_TOML);
  const pool = fixture.addPool();
  const client = fixture.addClient({ user: "anna", database: "shop", pool });
  const times = () =>
    [showClients, showServers].map((show) => {
      const [row] = readResult(show(fixture)).rows;
      return `${row!["connect_time"]} / ${row!["request_time"]}`;
    });
  fixture.ask(client);
  await eventTurn();
  fixture.serverStreams[0]!.push(backend.ready());
  await eventTurn();
  fixture.clock.advance(10_000);
  fixture.ask(client);
  fixture.clock.advance(30_000);
  const expected = "2026-11-22 10:35:55 UTC / 2026-11-22 10:36:05 UTC";
  assert.deepEqual(times(), [expected, expected]);
  await fixture.end();
});

Deno.test("SHOW CLIENTS leaves out who has not proved who it is, and who is going", async () => {
  const fixture = await ConsoleFixture.from(SHOWN_TOML);
  fixture.addConnection();
  fixture.addLogin({ user: "anna", database: "pgbouncer" });
  fixture.addClient({ user: "anna", database: "pgbouncer" }).end("client close request");
  assert.deepEqual(readResult(showClients(fixture)).rows, []);
});

Deno.test("SHOW SERVERS has 21 columns and names the linked client and the backend", async () => {
  const fixture = await ConsoleFixture.from(SHOWN_TOML);
  const pool = fixture.addPool();
  fixture.addConnection();
  const client = fixture.addClient({ user: "anna", database: "shop", pool });
  fixture.ask(client);
  await eventTurn();
  const { columns: shown, rows } = readResult(showServers(fixture));
  assert.deepEqual(shown, SOCKET_COLUMNS);
  assert.deepEqual(rows.map((row) => Object.values(row)), [
    [
      ...["S", "anna", "shop", "none", "active", "10.0.0.7", "5432", "10.0.0.1", "40001"],
      ...["2026-11-22 10:35:55 UTC", "2026-11-22 10:35:55 UTC", "0", "0", "0"],
      ...["0x000000000001", "0x000000000002", "4711", "", "other", "0", "1"],
    ],
  ]);
  await fixture.end();
});

Deno.test("SHOW SERVERS shows every state of a server, under PgBouncer's names", async () => {
  const fixture = await ConsoleFixture.from(SHOWN_TOML);
  const pool = fixture.addPool();
  const client = fixture.addClient({ user: "anna", database: "shop", pool });
  const shown = () => {
    const [row] = readResult(showServers(fixture)).rows;
    return `${row!["state"]} ${row!["link"]} ${row!["close_needed"]}`;
  };
  fixture.ask(client);
  const [newcomer] = readResult(showServers(fixture)).rows;
  assert.equal(shown(), "new  0");
  assert.deepEqual(
    [newcomer!["addr"], newcomer!["port"], newcomer!["local_addr"], newcomer!["local_port"]],
    ["db.example", "5432", "", "0"],
  );
  assert.equal(newcomer!["remote_pid"], "0");
  await eventTurn();
  fixture.clock.advance(90_000);
  for await (const state of fixture.statesOfFreeServer()) {
    assert.equal(shown(), `${state}  0`);
  }
  fixture.servers[0]!.doom("connect string changed");
  assert.equal(shown(), "tested  1");
  await fixture.end();
});

Deno.test("a server that has gone while SHOW SERVERS is being sent is left out", async () => {
  const fixture = await ConsoleFixture.from(SHOWN_TOML);
  const pool = fixture.addPool();
  fixture.ask(fixture.addClient({ user: "anna", database: "shop", pool }));
  await eventTurn();
  const [server] = fixture.servers;
  const all = showServers(fixture);
  server!.discard("test");
  assert.deepEqual([...all.rows], []);
  await fixture.end();
});
