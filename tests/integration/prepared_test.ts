/**
 * Prepared statements in transaction pooling against a real PostgreSQL: what drivers do, and that a
 * client sees what it would see if it had a server to itself.
 */

import assert from "node:assert/strict";
// @ts-types="@types/pg"
import pg from "pg";
import postgresJs from "postgres";
import { startPostgres } from "../../scripts/postgres_fixture.ts";
import { frontend, type RawMessage, readReport, textOf } from "../support/messages.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { TestClient } from "../support/test_client.ts";
import { runProgram, sharedWorld, token, type World } from "./support/world.ts";

const postgres = await startPostgres({ auth: "trust" });
Deno.test.afterAll(() => postgres[Symbol.asyncDispose]());

/** Who looks at the console. */
const WATCHER = { user: "watcher", database: "pgbouncer" } as const;

// --- alone and among others ---

/** One message that a client may send, or a Query. */
type Sent = readonly [what: string, message: Uint8Array];

/** Names that clients use, some of which are longer than PostgreSQL's own may be. */
const NAMES = ["a", "b", 'odd "name"', "n".repeat(70)] as const;

const TEXTS = [
  ...["select $1::text", "select $1::text ", "select 1/($1::text is null)::int", "selekt"],
  ...["select generate_series(1, 3)::text where $1::text <> ''", "select count(*) from nowhere"],
] as const;

