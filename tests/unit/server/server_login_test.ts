import assert from "node:assert/strict";
import type { ServerAuthentication } from "../../../src/auth/server_authentication.ts";
import type { ByteStream } from "../../../src/net/byte_stream.ts";
import { logInToServer, ServerRefusal, VersionRefusal } from "../../../src/server/server_login.ts";
import { ServerTlsError } from "../../../src/server/server_tls.ts";
import { PgError, ProtocolError } from "../../../src/wire/pg_error.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { FakePostgres, type FakePostgresOptions } from "../../support/fake_postgres.ts";
import { backend as say, join, message, readInt32, textOf, utf8 } from "../../support/messages.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { type Chunking, SimNetwork } from "../../support/sim_net.ts";
import { ADDRESS, authentication, Peer } from "./server_bench.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";

const STREAM_OPTIONS = { receiveBytes: 4_096, maxBusyReads: 0, tcp: SYSTEM_TCP };

const PARAMETERS = [["user", "ada"], ["database", "app"]] as const;

function network(chunking: Chunking = "whole"): SimNetwork {
  return new SimNetwork({
    random: new SeededRandom(1),
    clock: new FakeClock(),
    isAutomatic: true,
    chunking,
  });
}

/** Logs in to a peer that does what `script` says. */
async function logIn(
  script: (peer: Peer) => Promise<void>,
  options: { chunking?: Chunking; exchange?: ServerAuthentication; minor?: number } = {},
) {
  const net = network(options.chunking);
  const listener = await net.listen({ ...ADDRESS, backlog: 1 }, () => STREAM_OPTIONS);
  const accepting = listener.connections().next();
  const stream = await net.dial(ADDRESS, { ...STREAM_OPTIONS, timeoutMs: 0 });
  const peer = new Peer((await accepting).value!);
  try {
    const login = logInToServer(stream, {
      parameters: PARAMETERS,
      authentication: options.exchange ?? authentication(),
      minor: options.minor ?? 0,
    });
    const scripted = script(peer);
    const [result] = await Promise.allSettled([login, scripted]);
    await scripted;
    if (result.status === "rejected") throw result.reason;
    return result.value;
  } finally {
    stream.close();
    peer.close();
    listener.close();
    await net.runUntilIdle();
  }
}

/** Logs in to a fake PostgreSQL. */
async function logInTo(
  options: Partial<FakePostgresOptions>,
  exchange: ServerAuthentication,
  minor = 0,
) {
  const net = network();
  const postgres = await FakePostgres.start({
    network: net,
    random: new SeededRandom(2),
    ...options,
  });
  const stream = await net.dial(ADDRESS, { ...STREAM_OPTIONS, timeoutMs: 0 });
  try {
    const parameters = PARAMETERS;
    return await logInToServer(stream, { parameters, authentication: exchange, minor });
  } finally {
    stream.close();
    await postgres.close();
    await net.runUntilIdle();
  }
}

const WELCOME = join(
  say.authentication(0),
  say.parameterStatus("DateStyle", "ISO"),
  say.parameterStatus("server_version", "18.0"),
  say.keyData(17, 4711),
  say.ready(),
);

for (const chunking of ["whole", "bytes", "random"] as const) {
  Deno.test(`logInToServer() takes key and parameters, cut as ${chunking}`, async () => {
    const { cancelKey, parameters } = await logIn(async (peer) => {
      const startup = textOf(await peer.startup()).slice(4);
      assert.equal(startup, "user\0ada\0database\0app\0\0");
      await peer.send(WELCOME);
    }, { chunking });
    assert.deepEqual([...cancelKey!], [0, 0, 0, 17, 0, 0, 18, 103]);
    assert.deepEqual([...parameters], [["DateStyle", "ISO"], ["server_version", "18.0"]]);
  });
}

for (const method of ["trust", "plain", "md5", "scram-sha-256"] as const) {
  Deno.test(`logInToServer() logs in by ${method}`, async () => {
    const result = await logInTo(
      { auth: method, users: { ada: "secret" } },
      authentication("secret"),
    );
    assert.equal(result.parameters.get("server_version"), "18.0");
    assert.equal(result.cancelKey?.length, 8);
  });
}

