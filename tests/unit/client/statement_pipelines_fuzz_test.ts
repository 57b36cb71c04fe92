/**
 * Pipelines drawn at random, of clients that share few servers with few statements, beside clients
 * that have a server to themselves: both are told the same, up to the first error that was not
 * known when more was sent; behind that no answer is lost, and all is right again once it is quiet.
 */

import assert from "node:assert/strict";
import { frontend, type RawMessage, readReport, textOf } from "../../support/messages.ts";
import { ADA, PoolerWorld } from "../../support/pooler_world.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { TestClient } from "../../support/test_client.ts";

const RUNS = Number(Deno.env.get("RUNS") ?? 25);
const ROUNDS = 40;

/** What is sent up to what ReadyForQuery answers. */
type Segment = readonly (readonly [what: string, message: Uint8Array])[];

const NAMES = ["a", "b", "c", "d"];

const TEXTS = [
  ...["select 'one'", "select 'two'", "select 'three'", "select $1", "selekt"],
  ...["error 22012", "begin", "rollback", "commit", "deallocate all"],
];

function drawMessage(random: SeededRandom): Segment {
  const name = random.chance(0.75) ? random.pick(NAMES) : "";
  const bind = ["bind " + name, frontend.bind({ statement: name, values: ["x"] })] as const;
  const text = random.pick(random.chance(0.7) ? TEXTS.slice(0, 4) : TEXTS);
  switch (random.between(0, 8)) {
    case 0:
    case 1:
      return [[`parse ${name} ${text}`, frontend.parse(text, name)]];
    case 2:
    case 3:
    case 4:
      return [bind, ["execute", frontend.execute()]];
    case 5:
      return [["describe " + name, frontend.describe("S", name)]];
    case 6:
      return [["close " + name, frontend.close("S", name)]];
    case 7:
      return [
        ...[[`parse ${name} ${text}`, frontend.parse(text, name)] as const, bind],
        ["execute", frontend.execute()],
      ];
    default:
      return random.pick([[bind], [["execute", frontend.execute()]]]);
  }
}

function drawSegment(random: SeededRandom): Segment {
  if (random.chance(0.2)) {
    const sql = random.pick([
      ...["begin", "commit", "rollback", "select 'q'", "deallocate all", "discard all"],
      ...["selekt", "deallocate b", "error 22012", "delete from t", "select 'q'; deallocate all"],
    ]);
    return [[sql, frontend.query(sql)]];
  }
  if (random.chance(0.04)) {
    return [
      ["copy", frontend.parse("copy t from stdin")],
      ...[["", frontend.bind()] as const, ["", frontend.execute()] as const],
      ...(random.chance(0.5) ? [["ignored", frontend.sync()] as const] : []),
      ["", frontend.copyData("x")],
      ["", frontend.copyDone()],
      ["close ", frontend.close("S")],
      ["bind", frontend.bind({ statement: random.pick(NAMES), values: ["x"] })],
      ["", frontend.execute()],
      ["sync", frontend.sync()],
    ];
  }
  const messages = Array.from({ length: random.between(1, 5) }, () => drawMessage(random)).flat();
  if (random.chance(0.1)) messages.push(["flush", frontend.flush()]);
  return [...messages, ["sync", frontend.sync()]];
}

function shown({ body, type }: RawMessage): string {
  if (type === "E") return `E ${readReport(body).sqlstate} ${readReport(body).message}`;
  return type === "S" ? "" : `${type} ${textOf(body)}`;
}

async function answersTo(client: TestClient, segments: readonly Segment[]): Promise<string[][]> {
  await client.send(...segments.flat().map(([, message]) => message));
  const answers: string[][] = [];
  for (const _segment of segments) {
    const got = (await client.receiveUntilReady()).map(shown).filter((each) => each !== "");
    if (got.length === 0) throw new Error("the connection has ended");
    answers.push(got);
  }
  return answers;
}

const REST: readonly Segment[] = [
  [["rollback", frontend.query("rollback")]],
  [["deallocate all", frontend.query("deallocate all")]],
  [["", frontend.close("S")], ["", frontend.sync()]],
  ...["", ...NAMES].map((name) => [
    ["", frontend.describe("S", name)] as const,
    ["", frontend.sync()] as const,
  ]),
];

class Pair {
  shared!: TestClient;
  alone!: TestClient;
  readonly log: string[] = [];
  readonly #world: PoolerWorld;

  constructor(world: PoolerWorld) {
    this.#world = world;
  }

