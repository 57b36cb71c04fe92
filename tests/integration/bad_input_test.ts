/**
 * Whatever bytes come at whatever moment: the sender gets a clear error or is closed, and nobody else
 * notices. Every test ends with the same witness: a client that was there all the time goes on.
 */

import assert from "node:assert/strict";
import { startPostgres } from "../../scripts/postgres_fixture.ts";
import {
  cstring,
  frontend,
  int32,
  join,
  message,
  readReport,
  type ReportFields,
  utf8,
} from "../support/messages.ts";
import type { TestClient } from "../support/test_client.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { startWorld, token, valueOf, type World, type WorldOptions } from "./support/world.ts";

const postgres = await startPostgres({ auth: "trust" });
Deno.test.afterAll(() => postgres[Symbol.asyncDispose]());

function openWorld({ pooler, ...rest }: WorldOptions = {}): Promise<World> {
  return startWorld(postgres, {
    ...rest,
    pooler: { pool_mode: "transaction", default_pool_size: 2, ...pooler },
  });
}

/** Does something to a world in which a client in a transaction must not be disturbed. */
async function disturb(world: World, action: (world: World) => Promise<void>): Promise<void> {
  const mine = token();
  const witness = await world.connect();
  try {
    await witness.query(`begin; create table "kept ${mine}" as select '${mine}'::text as mine`);
    await action(world);
    assert.equal(valueOf(await witness.query(`select mine from "kept ${mine}"`)), mine);
    assert.equal((await witness.query("commit")).status, "I");
    const newcomer = await world.connect();
    assert.equal(valueOf(await newcomer.query(`select mine from "kept ${mine}"`)), mine);
    newcomer.close();
    assert.doesNotMatch(world.sluice.log(), /internal error/i);
  } finally {
    witness.close();
  }
}

/** As `disturb()`, in a world of its own. */
async function disturbedWorld(
  action: (world: World) => Promise<void>,
  options?: WorldOptions,
): Promise<void> {
  await using world = await openWorld(options);
  await disturb(world, action);
}

/** The error with which a connection ends; undefined if it ends without a word. */
async function farewell(client: TestClient): Promise<ReportFields | undefined> {
  const messages = await client.receiveUntilEnd();
  const last = messages.at(-1);
  client.close();
  if (last === undefined || last.type !== "E") {
    assert.deepEqual(messages.map(({ type }) => type), []);
    return undefined;
  }
  return readReport(last.body);
}

/** What an opening is answered with. */
async function answerTo(world: World, ...opening: Uint8Array[]): Promise<ReportFields | undefined> {
  const client = await world.open();
  await client.send(...opening);
  return await farewell(client);
}

function fatal(sqlstate: string, text: string | RegExp, error: ReportFields | undefined): void {
  assert.deepEqual([error?.severity, error?.sqlstate], ["FATAL", sqlstate]);
  if (typeof text === "string") assert.equal(error?.message, text);
  else assert.match(error?.message ?? "", text);
}

/** A startup packet of any code and body. */
function packet(code: number, ...body: Uint8Array[]): Uint8Array {
  const rest = join(int32(code), ...body);
  return join(int32(rest.length + 4), rest);
}

const VERSION_3 = 3 << 16;