for (const method of ["plain", "md5", "scram-sha-256"] as const) {
  Deno.test(`logInToServer() hands on the server's refusal of a wrong password by ${method}`, async () => {
    const login = logInTo({ auth: method, users: { ada: "other" } }, authentication("secret"));
    await assert.rejects(login, (error) => {
      assert.ok(error instanceof ServerRefusal);
      assert.equal(error.error.sqlstate, "28P01");
      assert.equal(error.error.severity, "FATAL");
      assert.equal(error.error.message, 'password authentication failed for user "ada"');
      return true;
    });
  });
}

Deno.test("logInToServer() refuses a demand that it cannot meet", async () => {
  const login = logInTo({ auth: "md5", users: { ada: "secret" } }, authentication());
  await assert.rejects(login, (error) => {
    assert.ok(error instanceof ServerRefusal);
    assert.equal(error.error.message, "server login failed: wrong password type");
    return true;
  });
});

Deno.test("logInToServer() goes on after notices", async () => {
  const { cancelKey } = await logIn(async (peer) => {
    await peer.startup();
    await peer.send(say.notice("welcome"), WELCOME.subarray(0, 9), say.notice("again"));
    await peer.send(WELCOME.subarray(9));
  });
  assert.ok(cancelKey);
});

// --- versions of the protocol ---

const V3 = 3 << 16;

/** What is asked for, what the server can do, and what comes of it: version and key length. */
const VERSIONS: readonly (readonly [
  asked: number,
  newest: number,
  spoken: number,
  keyBytes: number,
])[] = [[0, 0, 0, 8], [0, 2, 0, 8], [2, 0, 0, 8], [2, 2, 2, 36]];

for (const [asked, newest, spoken, keyBytes] of VERSIONS) {
  Deno.test(`logInToServer() asks for 3.${asked} and gets 3.${spoken} from a server of 3.${newest}`, async () => {
    const result = await logInTo({ newestMinor: newest }, authentication(), asked);
    assert.deepEqual([result.minor, result.cancelKey?.length], [spoken, keyBytes]);
  });
}

Deno.test("logInToServer() says which version it asks for", async () => {
  for (const minor of [0, 2]) {
    await logIn(async (peer) => {
      assert.equal(readInt32(await peer.startup()), V3 | minor);
      await peer.send(WELCOME);
    }, { minor });
  }
});

/** Negotiations that settle the version, and on which. */
const SETTLED: readonly (readonly [word: number, minor: number])[] = [
  [V3, 0],
  [V3 | 1, 1],
  // The minor version alone, as the documentation can be read.
  [0, 0],
];

for (const [word, minor] of SETTLED) {
  Deno.test(`logInToServer() takes ${word} in NegotiateProtocolVersion for 3.${minor}`, async () => {
    const result = await logIn(async (peer) => {
      await peer.startup();
      await peer.send(say.negotiate(word), WELCOME);
    }, { minor: 2 });
    assert.equal(result.minor, minor);
  });
}

const OFFERS = "server login failed: NegotiateProtocolVersion offers protocol";

/** Negotiations that are none. */
const BAD_NEGOTIATIONS: readonly (readonly [
  what: string,
  asked: number,
  answer: Uint8Array,
  error: string,
])[] = [
  ["a newer version", 2, say.negotiate(V3 | 3), `${OFFERS} 3.3 instead of 3.2`],
  ["a newer version than 3.0", 0, say.negotiate(V3 | 2), `${OFFERS} 3.2 instead of 3.0`],
  ["the version asked for", 2, say.negotiate(V3 | 2), `${OFFERS} 3.2 instead of 3.2`],
  ["3.0, which was asked for", 0, say.negotiate(V3), `${OFFERS} 3.0 instead of 3.0`],
  ["another major version", 2, say.negotiate(4 << 16), `${OFFERS} 4.0 instead of 3.2`],
  ["protocol 2", 2, say.negotiate(2 << 16), `${OFFERS} 2.0 instead of 3.2`],
  ["a minor version alone that is newer", 2, say.negotiate(3), `${OFFERS} 0.3 instead of 3.2`],
  [
    "options not asked for",
    2,
    say.negotiate(V3, ["_pq_.x"]),
    "server login failed: NegotiateProtocolVersion is about options not asked for",
  ],
  [
    "a second time",
    2,
    join(say.negotiate(V3), say.negotiate(V3)),
    "server login failed: NegotiateProtocolVersion came twice",
  ],
];

