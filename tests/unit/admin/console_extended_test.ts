/** The console by the extended protocol, for drivers that speak nothing else. */

import assert from "node:assert/strict";
import { cstring, frontend, int16, int32, message } from "../../support/messages.ts";
import { messagesIn } from "./shown_result.ts";
import { openSession, openWithPools } from "./open_session.ts";

Deno.test("a SHOW runs by the extended protocol as by the simple one, with one ReadyForQuery at Sync", async () => {
  const { answers, send } = await openSession();
  await send(
    frontend.parse("SHOW VERSION"),
    frontend.bind(),
    frontend.describe("P"),
    frontend.execute(),
    frontend.sync(),
  );
  assert.deepEqual(answers(), ["1", "2", "T", "D", "C SHOW", "Z"]);
});

Deno.test("answers come at Flush too", async () => {
  const { answers, send } = await openSession();
  await send(frontend.parse("SHOW VERSION", "v"), frontend.describe("S", "v"), frontend.flush());
  assert.deepEqual(answers(), ["1", "t", "T"]);
  await send(frontend.sync());
  assert.deepEqual(answers(), ["Z"]);
});

Deno.test("a named statement serves again and again, until it is closed", async () => {
  const { answers, report, send } = await openSession();
  await send(frontend.parse("SHOW VERSION", "v"), frontend.sync());
  assert.deepEqual(answers(), ["1", "Z"]);
  for (let i = 0; i < 2; i++) {
    await send(frontend.bind({ statement: "v" }), frontend.execute(), frontend.sync());
    assert.deepEqual(answers(), ["2", "D", "C SHOW", "Z"]);
  }
  await send(frontend.parse("SHOW POOLS", "v"), frontend.sync());
  assert.deepEqual([report().sqlstate], ["42P05"]);
  await send(frontend.close("S", "v"), frontend.sync());
  assert.deepEqual(answers(), ["3", "Z"]);
  await send(frontend.bind({ statement: "v" }), frontend.sync());
  assert.deepEqual([report().sqlstate], ["26000"]);
});

Deno.test("commands without rows describe none and run once a portal", async () => {
  const { answers, fixture, send } = await openSession();
  await send(
    frontend.parse("PAUSE $1"),
    frontend.describe("S"),
    frontend.bind({ values: ["shop"] }),
    frontend.describe("P"),
    frontend.execute(),
    frontend.sync(),
  );
  assert.deepEqual(answers(), ["1", "t", "n", "2", "n", "C PAUSE", "Z"]);
  assert.deepEqual(fixture.operations.calls, [["pause", "shop"]]);
});

Deno.test("a portal of a command that does something is run once", async () => {
  const { answers, fixture, send } = await openSession();
  await send(
    frontend.parse("RECONNECT"),
    frontend.bind(),
    frontend.execute(),
    frontend.execute(),
    frontend.sync(),
  );
  assert.deepEqual(answers(), ["1", "2", "C RECONNECT", "E 55000", "Z"]);
  assert.deepEqual(fixture.operations.calls, [["reconnect", undefined]]);
});

Deno.test("an empty statement is answered as such", async () => {
  const { answers, send } = await openSession();
  await send(frontend.parse(""), frontend.bind(), frontend.execute(), frontend.sync());
  assert.deepEqual(answers(), ["1", "2", "I", "Z"]);
});

Deno.test("after an error everything up to Sync is dropped", async () => {
  const { answers, fixture, send } = await openSession();
  await send(
    frontend.parse("nonsense"),
    frontend.bind(),
    frontend.execute(),
    frontend.query("RELOAD"),
    frontend.sync(),
    frontend.query("SHOW VERSION"),
  );
  assert.deepEqual(answers(), ["E 42601", "Z", "T", "D", "C SHOW", "Z"]);
  assert.equal(fixture.reloadCount, 0);
});

Deno.test("Execute gives as many rows as are asked for, and goes on where it stopped", async () => {
  const { answers, send } = await openWithPools();
  await send(
    frontend.parse("SHOW POOLS"),
    frontend.bind(),
    frontend.execute("", 3),
    frontend.execute("", 3),
    frontend.execute("", 3),
    frontend.sync(),
  );
  const expected = ["1", "2", "D", "D", "D", "s", "D", "C SHOW", "C SHOW", "Z"];
  assert.deepEqual(answers(), expected);
});

