/**
 * The recorded conversations with bytes of them changed, cut out and put in, said to a whole pooler
 * by a client and by a server: the pooler and its other clients go on, nothing is left, and what
 * belongs to one client reaches no other.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { frontend, join } from "../support/messages.ts";
import { PoolerWorld } from "../support/pooler_world.ts";
import { parseTranscript } from "../support/transcript_parser.ts";

const FOLDER = new URL("../golden/", import.meta.url);

/** A change at a place, which is a share of the whole. */
type Change = readonly [at: number, kind: "set" | "cut" | "put" | "length", value: number];

const changes: fc.Arbitrary<readonly Change[]> = fc.array(
  fc.tuple(
    fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
    fc.constantFrom("set", "cut", "put", "length"),
    fc.nat(255),
  ),
  { minLength: 1, maxLength: 4 },
);

/** Lengths that no message has, or none that anybody sends. */
const LENGTHS = [0, 1, 2, 3, 4, 5, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];

function changed(bytes: Uint8Array, all: readonly Change[]): Uint8Array {
  let result = bytes.slice();
  for (const [share, kind, value] of all) {
    const at = Math.floor(share * result.length);
    if (kind === "set") result[at] = value;
    else if (kind === "cut") result = join(result.subarray(0, at), result.subarray(at + value % 9));
    else if (kind === "put") {
      result = join(
        result.subarray(0, at),
        new Uint8Array(1 + value % 9).fill(value),
        result.subarray(at),
      );
    } else if (at + 5 <= result.length) {
      new DataView(result.buffer).setUint32(at, LENGTHS[value % LENGTHS.length]!);
    }
  }
  return result;
}

/** All that one side says in each conversation. */
async function conversations(side: "F" | "B"): Promise<readonly Uint8Array[]> {
  const all: Uint8Array[] = [];
  for await (const { name } of Deno.readDir(FOLDER)) {
    if (!name.endsWith(".transcript")) continue;
    const lines = parseTranscript(await Deno.readTextFile(new URL(name, FOLDER)));
    const spoken = lines.filter(({ direction }) => direction === side);
    all.push(join(...spoken.map(({ bytes }) => bytes)));
  }
  assert.ok(all.length > 20);
  return all;
}

/** Somebody else is served as if nothing had been. */
async function checkOthers(world: PoolerWorld): Promise<void> {
  const other = await world.login({ user: "bob" });
  const result = await other.query("select 'bob:1'");
  assert.deepEqual([result.types, result.rows], ["TDCZ", [["bob:1"]]]);
  await other.terminate();
  world.check();
}

const POOLER = "default_pool_size = 1\nserver_login_retry = 0\nquery_timeout = 5";

const RUNS = { numRuns: 25 };

/** What has one side say any of its conversations with changes. */
function saying(
  side: "F" | "B",
  run: (world: PoolerWorld, said: Uint8Array) => Promise<void>,
): () => Promise<void> {
  return async () => {
    const spoken = await conversations(side);
    await fc.assert(
      fc.asyncProperty(fc.nat(spoken.length - 1), changes, async (which, all) => {
        await using world = await PoolerWorld.open({ pooler: POOLER });
        await run(world, changed(spoken[which]!, all));
      }),
      RUNS,
    );
  };
}

for (const isLoggedIn of [false, true]) {
  const when = isLoggedIn ? "after its login" : "from the start";
  Deno.test(
    `a client that says a conversation with changes ${when} harms nobody`,
    saying("F", async (world, said) => {
      const client = isLoggedIn ? await world.login() : await world.connect();
      void client.send(said);
      await world.settle();
      await checkOthers(world);
      client.close();
      // What was asked in part is given up.
      await world.advance(12_000);
      assert.equal(world.clients.length, 0);
    }),
  );
}

for (const isLoggedIn of [false, true]) {
  const when = isLoggedIn ? "in answer to a query" : "to a login";
  Deno.test(
    `a server that says a conversation with changes ${when} harms nobody`,
    saying("B", async (world, said) => {
      const client = await world.login();
      if (isLoggedIn) {
        await client.query("select 1");
        await client.send(frontend.query("select pg_sleep(1) /* ada:1 */"));
        await world.settle();
        void world.postgres.live[0]!.speak(said);
      } else {
        world.postgres.garbage = said;
        await client.send(frontend.query("select 'ada:1'"));
      }
      await world.settle();
      world.postgres.wakeAll();
      world.postgres.garbage = undefined;
      client.close();
      await world.advance(12_000);
      await checkOthers(world);
    }),
  );
}