for (const [what, minor, answer, text] of BAD_NEGOTIATIONS) {
  Deno.test(`logInToServer() refuses to negotiate ${what}`, async () => {
    const login = logIn(async (peer) => {
      await peer.startup();
      await peer.send(answer, WELCOME);
    }, { minor });
    await assert.rejects(login, (error) => {
      assert.ok(error instanceof ServerRefusal, String(error));
      assert.deepEqual([error.error.sqlstate, error.error.message], ["08P01", text]);
      return true;
    });
  });
}

/** Answers that may mean that the version is not understood. */
const NOT_UNDERSTOOD: readonly (readonly [what: string, answer: Uint8Array])[] = [
  ["by an error of PostgreSQL's", say.error("0A000", "unsupported frontend protocol", "FATAL")],
  ["by an error of a pooler's", say.error("08P01", "bad packet header", "FATAL")],
  ["by the end of the connection", new Uint8Array()],
  ["by half a message", say.authentication(0).subarray(0, 3)],
];

for (const [what, answer] of NOT_UNDERSTOOD) {
  Deno.test(`logInToServer() says so when 3.2 may have been refused ${what}, 3.0 never is`, async () => {
    const attempt = (minor: number) =>
      logIn(async (peer) => {
        await peer.startup();
        await peer.send(say.notice("a word first"), answer);
        peer.close();
      }, { minor });
    await assert.rejects(attempt(2), VersionRefusal);
    await assert.rejects(attempt(0), (error) => !(error instanceof VersionRefusal));
  });
}

/** Answers that say nothing about the version. */
const UNDERSTOOD: readonly (readonly [what: string, answer: Uint8Array])[] = [
  ["another error", say.error("28000", "no pg_hba.conf entry", "FATAL")],
  ["a wrong password", say.error("28P01", "wrong", "FATAL")],
  ["a server that is starting", say.error("57P03", "starting up", "FATAL")],
  ["the end after it let us in", say.authentication(0)],
  ["an error after it let us in", join(say.authentication(0), say.error("0A000", "no"))],
  ["an error after it negotiated", join(say.negotiate(V3), say.error("0A000", "no"))],
];

for (const [what, answer] of UNDERSTOOD) {
  Deno.test(`logInToServer() does not take for a refused version: ${what}`, async () => {
    const login = logIn(async (peer) => {
      await peer.startup();
      await peer.send(answer);
      peer.close();
    }, { minor: 2 });
    await assert.rejects(login, (error) => !(error instanceof VersionRefusal));
  });
}

Deno.test("logInToServer() keeps a key of any length that there may be, whole, and refuses others", async () => {
  for (let length = 0; length <= 300; length++) {
    const key = Uint8Array.from({ length }, (_, at) => at + 1 & 0xff);
    const login = logIn(async (peer) => {
      await peer.startup();
      await peer.send(say.authentication(0), message("K", key), say.ready());
    }, { minor: 2 });
    if (length >= 8 && length <= 260) assert.deepEqual((await login).cancelKey, key);
    else await assert.rejects(login, new ProtocolError(`bad cancel key: ${length} bytes`));
  }
});

Deno.test("logInToServer() keeps the last value of a parameter reported twice", async () => {
  const { parameters } = await logIn(async (peer) => {
    await peer.startup();
    const twice = [say.parameterStatus("a", "1"), say.parameterStatus("a", "2")];
    await peer.send(say.authentication(0), ...twice, say.ready());
  });
  assert.deepEqual([...parameters], [["a", "2"]]);
});

Deno.test("logInToServer() hands back what comes in one breath with the end of the login", async () => {
  const report = say.parameterStatus("TimeZone", "UTC");
  const { rest } = await logIn(async (peer) => {
    await peer.startup();
    await peer.send(WELCOME, report, report.subarray(0, 3));
  });
  assert.deepEqual([...rest], [...report, ...report.subarray(0, 3)]);
});

Deno.test("logInToServer() does without a cancel key", async () => {
  const { cancelKey } = await logIn(async (peer) => {
    await peer.startup();
    await peer.send(say.authentication(0), say.ready());
  });
  assert.equal(cancelKey, undefined);
});