/** Openings that are told what is wrong with them. */
const REFUSED_OPENINGS: readonly (readonly [
  name: string,
  opening: Uint8Array,
  sqlstate: string,
  text: string | RegExp,
])[] = [
  [
    "a startup packet over 64 kB",
    frontend.startup({ user: "x", application_name: "x".repeat(66_000) }),
    "08P01",
    /^bad packet header/,
  ],
  ["a startup packet of 2 GB", int32(0x7fff_ffff), "08P01", /^bad packet header/],
  ["a length below zero", int32(-1), "08P01", /^bad packet header/],
  ["a length that leaves no room for a code", int32(4), "08P01", /^bad packet header/],
  ["an HTTP request", utf8("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "08P01", /^bad packet header/],
  ["an SSH banner", utf8("SSH-2.0-OpenSSH_9.2\r\n"), "08P01", /^bad packet header/],
  [
    "a typed message instead of a startup packet",
    frontend.query("select 1"),
    "08P01",
    /^bad packet header/,
  ],
  [
    "a password before the startup packet",
    frontend.password(cstring("secret")),
    "08P01",
    /^bad packet header/,
  ],
  [
    "protocol 2",
    packet(2 << 16, new Uint8Array(288)),
    "0A000",
    "old V2 protocol not supported",
  ],
  ["protocol 4", packet(4 << 16, cstring("user"), cstring("x")), "08P01", /^unknown pkt/],
  [
    "a startup packet without terminator",
    packet(VERSION_3, cstring("user"), cstring("x")),
    "08P01",
    "invalid startup packet layout: expected terminator as last byte",
  ],
  [
    "a startup packet with bytes behind its terminator",
    packet(VERSION_3, cstring("user"), cstring("x"), new Uint8Array(4)),
    "08P01",
    "invalid startup packet layout: expected terminator as last byte",
  ],
  [
    "a startup packet with a name and no value",
    packet(VERSION_3, cstring("user"), new Uint8Array(1)),
    "08P01",
    "invalid startup packet layout: expected terminator as last byte",
  ],
  ["a startup packet without user", packet(VERSION_3, new Uint8Array(1)), "28000", /username/],
  ["a user name of 200 characters", frontend.startup({ user: "u".repeat(200) }), "28000", /long/],
  [
    "a user name that is not UTF-8",
    packet(VERSION_3, cstring("user"), new Uint8Array([0xff, 0xfe, 0]), new Uint8Array(1)),
    "28000",
    '"trust" authentication failed',
  ],
  ["a cancel request without a key", packet(80_877_102), "08P01", "bad cancel request"],
  [
    "an SSLRequest with bytes behind it",
    join(frontend.sslRequest(), frontend.startup({ user: "x" })),
    "08P01",
    "received unencrypted data after SSL request",
  ],
  [
    "a GSSENCRequest with bytes behind it",
    join(frontend.gssencRequest(), frontend.startup({ user: "x" })),
    "08P01",
    "received unencrypted data after GSSAPI encryption request",
  ],
];

Deno.test("what is no startup packet is refused, one after the other, by a process that goes on", async (t) => {
  await using world = await openWorld();
  for (const [name, opening, sqlstate, text] of REFUSED_OPENINGS) {
    await t.step(`${name} is refused with ${sqlstate}`, async () => {
      await disturb(world, async () => fatal(sqlstate, text, await answerTo(world, opening)));
    });
  }
});

/** The beginning of a TLS handshake. */
const CLIENT_HELLO = new Uint8Array([
  ...[0x16, 0x03, 0x01, 0x00, 0x2e, 0x01, 0x00, 0x00, 0x2a, 0x03, 0x03],
  ...new Array<number>(38).fill(7),
]);

Deno.test("openings that are not worth an answer are closed without a word", async () => {
  await disturbedWorld(async (world) => {
    assert.equal(await answerTo(world, CLIENT_HELLO), undefined, "TLS");
    assert.equal(await answerTo(world, frontend.cancelRequest(new Uint8Array(8))), undefined);
    assert.equal(await answerTo(world, frontend.cancelRequest(new Uint8Array(256))), undefined);
    const logLength = world.sluice.log().length;
    (await world.open()).close();
    const half = await world.open();
    await half.send(frontend.startup({ user: "x" }).subarray(0, 9));
    half.close();
    await world.sluice.waitForLog(/client unexpected eof/, { fromOffset: logLength });
    const closings = world.sluice.log().slice(logLength).match(/client unexpected eof/g);
    assert.equal(closings?.length, 1, "a probe that sends nothing is not worth a line");
  });
});

Deno.test("SSLRequest and GSSENCRequest are answered with N, each once", async () => {
  await disturbedWorld(async (world) => {
    const client = await world.open();
    await client.send(frontend.gssencRequest());
    assert.equal(await client.receiveByte(), "N");
    await client.send(frontend.sslRequest());
    assert.equal(await client.receiveByte(), "N");
    await client.login({ user: world.user, database: world.database });
    assert.equal(valueOf(await client.query("select 1")), "1");
    const stubborn = await world.open();
    await stubborn.send(frontend.sslRequest());
    assert.equal(await stubborn.receiveByte(), "N");
    await stubborn.send(frontend.sslRequest());
    fatal("08P01", /ssl_request|SSL request/, await farewell(stubborn));
  });
});

/** What a client that has logged in may not send. */
const REFUSED_MESSAGES: readonly (readonly [name: string, bytes: Uint8Array, text: RegExp])[] = [
  ["a password", frontend.password(cstring("secret")), /^unknown pkt/],
  ["a message of no known type", message("?"), /^unknown pkt/],
  ["a message of type zero", message("\0", new Uint8Array(3)), /^unknown pkt/],
  ["a backend's message", message("Z", utf8("I")), /^unknown pkt/],
  ["a second startup packet", frontend.startup({ user: "x" }), /^unknown pkt|^bad packet header/],
  ["a length below four", join(utf8("Q"), int32(3), utf8("abc")), /^bad packet header/],
  ["a length of zero", join(utf8("Q"), int32(0)), /^bad packet header/],
  ["a length below zero", join(utf8("Q"), int32(-5), utf8("abc")), /^bad packet header/],
  ["TLS", CLIENT_HELLO, /^unknown pkt|^bad packet header/],
  ["an HTTP request", utf8("GET / HTTP/1.1\r\n\r\n"), /^unknown pkt|^bad packet header/],
];

for (const [name, bytes, text] of REFUSED_MESSAGES) {
  Deno.test(`${name} sent by a client that has logged in ends that client with 08P01`, async () => {
    await disturbedWorld(async (world) => {
      const client = await world.connect();
      await client.send(bytes);
      fatal("08P01", text, await farewell(client));
    });
  });

  Deno.test(`${name} sent in a transaction ends client and server`, async () => {
    await disturbedWorld(async (world) => {
      const client = await world.connect();
      await client.query("begin; create table lost (x int)");
      await world.untilBackendCount(2);
      await client.send(bytes);
      fatal("08P01", text, await farewell(client));
      await world.untilBackendCount(1);
      assert.deepEqual(await world.direct(`select to_regclass('${world.user}.lost') as lost`), [
        { lost: null },
      ]);
    });
  });
}

Deno.test("messages before bad bytes in the same piece do not make it less bad", async () => {
  await disturbedWorld(async (world) => {
    const client = await world.connect();
    await client.send(frontend.query("select 1"), message("?"));
    const messages = await client.receiveUntilEnd();
    fatal("08P01", /^unknown pkt/, readReport(messages.at(-1)!.body));
  });
});

Deno.test("bad bytes while the client waits for a server end it at once or when it is served", async () => {
  await disturbedWorld(async (world) => {
    const [holder, waiter] = await world.connectMany(2);
    await holder!.query("begin");
    await waiter!.send(frontend.query("select 1"));
    await world.untilWaiting(1);
    await waiter!.send(message("?"));
    await holder!.query("commit");
    const messages = await waiter!.receiveUntilEnd();
    fatal("08P01", /^unknown pkt/, readReport(messages.at(-1)!.body));
    assert.equal(valueOf(await holder!.query("select 'alive'")), "alive");
  });
});

/** Faults in the body of a message, which PostgreSQL finds and answers. */
const BROKEN_BODIES: readonly (readonly [name: string, bytes: Uint8Array])[] = [
  ["a Query without its zero byte", message("Q", utf8("select 1"))],
  ["a Query with bytes behind its zero byte", message("Q", cstring("select 1"), utf8("more"))],
  ["an empty Query message", message("Q")],
  ["a Parse cut short", join(message("P", utf8("x")), frontend.sync())],
  ["a Bind with a count of minus one", join(message("B", utf8("\0\0\xff\xff")), frontend.sync())],
  ["a Describe of nothing", join(message("D"), frontend.sync())],
  ["a Close of an unknown kind", join(message("C", cstring("Xname")), frontend.sync())],
  ["a FunctionCall cut short", message("F", int32(1))],
  ["a Sync with a body", message("S", utf8("body"))],
];

for (const [name, bytes] of BROKEN_BODIES) {
  Deno.test(`${name} is answered, and hurts nobody else`, async () => {
    await disturbedWorld(async (world) => {
      const client = await world.connect();
      await client.send(bytes);
      const messages = await client.receiveUntilReady();
      const error = messages.find(({ type }) => type === "E");
      assert.ok(error !== undefined, "an error is told");
      if (messages.at(-1)?.type !== "Z") return;
      assert.equal(valueOf(await client.query("select 'alive'")), "alive");
    });
  });
}

Deno.test("COPY messages outside a COPY are dropped, as PostgreSQL drops them", async () => {
  await disturbedWorld(async (world) => {
    const client = await world.connect();
    const copy = [frontend.copyData("1\n"), frontend.copyDone(), frontend.copyFail("no")];
    await client.send(...copy);
    assert.equal(valueOf(await client.query("select 1")), "1");
    await client.send(...copy, frontend.query("select 2"), ...copy);
    assert.equal(valueOf(await client.result()), "2");
    await client.query("begin");
    await client.send(...copy, frontend.query("select 3"));
    assert.equal(valueOf(await client.result()), "3");
    assert.equal((await client.query("commit")).status, "I");
  });
});

Deno.test("a message over max_packet_size ends its client with 08P01", async () => {
  await disturbedWorld(async (world) => {
    const client = await world.connect();
    assert.equal(valueOf(await client.query(`select length('${"x".repeat(90_000)}')`)), "90000");
    await client.send(frontend.query(`select length('${"x".repeat(110_000)}')`));
    fatal("08P01", /^bad packet header/, await farewell(client));
  }, { pooler: { max_packet_size: 100_000 } });
});

Deno.test("a login that goes on byte by byte ends with client_login_timeout", async () => {
  await disturbedWorld(async (world) => {
    const silent = await world.open();
    const slow = await world.open();
    const startup = frontend.startup({ user: world.user, database: world.database });
    const startMs = performance.now();
    const [told, silentTold] = await Promise.all([
      (async () => {
        const end = farewell(slow);
        let isOver = false;
        const over = end.then(() => isOver = true);
        for (const byte of startup.subarray(0, -1)) {
          if (isOver) break;
          await slow.send(new Uint8Array([byte]));
          await Promise.race([over, world.backends()]);
        }
        return await end;
      })(),
      farewell(silent),
    ]);
    assert.ok(performance.now() - startMs >= 1000, "too early");
    for (const error of [told, silentTold]) fatal("57014", "client_login_timeout", error);
  }, { pooler: { client_login_timeout: 1 } });
});

Deno.test("a password that does not come ends with client_login_timeout", async () => {
  await using world = await startWorld(postgres, {
    pooler: { auth_type: "scram-sha-256", client_login_timeout: 0.5 },
  });
  const client = await world.open();
  await client.send(frontend.startup({ user: world.user, database: world.database }));
  assert.equal((await client.receive())?.type, "R");
  fatal("57014", "client_login_timeout", await farewell(client));
});

/** What may come in place of a password. */
const NO_PASSWORDS: readonly (readonly [name: string, bytes: Uint8Array, sqlstate: string])[] = [
  ["a Query", frontend.query("select 1"), "08P01"],
  ["an empty password message", frontend.password(new Uint8Array()), "08P01"],
  ["a mechanism nobody knows", frontend.password(join(cstring("X"), int32(-1))), "08P01"],
  ["a password message of 1 GB", join(utf8("p"), int32(1 << 30)), "08P01"],
];

for (const [name, bytes, sqlstate] of NO_PASSWORDS) {
  Deno.test(`${name} in place of SCRAM's first message is refused with ${sqlstate}`, async () => {
    await disturbedWorld(async (world) => {
      const client = await world.open();
      await client.send(frontend.startup({ user: world.user, database: world.database }));
      assert.equal((await client.receive())?.type, "R");
      await client.send(bytes);
      fatal(sqlstate, /./, await farewell(client));
    }, { pooler: { auth_type: "scram-sha-256" } });
  });
}

Deno.test("random bytes at any moment close nothing but the connection they came on", async () => {
  const random = new SeededRandom(20_261_123);
  await disturbedWorld(async (world) => {
    for (let round = 0; round < 150; round++) {
      const bytes = random.bytes(1 + random.below(300));
      const client = round % 3 === 0 ? await world.open() : await world.connect();
      if (round % 3 === 2) {
        const whole = frontend.query("select 1");
        // A good message goes bad at some byte.
        await client.send(whole.subarray(0, random.below(whole.length)), bytes);
      } else {
        await client.send(bytes);
      }
      // Some bytes ask for more to come: hang up rather than wait.
      client.stream.finishWriting();
      await client.receiveUntilEnd();
      client.close();
    }
    await world.untilPool({ sv_active: 1, cl_waiting: 0 });
  });
});

Deno.test("a message cut at any byte by the end of the connection leaves nothing behind", async () => {
  await disturbedWorld(async (world) => {
    const whole = join(frontend.parse("select 1"), frontend.bind(), frontend.execute());
    for (let length = 1; length < whole.length; length++) {
      const client = await world.connect();
      await client.send(whole.subarray(0, length));
      client.close();
    }
    await world.untilPool({ sv_active: 1, cl_waiting: 0, cl_active: 1 });
  });
});
