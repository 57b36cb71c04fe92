/** WHERE, ORDER BY and LIMIT behind a SHOW, and long answers in steps. */

import assert from "node:assert/strict";
import { int4, table } from "../../../src/admin/result_set.ts";
import { ALL_ROWS, rowsInSteps } from "../../../src/admin/selection.ts";
import { eventTurn } from "../../support/event_turn.ts";
import { heapInUse } from "../../support/garbage.ts";
import { frontend } from "../../support/messages.ts";
import { messagesIn } from "./shown_result.ts";
import { openSession, openWithPools } from "./open_session.ts";

Deno.test("WHERE, ORDER BY and LIMIT choose and sort the rows of any SHOW", async () => {
  const { shown } = await openWithPools();
  assert.deepEqual(await shown("SHOW POOLS WHERE database = 'shop'"), ["shop/anna", "shop/otto"]);
  assert.deepEqual(await shown("SHOW POOLS WHERE user = 'otto' AND database <> 'shop'"), [
    "archive/otto",
  ]);
  assert.deepEqual(await shown("SHOW POOLS ORDER BY user DESC, database"), [
    "pgbouncer/pgbouncer",
    "archive/otto",
    "shop/otto",
    "shop/anna",
  ]);
  assert.deepEqual(await shown("SHOW POOLS ORDER BY database DESC LIMIT 1"), ["shop/anna"]);
  assert.deepEqual(await shown("SHOW POOLS LIMIT 0"), []);
  assert.deepEqual(await shown("SHOW POOLS WHERE cl_active = 0 AND user = 'anna'"), ["shop/anna"]);
});

Deno.test("numbers are sorted as such, and NULL comes last", async () => {
  const { columns, rows } = { columns: [int4<number | undefined>("n", (n) => n)], rows: [10, 9] };
  const sorted = async (isDescending: boolean) => {
    const order = [{ column: "n", isDescending }];
    const steps = rowsInSteps(
      table(columns, [...rows, undefined, 100]),
      { ...ALL_ROWS, order },
      () => Promise.resolve(),
    );
    return (await Array.fromAsync(steps)).flat(2);
  };
  assert.deepEqual(await sorted(false), [9, 10, 100, undefined]);
  assert.deepEqual(await sorted(true), [undefined, 100, 10, 9]);
});

Deno.test("a column that there is not is an error, and nothing of the result comes before it", async () => {
  const { report, send } = await openSession();
  for (const clause of ["WHERE nil = '1'", "ORDER BY nil"]) {
    await send(frontend.query(`SHOW POOLS ${clause}`));
    const { message, sqlstate, types } = report();
    assert.deepEqual([sqlstate, message, types], ["42703", 'column "nil" does not exist', "EZ"]);
  }
});

Deno.test("a long table is sent in steps with turns for others between them", async () => {
  const { answers, fixture, send } = await openSession();
  for (let i = 0; i < 450; i++) fixture.addClient({ user: "anna", database: "shop" });
  const running = send(frontend.query("SHOW CLIENTS"));
  await eventTurn();
  assert.equal(answers().length, 201, "the columns and two hundred rows");
  fixture.clock.advance(1);
  await eventTurn();
  assert.equal(answers().length, 200);
  fixture.clock.advance(1);
  await running;
  assert.deepEqual(answers().slice(-3), ["D", "C SHOW", "Z"]);
});

Deno.test("a sorted table is sent in steps too, once all of it has been made", async () => {
  const { answers, fixture, send } = await openSession();
  for (let i = 0; i < 250; i++) fixture.addClient({ user: "anna", database: "shop" });
  let turnCount = 0;
  const running = send(frontend.query("SHOW CLIENTS ORDER BY id DESC"));
  let isDone = false;
  void running.then(() => isDone = true);
  for (; !isDone; turnCount++) {
    await eventTurn();
    fixture.clock.advance(1);
  }
  assert.equal(answers().length, 1 + 251 + 2);
  assert.ok(turnCount > 2, "a turn while the rows are made, and one while they are sent");
});

Deno.test("a long table is sorted in steps, and equal rows keep their order", async () => {
  const count = 5_000;
  let [readCount, sinceTurn, mostInOneGo] = [0, 0, 0];
  const rows = Array.from({ length: count }, (_, at) => {
    const row: number[] = [0, at];
    const get = () => {
      readCount += 1;
      mostInOneGo = Math.max(mostInOneGo, readCount - sinceTurn);
      return at * 7_919 % 97;
    };
    return Object.defineProperty(row, 0, { get });
  });
  const { columns } = table([int4("n", () => 0), int4("at", () => 0)], []);
  const order = [{ column: "n", isDescending: true }];
  const steps = rowsInSteps({ columns, rows }, { ...ALL_ROWS, order }, () => {
    sinceTurn = readCount;
    return Promise.resolve();
  });
  const sorted = (await Array.fromAsync(steps)).flat().map(([, at]) => Number(at));
  const key = (at: number) => at * 7_919 % 97;
  const expected = rows.map((_, at) => at).sort((a, b) => key(b) - key(a));
  assert.deepEqual(sorted, expected);
  assert.ok(mostInOneGo <= 7_000, `${mostInOneGo} values looked at in one go`);
  assert.ok(readCount > 8 * mostInOneGo, `${readCount} in all`);
});

Deno.test("others have their turns between commands that are sent all at once", async () => {
  const { answers, fixture, send } = await openSession({ rights: "stats" });
  const running = send(...Array.from({ length: 25 }, () => frontend.query("SHOW VERSION")));
  const counts: number[] = [];
  for (let i = 0; i < 3; i++) {
    await eventTurn();
    counts.push(answers().filter((answer) => answer === "C SHOW").length);
    fixture.clock.advance(1);
  }
  await running;
  assert.deepEqual(counts, [10, 10, 5]);
});

Deno.test("a column by which rows are sorted already is not looked at again", async () => {
  const { send, stream } = await openSession({ rights: "stats" });
  let lookCount = 0;
  const column = {
    ...int4<object>("wait", () => 1),
    get oid() {
      lookCount += 1;
      return 23;
    },
  };
  const order = Array.from({ length: 50 }, () => ({ column: "wait", isDescending: true }));
  const rows = rowsInSteps(
    table([column], [{}, {}]),
    { ...ALL_ROWS, order },
    () => Promise.resolve(),
  );
  await rows.next();
  assert.equal(lookCount, 1);
  await send(frontend.query("SHOW CLIENTS ORDER BY wait, user, wait DESC"));
  assert.equal(messagesIn(stream.takeSent()).at(-2)?.type, "C");
});

Deno.test("of a long table nobody makes the rest for a client that has left", async () => {
  const { client, fixture, send, stream } = await openSession();
  for (let i = 0; i < 450; i++) fixture.addClient({ user: "anna", database: "shop" });
  const running = send(frontend.query("SHOW CLIENTS"));
  await eventTurn();
  stream.takeSent();
  client.end("client unexpected eof");
  fixture.clock.advance(1);
  await running;
  assert.deepEqual(stream.takeSent(), new Uint8Array());
  assert.equal(fixture.clock.timerCount, 0);
});

Deno.test("nothing is kept of the answers of a session that goes on asking", async () => {
  const { send, stream } = await openSession();
  const ask = async (count: number) => {
    for (let i = 0; i < count; i++) {
      await send(frontend.query("SHOW CONFIG"));
      stream.takeSent();
    }
    return heapInUse();
  };
  await ask(500);
  const before = await ask(500);
  const growth = (await ask(500) - before) / 500;
  assert.ok(growth < 1_000, `${growth} bytes an answer`);
});