function drawMessage(random: SeededRandom): Sent {
  const name = random.pick(NAMES);
  const bind = (statement: string): Sent => [
    `bind ${statement}`,
    frontend.bind({ statement, values: [random.pick(["x", "y"])] }),
  ];
  switch (random.between(0, 13)) {
    case 0:
    case 1:
      return [`parse ${name}`, frontend.parse(random.pick(TEXTS), name)];
    case 2:
      return ["parse", frontend.parse(random.pick(TEXTS))];
    case 3:
    case 4:
    case 5:
      return bind(name);
    case 6:
      return bind("");
    case 7:
    case 8:
      return ["execute", frontend.execute("", random.pick([0, 0, 1]))];
    case 9:
      return [`describe ${name}`, frontend.describe("S", random.pick([name, ""]))];
    case 10:
      return ["describe portal", frontend.describe("P")];
    case 11:
      return [`close ${name}`, frontend.close("S", name)];
    case 12:
      // Of a long one PostgreSQL would notify that it cuts it.
      return ["parse deallocate", frontend.parse(`deallocate ${quoted(name.slice(0, 63))}`)];
    default:
      return ["close portal", frontend.close("P")];
  }
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Messages up to a Sync, or a Query. */
function drawSegment(random: SeededRandom): Sent[] {
  if (random.chance(0.15)) {
    const sql = random.pick([
      ...["begin", "commit", "rollback", "select 'q'", "deallocate all", "selekt"],
      ...NAMES.slice(0, 3).map((name) => `deallocate ${quoted(name)}`),
    ]);
    return [[sql, frontend.query(sql)]];
  }
  const count = random.between(1, 6);
  return [...Array.from({ length: count }, () => drawMessage(random)), ["sync", frontend.sync()]];
}

/** What can be compared of an answer. */
function shownAnswer({ body, type }: RawMessage): string {
  if (type === "E") {
    const { message, sqlstate } = readReport(body);
    return `E ${sqlstate} ${message}`;
  }
  return type === "S" ? "" : `${type} ${textOf(body)}`;
}

async function answersTo(client: TestClient, segment: readonly Sent[]): Promise<string[]> {
  await client.send(...segment.map(([, message]) => message));
  return (await client.receiveUntilReady()).map(shownAnswer).filter((each) => each !== "");
}

/** After an error: whether an unnamed statement from before its segment is kept is not promised. */
const CLOSE_UNNAMED: readonly Sent[] = [
  ["close unnamed", frontend.close("S")],
  ["sync", frontend.sync()],
];

interface Pair {
  readonly shared: TestClient;
  readonly alone: TestClient;
  readonly log: string[];
  isUnsure: boolean;
}

/** Three clients of the world, each with a twin straight at PostgreSQL. */
async function openPairs(world: World): Promise<Pair[]> {
  const { database, password, user } = world;
  const pairs: Pair[] = [];
  for (let i = 0; i < 3; i++) {
    const alone = await TestClient.connect({ hostname: "127.0.0.1", port: postgres.port });
    await alone.login({ user, database, password });
    pairs.push({ shared: await world.connect(), alone, log: [], isUnsure: false });
  }
  return pairs;
}

for (const poolSize of [1, 3]) {
  Deno.test(`clients that share ${poolSize} servers get the answers of one that has a server to itself`, async () => {
    await using world = await sharedWorld(postgres, poolSize, { max_prepared_statements: 3 });
    const random = new SeededRandom(poolSize);
    const pairs = await openPairs(world);
    for (let round = 0; round < 1_500; round++) {
      const holders = pairs.filter(({ shared }) => shared.status !== "I");
      // Who has no server waits while others have them all: one of those goes on.
      const isFull = holders.length >= poolSize;
      const pair = random.pick(isFull ? holders : pairs);
      const { alone, log, shared } = pair;
      const segment = pair.isUnsure ? CLOSE_UNNAMED : drawSegment(random);
      log.push(segment.map(([what]) => what).join(", "));
      const wasFailed = alone.status === "E";
      const expected = await answersTo(alone, segment);
      const got = await answersTo(shared, segment);
      // In a failed transaction there may be two reasons to refuse the same message.
      const shown = (answers: readonly string[]) =>
        wasFailed ? answers.map((each) => each.startsWith("E") ? "E" : each) : answers;
      assert.deepEqual(shown(got), shown(expected), log.slice(-12).join("\n"));
      const hasFailed = expected.some((each) => each.startsWith("E"));
      pair.isUnsure = hasFailed && segment.some(([what]) => what.startsWith("parse"));
    }
    for (const { alone } of pairs) alone.close();
  });
}

/** Brings a client to a state that does not depend on what was in flight, and asks what it has. */
const REST: readonly (readonly Sent[])[] = [
  ...["rollback", "deallocate all"].map((sql): Sent[] => [[sql, frontend.query(sql)]]),
  CLOSE_UNNAMED,
  ...["", ...NAMES].map((name): Sent[] => [
    [`describe ${name}`, frontend.describe("S", name)],
    ["sync", frontend.sync()],
  ]),
];

async function answersToAll(
  client: TestClient,
  segments: readonly (readonly Sent[])[],
): Promise<string[][]> {
  await client.send(...segments.flat().map(([, message]) => message));
  const answers: string[][] = [];
  for (const _segment of segments) {
    const got = (await client.receiveUntilReady()).map(shownAnswer);
    answers.push(got.filter((each) => each !== ""));
  }
  return answers;
}

/** Messages that fail rarely; `known` are the names that there are if none has. */
function drawCalmSegment(random: SeededRandom, known: Set<string>): readonly Sent[] {
  if (random.chance(0.15)) return drawCalmQuery(random, known);
  const segment: Sent[] = [];
  for (let count = random.between(1, 4); count > 0; count--) {
    const name = random.pick(["", ...NAMES]);
    const text = random.pick(TEXTS.slice(0, 3));
    if (!known.has(name) || random.chance(0.3)) {
      segment.push([`close ${name}`, frontend.close("S", name)]);
      segment.push([`parse ${name}`, frontend.parse(text, name)]);
      known.add(name);
    }
    if (random.chance(0.3)) segment.push([`describe ${name}`, frontend.describe("S", name)]);
    segment.push([`bind ${name}`, frontend.bind({ statement: name, values: ["x"] })]);
    segment.push(["execute", frontend.execute()]);
  }
  if (random.chance(0.1)) {
    for (const message of [frontend.parse("deallocate all"), frontend.bind(), frontend.execute()]) {
      segment.push(["deallocate all", message]);
    }
    known.clear();
    known.add("");
  }
  return [...segment, ["sync", frontend.sync()]];
}

function drawCalmQuery(random: SeededRandom, known: Set<string>): readonly Sent[] {
  const sql = random.pick(["select 'q'", "deallocate all", "begin", "commit"]);
  if (sql === "deallocate all") known.clear();
  known.delete("");
  return [[sql, frontend.query(sql)]];
}

/** The answers up to the first with an error: what was sent behind it did not know of it. */
function comparable(answers: readonly (readonly string[])[]): readonly (readonly string[])[] {
  const at = answers.findIndex((each) => each.some((line) => line.startsWith("E")));
  return at < 0 ? answers : answers.slice(0, at + 1);
}

for (const limit of [1, 2, 200]) {
  Deno.test(`segments sent in one piece are answered alike, with ${limit} statements a server`, async () => {
    await using world = await sharedWorld(postgres, 1, { max_prepared_statements: limit });
    const random = new SeededRandom(limit);
    const pairs = await openPairs(world);
    let comparedCount = 0;
    for (let round = 0; round < 600; round++) {
      const { alone, log, shared } = random.pick(pairs);
      const known = new Set<string>();
      const isCalm = random.chance(0.7);
      const segments = Array.from(
        { length: random.between(2, 6) },
        () => isCalm ? drawCalmSegment(random, known) : drawSegment(random),
      );
      log.push(segments.map((each) => each.map(([what]) => what).join(", ")).join(" | "));
      const expected = await answersToAll(alone, segments);
      const got = await answersToAll(shared, segments);
      const compared = comparable(expected);
      assert.deepEqual(got.slice(0, compared.length), compared, log.slice(-4).join("\n"));
      assert.equal(got.length, expected.length);
      comparedCount += compared.length;
      const isCut = compared.length < expected.length;
      const hasFailed = compared.at(-1)!.some((line) => line.startsWith("E"));
      // Outside a transaction, since others have the server then.
      const rest = hasFailed ? REST : REST.slice(0, 1);
      const [expectedRest, gotRest] = [
        await answersToAll(alone, rest),
        await answersToAll(shared, rest),
      ];
      // Whether there was a transaction to roll back may differ behind an error.
      const from = isCut ? 1 : 0;
      assert.deepEqual(gotRest.slice(from), expectedRest.slice(from), log.slice(-4).join("\n"));
    }
    assert.ok(comparedCount > 1_000, `Only ${comparedCount} segments could be compared`);
    for (const { alone } of pairs) alone.close();
  });
}

// --- drivers ---

Deno.test("node-postgres: named statements of many clients on few servers", async () => {
  await using world = await sharedWorld(postgres, 3);
  await world.openServers(3);
  await Promise.all(Array.from({ length: 12 }, async (_, i) => {
    const client = await world.driver();
    for (let round = 0; round < 30; round++) {
      const mine = token();
      const name = `statement ${round % 5}`;
      const text = `select $1::text as mine, ${i % 3} as third`;
      const named = { name: `${name} of ${i}`, text, values: [mine] };
      assert.deepEqual((await client.query(named)).rows, [{ mine, third: i % 3 }]);
    }
  }));
  assert.equal((await world.backends()).length, 3);
});

Deno.test("node-postgres: a named statement in a transaction, after an error and after COMMIT", async () => {
  await using world = await sharedWorld(postgres, 2);
  const client = await world.driver();
  const divide = (by: number) =>
    client.query({ name: "divide", text: "select 10 / $1::int as it", values: [by] });
  await client.query("begin");
  assert.deepEqual((await divide(5)).rows, [{ it: 2 }]);
  await assert.rejects(divide(0), { code: "22012" });
  await client.query("rollback");
  assert.deepEqual((await divide(2)).rows, [{ it: 5 }]);
});

Deno.test("postgres.js: its own prepared statements, pipelined, many clients on few servers", async () => {
  await using world = await sharedWorld(postgres, 3);
  await world.openServers(3);
  const sql = postgresJs({ ...world.driverOptions, max: 10, onnotice: () => {} });
  await Promise.all(Array.from({ length: 1_500 }, async (_, round) => {
    const mine = token();
    if (round % 10 === 9) {
      return await assert.rejects(sql`select ${mine}::int as mine`, { code: "22P02" });
    }
    assert.deepEqual([...await sql`select ${mine}::text as mine`], [{ mine }]);
  }));
  await sql.end({ timeout: 5 });
  assert.equal((await world.backends()).length, 3);
});

Deno.test("a client that binds its unnamed statement in another transaction finds it", async () => {
  await using world = await sharedWorld(postgres, 2);
  const [one, two] = await world.connectMany(2);
  for (let round = 0; round < 5; round++) {
    for (const [client, mine] of [[one!, `one ${round}`], [two!, `two ${round}`]] as const) {
      await client.send(
        frontend.parse(`select '${mine}'`),
        frontend.describe("S"),
        frontend.sync(),
      );
      assert.equal((await client.result()).types, "1tTZ");
    }
    for (const [client, mine] of [[one!, `one ${round}`], [two!, `two ${round}`]] as const) {
      await client.send(frontend.bind(), frontend.execute(), frontend.sync());
      assert.deepEqual((await client.result()).rows, [[mine]]);
    }
  }
});

for (
  const [what, script] of [
    ["prepared statements", undefined],
    [
      "pipelines of prepared statements",
      "\\set i random(1, 1000)\n\\startpipeline\nselect :i::int;\nselect :i::int + 1;\nselect 'x';\n\\endpipeline\n",
    ],
  ] as const
) {
  Deno.test(`pgbench: ${what} of 20 clients on 3 servers`, async () => {
    await using world = await sharedWorld(postgres, 3);
    const file = await Deno.makeTempFile({ suffix: ".sql" });
    await Deno.writeTextFile(file, script ?? "\\set i random(1, 1000)\nselect :i::int;\n");
    const { code, stdout, stderr } = await runProgram("pgbench", {
      args: ["-n", "-M", "prepared", "-c", "20", "-t", "50", "-f", file],
      env: world.libpqEnv,
    });
    await Deno.remove(file);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /number of transactions actually processed: 1000\/1000/);
    assert.match(stdout, /number of failed transactions: 0/);
  });
}

