/**
 * Shapes that brought other poolers down: SCRAM fields that are too long, errors without an SQLSTATE,
 * lengths that no message has. Whoever sends one is refused or closed, within bounds of memory, and
 * everybody else is served.
 */

import assert from "node:assert/strict";
import { KeyDerivation } from "../../src/auth/key_derivation.ts";
import { ServerAuthentication } from "../../src/auth/server_authentication.ts";
import { UserCredential } from "../../src/auth/credential.ts";
import { Secret } from "../../src/base/secret.ts";
import { frontend, join, textOf, utf8 } from "../support/messages.ts";
import { PoolerWorld, type WorldOptions } from "../support/pooler_world.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import type { TestClient } from "../support/test_client.ts";

/** Lengths that no message has, and the greatest that one may have. */
const LENGTHS = [0, 1, 2, 3, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];

/** As much as may be held for a client that has sent next to nothing. */
const FEW_BYTES = 1_000;

const POOLER = "default_pool_size = 1\nserver_login_retry = 0\n";

async function inWorld(
  run: (world: PoolerWorld) => Promise<void>,
  options: WorldOptions = {},
): Promise<void> {
  await using world = await PoolerWorld.open({ pooler: POOLER, ...options });
  await run(world);
  // Whatever was done, somebody else is served.
  world.postgres.garbage = undefined;
  const other = await world.login({ user: "bob" });
  assert.deepEqual((await other.query("select 'bob'")).rows, [["bob"]]);
  await other.terminate();
  world.check();
  for (const client of world.clients) assert.ok((client.relay?.heldBytes ?? 0) < FEW_BYTES);
}

function withLength(message: Uint8Array, at: number, length: number): Uint8Array {
  const changed = message.slice();
  new DataView(changed.buffer).setUint32(at, length);
  return changed;
}

/** Sends, and answers the types of what comes back and whether the connection ended. */
async function answerTo(
  world: PoolerWorld,
  client: TestClient,
  ...messages: readonly Uint8Array[]
): Promise<{ types: string; isOver: boolean }> {
  await client.send(...messages);
  let isOver = false;
  let types = "";
  const reading = client.receiveUntilEnd().then((all) => {
    isOver = true;
    types = all.map(({ type }) => type).join("");
  });
  await world.settle();
  const result = { isOver, types };
  client.close();
  await world.settle();
  await reading;
  return result;
}

for (const length of LENGTHS) {
  Deno.test(`a startup packet that says it has ${length} bytes ends its connection`, () =>
    inWorld(async (world) => {
      const packet = withLength(frontend.startup({ user: "ada" }), 0, length);
      assert.equal((await answerTo(world, await world.connect(), packet)).isOver, true);
    }));

  Deno.test(`a password that says it has ${length} bytes ends its connection`, () =>
    inWorld(async (world) => {
      const client = await world.connect();
      await client.send(frontend.startup({ user: "ada", database: "app" }));
      assert.equal((await client.receive())?.type, "R");
      const answer = await answerTo(world, client, withLength(utf8("p1234secret"), 1, length));
      assert.deepEqual(answer, { types: "E", isOver: true });
    }, { pooler: `${POOLER}auth_type = "plain"` }));

  Deno.test(`a message of ${length} bytes of a client ends its connection`, () =>
    inWorld(async (world) => {
      const query = withLength(frontend.query("select 1"), 1, length);
      const answer = await answerTo(world, await world.login(), query);
      assert.deepEqual(answer, { types: "E", isOver: true });
    }));

  for (const type of ["Z", "E", "S", "D"]) {
    Deno.test(`a message ${type} of ${length} bytes of a server costs its client at most`, () =>
      inWorld(async (world) => {
        const client = await world.login();
        await client.send(frontend.query("select pg_sleep(1)"));
        await world.settle();
        const [backend] = world.postgres.live;
        void backend!.speak(withLength(utf8(`${type}1234 and more`), 1, length));
        await world.settle();
        backend!.close();
        await world.settle();
        client.close();
      }));
  }

  Deno.test(`a login that a server answers by ${length} bytes fails, and no other`, () =>
    inWorld(async (world) => {
      world.postgres.garbage = withLength(utf8("R1234abcd"), 1, length);
      assert.match(await firstWords(world), /^FATAL [0-9A-Z]{5} ./);
    }, { pooler: `${POOLER}client_login_timeout = 5` }));
}

/** What the first client of a pool hears, whose servers cannot be logged in to. */
async function firstWords(world: PoolerWorld): Promise<string> {
  const client = await world.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }));
  await world.advance(16_000);
  return await client.lastWords();
}

const LONG = "x".repeat(60_000);

const SCRAM_FIRSTS: Readonly<Record<string, string>> = {
  "a nonce": `n,,n=,r=${LONG}`,
  "a name": `n,,n=${LONG},r=abc`,
  "an authorization identity": `n,a=${LONG},n=,r=abc`,
  "an extension": `n,,n=,r=abc,x=${LONG}`,
  "a binding": `p=${LONG},,n=,r=abc`,
  "no end": `n,,n=,r=abc${",".repeat(60_000)}`,
};