Deno.test("a portal is gone after Sync, and what has no name after a Query", async () => {
  const { answers, send } = await openSession();
  await send(
    frontend.parse("SHOW VERSION"),
    frontend.bind({ portal: "p" }),
    frontend.sync(),
    frontend.execute("p"),
    frontend.sync(),
  );
  assert.deepEqual(answers(), ["1", "2", "Z", "E 34000", "Z"]);
  await send(frontend.query("SHOW VERSION"), frontend.bind(), frontend.sync());
  assert.deepEqual(answers().slice(-2), ["E 26000", "Z"]);
});

Deno.test("values stand where a command takes one, in text or in binary", async () => {
  const { answers, fixture, send } = await openWithPools();
  const id = new Uint8Array([0, 0, 0, 17]);
  await send(
    message("P", cstring(""), cstring("KILL_CLIENT $1"), int16(1), int32(23)),
    message("B", cstring(""), cstring(""), int16(1), int16(1), int16(1), int32(4), id, int16(0)),
    frontend.execute(),
    frontend.sync(),
  );
  assert.deepEqual(answers(), ["1", "2", "C KILL_CLIENT", "Z"]);
  assert.deepEqual(fixture.operations.calls, [["killClient", 17]]);
  await send(
    frontend.parse("SHOW POOLS WHERE database = $2 LIMIT $1"),
    frontend.bind({ values: ["5", "shop"] }),
    frontend.execute(),
    frontend.sync(),
  );
  assert.deepEqual(answers(), ["1", "2", "D", "D", "C SHOW", "Z"]);
});

Deno.test("results come in binary where that is asked for", async () => {
  const { fixture, send, stream } = await openSession();
  fixture.stats.open("shop").xactCount = 12_345_678;
  await send(
    frontend.parse("SHOW STATS WHERE database = 'shop'"),
    message("B", cstring(""), cstring(""), int16(0), int16(0), int16(1), int16(1)),
    frontend.describe("P"),
    frontend.execute(),
    frontend.sync(),
  );
  const [, , description, row] = messagesIn(stream.takeSent());
  assert.equal(description!.body.at(-1), 1, "the format is described");
  const view = new DataView(row!.body.buffer, row!.body.byteOffset);
  // The database in text, then assignments and transactions: digits of base 10,000.
  const [assignments, transactions] = [2 + 4 + 4, 2 + 4 + 4 + 4 + 8];
  assert.deepEqual([view.getInt32(assignments), view.getInt16(assignments + 4)], [8, 0]);
  const digits = [0, 2, 4, 6, 8, 10].map((at) => view.getInt16(transactions + 4 + at));
  assert.deepEqual([view.getInt32(transactions), digits], [12, [2, 1, 0, 0, 1234, 5678]]);
});

Deno.test("what does not fit a statement is refused, and the client lives", async () => {
  const cases: readonly (readonly [string, ...Uint8Array[]])[] = [
    ["08P01", frontend.parse("PAUSE $1"), frontend.bind()],
    ["0A000", frontend.parse("PAUSE $1"), frontend.bind({ values: [null] })],
    ["22021", frontend.parse("PAUSE $1"), frontend.bind({ values: ["a\0b"] })],
    ["54000", frontend.parse("PAUSE $101")],
    ["34000", frontend.describe("P", "nil")],
    ["26000", frontend.describe("S", "nil")],
    ["34000", frontend.execute("nil")],
    ["42601", frontend.parse("SHOW POOLS LIMIT $1"), frontend.bind({ values: ["many"] })],
  ];
  for (const [sqlstate, ...messages] of cases) {
    const { answers, client, send } = await openSession();
    await send(...messages, frontend.sync());
    assert.deepEqual(answers().slice(-2), [`E ${sqlstate}`, "Z"]);
    assert.ok(client.isOpen);
  }
});

Deno.test("no more than a thousand statements are kept", async () => {
  const { answers, send } = await openSession();
  for (let i = 0; i < 1_000; i++) await send(frontend.parse("SHOW VERSION", `s${i}`));
  await send(frontend.sync(), frontend.parse("SHOW VERSION", "more"), frontend.sync());
  assert.deepEqual(answers().slice(-3), ["Z", "E 54000", "Z"]);
});