// --- what happens to statements ---

for (
  const [name, values, text] of [
    [
      "TimeZone",
      ["UTC", "America/New_York"],
      "select '2020-01-01 00:00'::timestamptz = '2020-01-01 00:00Z'",
    ],
    ["DateStyle", ["ISO, MDY", "ISO, DMY"], "select '01/02/2020'::date - '2020-01-02'::date"],
    ["IntervalStyle", ["postgres", "sql_standard"], "select '-1 1:00'::interval::text"],
    ["standard_conforming_strings", ["on", "off"], "select length('\\\\')"],
    ["client_encoding", ["UTF8", "LATIN1"], "select length('é')"],
  ] as const
) {
  Deno.test(`a statement is shared with nobody who has another ${name}, by which it means something else`, async () => {
    await using world = await sharedWorld(postgres, 1);
    const clients = await world.connectMany(2);
    for (const [at, client] of clients.entries()) {
      await client.query(`set ${name} = '${values[at]}'`);
    }
    const run = async (client: TestClient) => {
      await client.send(frontend.bind({ statement: "s" }), frontend.execute(), frontend.sync());
      return (await client.result()).rows;
    };
    const told: (readonly (readonly (string | null)[])[])[] = [];
    for (const client of clients) {
      await client.send(frontend.parse(text, "s"), frontend.sync());
      await client.result();
    }
    for (const client of clients) {
      told.push(await run(client));
      assert.deepEqual(told.at(-1), (await client.extended(text)).rows);
    }
    assert.notDeepEqual(told[0], told[1]);
    // In one breath with what it is read by: what came of it is not for the other.
    const other = `${text} where 1 = 1`;
    await clients[0]!.send(
      frontend.query(`set ${name} = '${values[1]}'`),
      ...[frontend.parse(other, "t"), frontend.sync()],
    );
    for (let i = 0; i < 2; i++) await clients[0]!.result();
    const [third] = await world.connectMany(1);
    await third!.query(`set ${name} = '${values[0]}'`);
    await third!.send(frontend.parse(other, "s"), frontend.sync());
    await third!.result();
    assert.deepEqual(await run(third!), told[0]);
    assert.deepEqual(await run(clients[0]!), told[1], "and its own names are read as it wants");
  });
}