/** What a server may do wrong, and what is made of it. */
const WRONG: readonly (readonly [what: string, bytes: Uint8Array, error: RegExp])[] = [
  ["a result", say.dataRow(["1"]), /unknown pkt from server: 'D'/],
  ["a parameter before it has let us in", say.parameterStatus("a", "1"), /unknown pkt.*'S'/],
  ["ReadyForQuery before it has let us in", say.ready(), /unknown pkt.*'Z'/],
  ["a result after it has let us in", join(say.authentication(0), say.copyDone()), /'c'/],
  ["a length below four", new Uint8Array([0x52, 0, 0, 0, 3]), /bad packet header/],
  ["a message that never ends", new Uint8Array([0x52, 0x7f, 0, 0, 0]), /bad packet header/],
  ["HTTP", utf8("HTTP/1.1 400 Bad Request\r\n\r\n"), /bad packet header/],
  ["a cut negotiation", say.negotiate(3 << 16, ["_pq_.x"]).fill(0x61, 19), /failed to parse/],
  ["a negotiation with more behind it", message("v", new Uint8Array(9)), /failed to parse/],
  [
    "a negotiation that counts below zero",
    message("v", new Uint8Array(8).fill(255)),
    /failed to parse/,
  ],
  ["a negotiation after it has let us in", join(say.authentication(0), say.negotiate(0)), /'v'/],
  ["a cut parameter", join(say.authentication(0), message("S", utf8("a"))), /failed to parse/],
];

for (const [what, bytes, error] of WRONG) {
  Deno.test(`logInToServer() gives a protocol error for ${what}`, async () => {
    const login = logIn(async (peer) => {
      await peer.startup();
      await peer.send(bytes);
    });
    await assert.rejects(login, (thrown) => {
      assert.ok(thrown instanceof ProtocolError, String(thrown));
      assert.match(thrown.message, error);
      return true;
    });
  });
}

Deno.test("logInToServer() says so when the server closes, wherever it does", async () => {
  for (let length = 0; length < WELCOME.length; length++) {
    const login = logIn(async (peer) => {
      await peer.startup();
      await peer.send(WELCOME.subarray(0, length));
      peer.close();
    });
    await assert.rejects(login, (error) => {
      assert.ok(error instanceof PgError);
      assert.equal(error.sqlstate, "08006");
      assert.equal(error.message, "server conn crashed?");
      return true;
    });
  }
});

Deno.test("logInToServer() tells TLS that ends before the first answer from TLS that ends later", async () => {
  const logInOver = (...chunks: readonly Uint8Array[]) => {
    const stream: Partial<ByteStream> = {
      write: () => {},
      async *chunks() {
        yield* chunks;
      },
      tlsFailure: "bad record mac",
    };
    return logInToServer(stream as ByteStream, {
      parameters: PARAMETERS,
      authentication: authentication("secret"),
      minor: 2,
    });
  };
  const rejection = async (login: Promise<unknown>) => {
    const error: unknown = await login.catch((error: unknown) => error);
    assert.ok(error instanceof ServerTlsError);
    return [error.failure, error.message, error.error.message];
  };
  const handshake = ["TLS handshake failed: bad record mac", "server TLS handshake failed"];
  assert.deepEqual(await rejection(logInOver()), ["broken", ...handshake]);
  for (const chunks of [[say.authentication(3)], [say.authentication(0)]]) {
    assert.deepEqual(await rejection(logInOver(...chunks)), [
      "broken",
      "server conn crashed? (TLS: bad record mac)",
      "server conn crashed?",
    ]);
  }
});

Deno.test("logInToServer() does not answer a server that ends SASL without its own proof", async () => {
  const login = logIn(async (peer) => {
    await peer.startup();
    await peer.send(say.authentication(10, utf8("SCRAM-SHA-256\0\0")));
    await peer.receive();
    await peer.send(say.authentication(0), say.ready());
  }, { exchange: authentication("secret") });
  await assert.rejects(login, (error) => {
    assert.ok(error instanceof ServerRefusal);
    assert.equal(error.error.message, "server login failed: invalid server signature");
    return true;
  });
});