  async open(): Promise<void> {
    const { network, postgres } = this.#world;
    this.shared = await this.#world.login();
    const stream = await network.dial(postgres.address, {
      ...{ receiveBytes: 8_192, maxBusyReads: 0, timeoutMs: 0 },
      tcp: SYSTEM_TCP,
    });
    this.alone = new TestClient(stream);
    await this.alone.login(ADA);
  }

  close(): void {
    this.shared.close();
    this.alone.close();
  }

  /** Asks both the same. Returns whether they may differ from here on. */
  async ask(segments: readonly Segment[]): Promise<boolean> {
    const { alone, log, shared } = this;
    log.push(segments.map((each) => each.map(([what]) => what).join(", ")).join(" | "));
    const wasFailed = alone.status === "E";
    const expected = await answersTo(alone, segments);
    const got = await answersTo(shared, segments);
    const has = (answers: readonly string[]) => answers.some((each) => each.startsWith("E"));
    let isFailed = wasFailed;
    for (const [at, answers] of expected.entries()) {
      // In a failed transaction there may be two reasons to refuse the same message.
      const plain = (told: readonly string[]) =>
        isFailed ? told.map((each) => each.startsWith("E") ? "E" : each) : told;
      assert.deepEqual(plain(got[at]!), plain(answers), `${at} of\n${log.slice(-8).join("\n")}`);
      isFailed = answers.at(-1) === "Z E";
      // What is hidden in a Query is only seen in its answer.
      if (segments[at]![0]![0].includes(";") && at < expected.length - 1) return true;
      if (has(answers) || isFailed) return at < expected.length - 1 || isUnsure(segments[at]!);
    }
    return false;
  }

  /** Brings both to the same state, and sees that it is. */
  async rest(): Promise<void> {
    this.log.push("rest");
    const expected = await answersTo(this.alone, REST);
    const got = await answersTo(this.shared, REST);
    const from = 1;
    assert.deepEqual(got.slice(from), expected.slice(from), this.log.slice(-8).join("\n"));
  }
}

/** Whether an unnamed statement from before an error is kept is not promised. */
function isUnsure(segment: Segment): boolean {
  return segment.some(([what]) => /^parse|^close $|^copy/.test(what));
}

async function run(seed: number): Promise<void> {
  const random = new SeededRandom(seed);
  const limit = random.between(1, 4);
  await using world = await PoolerWorld.open({
    seed,
    chunking: random.pick(["whole", "random", "bytes"] as const),
    writeAnswers: random.pick(["at_once", "later"] as const),
    pooler: `default_pool_size = ${
      random.between(1, 2)
    }\nmax_prepared_statements = ${limit}\nserver_reset_query_always = ${random.chance(0.1)}`,
  });
  const pairs = Array.from({ length: 3 }, () => new Pair(world));
  for (const pair of pairs) await pair.open();
  for (let round = 0; round < ROUNDS; round++) {
    const holder = pairs.find(({ shared }) => shared.status !== "I");
    const pair = holder ?? random.pick(pairs);
    if (random.chance(0.03)) {
      await pair.shared.send(
        ...[drawSegment(random), drawSegment(random)].flat().map(([, m]) => m),
      );
      pair.close();
      await pair.open();
      pair.log.length = 0;
      continue;
    }
    const segments = Array.from({ length: random.between(1, 4) }, () => drawSegment(random));
    if (await pair.ask(segments)) await pair.rest();
    await world.settle();
    checkHolders(world, seed);
  }
  for (const pair of pairs) pair.close();
  await world.settle();
  checkHolders(world, seed);
  for (const backend of world.postgres.live) backend.close();
  await world.settle();
  const { byteCount, count } = world.pooler.statements;
  assert.deepEqual([count, byteCount], [0, 0]);
}

/** Every name of a client and every server holds its statement once. */
function checkHolders(world: PoolerWorld, seed: number): void {
  world.check();
  const pool = world.pooler.pools.registry.ofDatabase("app")[Symbol.iterator]().next().value;
  if (pool === undefined) return;
  let held = 0;
  let placed = 0;
  for (const client of world.clients) placed += client.relay?.statementCount ?? 0;
  const seen = new Set<unknown>();
  for (const list of [pool.servers.idle, pool.servers.active]) {
    for (const server of list) {
      for (const { statement } of server.statements.all()) {
        placed += 1;
        if (seen.has(statement)) continue;
        seen.add(statement);
        held += statement.holderCount;
      }
    }
  }
  assert.ok(held <= placed, `seed ${seed}: ${held} held, ${placed} known`);
}

Deno.test("pipelines of shared statements are answered as those of a server of one's own", async () => {
  const first = Number(Deno.env.get("SEED") ?? 1);
  for (let seed = first; seed < first + RUNS; seed++) {
    try {
      await run(seed);
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
});