Deno.test("statements without end take no more memory than are kept", async () => {
  await using world = await sharedWorld(postgres, 2, { max_prepared_statements: 50 });
  const client = await world.connect();
  for (let i = 0; i < 3_000; i++) {
    const name = `s${i}`;
    await client.send(
      ...[frontend.parse(`select ${i}`, name), frontend.bind({ statement: name })],
      ...[frontend.execute(), frontend.close("S", name), frontend.sync()],
    );
    const { rows, types } = await client.result();
    assert.deepEqual([types, rows], ["12DC3Z", [[String(i)]]]);
  }
  const watcher = await world.driver(WATCHER);
  assert.equal((await watcher.query("show prepared")).rows.length, 50);
  const prepared = await client.query("select count(*) from pg_prepared_statements");
  assert.deepEqual(prepared.rows, [["50"]]);
});

Deno.test("SHOW CLIENTS and SHOW SERVERS count prepared statements", async () => {
  await using world = await sharedWorld(postgres, 1);
  const client = await world.driver();
  for (const name of ["a", "b"]) await client.query({ name, text: "select 1" });
  await client.query({ name: "c", text: "select 2" });
  const watcher = await world.driver(WATCHER);
  const counts = async (what: string) =>
    (await watcher.query(`show ${what}`)).rows.filter(({ user }) => user === world.user)
      .map(({ prepared_statements: count }) => count);
  assert.deepEqual([await counts("clients"), await counts("servers")], [[3], [2]]);
});

Deno.test("node-postgres: a query that is prepared again by another name after DEALLOCATE ALL", async () => {
  await using world = await sharedWorld(postgres, 1);
  const client = new pg.Client(world.driverOptions);
  await client.connect();
  await client.query({ name: "a", text: "select 1 as it" });
  await client.query("deallocate all");
  await assert.rejects(client.query({ name: "a", text: "select 1 as it" }), { code: "26000" });
  assert.deepEqual((await client.query({ name: "b", text: "select 1 as it" })).rows, [{ it: 1 }]);
  await client.end();
});