function saslInitial(first: string): Uint8Array {
  const data = utf8(first);
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, data.length);
  const body = join(utf8("SCRAM-SHA-256\0"), length, data);
  return withLength(join(utf8("p1234"), body), 1, body.length + 4);
}

const SCRAM = { pooler: `${POOLER}auth_type = "scram-sha-256"` };

for (const [what, first] of Object.entries(SCRAM_FIRSTS)) {
  Deno.test(`a client whose SCRAM has ${what} of 60,000 bytes is refused`, () =>
    inWorldOfScram(async (world) => {
      const client = await world.connect();
      await client.send(frontend.startup({ user: "ada", database: "app" }));
      assert.equal((await client.receive())?.type, "R");
      await client.send(saslInitial(first));
      // A long nonce may be answered; it proves nothing.
      const next = await client.receive();
      assert.ok(next?.type === "E" || next?.type === "R", `${next?.type}`);
      const proof = utf8(`p1234c=biws,r=${LONG},p=${LONG}`);
      if (next.type === "R") await client.send(withLength(proof, 1, proof.length - 1));
      assert.ok((await client.receiveUntilEnd()).every(({ type }) => type === "E"));
      client.close();
    }));
}

async function inWorldOfScram(run: (world: PoolerWorld) => Promise<void>): Promise<void> {
  await using world = await PoolerWorld.open(SCRAM);
  await run(world);
  assert.equal(await world.outcome({ user: "bob" }), "in");
}

/** What follows the client's nonce. */
const SERVER_FIRSTS: Readonly<Record<string, string>> = {
  "a message of 70,000 bytes": `${LONG}${LONG.slice(0, 10_000)},s=c2FsdA==,i=4096`,
  "more rounds than anybody has": "x,s=c2FsdA==,i=2147483647",
  "rounds beyond any number": `x,s=c2FsdA==,i=${"9".repeat(5_000)}`,
  "no rounds": "x,s=c2FsdA==,i=0",
  "no salt": "x,s=,i=4096",
  "no nonce of its own": ",s=c2FsdA==,i=4096",
  "a salt that is no base64": `x,s=${"=".repeat(5_000)},i=4096`,
};

for (const [what, rest] of Object.entries(SERVER_FIRSTS)) {
  Deno.test(`a server whose SCRAM has ${what} is told no proof`, async () => {
    const exchange = new ServerAuthentication({
      userName: "ada",
      credential: new UserCredential("ada", new Secret("secret")),
      random: new SeededRandom(1),
      derivation: new KeyDerivation(),
    });
    const asked = await exchange.receive(saslBody(10, "SCRAM-SHA-256\0\0"));
    assert.ok(asked.kind === "send");
    const nonce = /r=([^,]+)/.exec(textOf(asked.message))![1]!;
    const answer = await exchange.receive(saslBody(11, `r=${nonce}${rest}`));
    assert.equal(answer.kind, "failed");
  });
}

function saslBody(code: number, data: string): Uint8Array {
  return join(new Uint8Array([0, 0, 0, code]), utf8(data));
}

/** Bodies of an ErrorResponse that lacks what every one has. */
const ERRORS: Readonly<Record<string, string>> = {
  "no SQLSTATE": "SERROR\0Mof a kind\0\0",
  "an SQLSTATE of one letter": "SERROR\0C5\0Mof a kind\0\0",
  "a long SQLSTATE": `SERROR\0C${"5".repeat(2_000)}\0Mof a kind\0\0`,
  "no message": "SERROR\0C57014\0\0",
  "nothing": "\0",
  "no end": "SERROR\0C57014\0Mof a kind\0",
  "an unended field": "SERROR\0C57014\0Mof a kind",
  "no body": "",
};

for (const [what, body] of Object.entries(ERRORS)) {
  const error = () => withLength(utf8(`E1234${body}`), 1, body.length + 4);

  Deno.test(`an error with ${what} in a login of a server becomes one that clients can read`, () =>
    inWorld(async (world) => {
      world.postgres.garbage = error();
      assert.match(await firstWords(world), /^FATAL [0-9A-Z]{5} ./);
    }, { pooler: `${POOLER}client_login_timeout = 5` }));

  for (const state of ["running", "idle"]) {
    Deno.test(`an error with ${what} of a server that is ${state} harms nobody else`, () =>
      inWorld(async (world) => {
        const client = await world.login();
        await client.query("select 1");
        if (state === "running") await client.send(frontend.query("select pg_sleep(1)"));
        await world.settle();
        const [backend] = world.postgres.live;
        void backend!.speak(error());
        await world.settle();
        backend!.close();
        await world.settle();
        client.close();
      }));
  }
}
