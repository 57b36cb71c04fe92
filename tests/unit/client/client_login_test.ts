import assert from "node:assert/strict";
import { backend as say, frontend, readInt32, readReport, utf8 } from "../../support/messages.ts";
import { PoolerWorld } from "../../support/pooler_world.ts";
import { scramChallenge } from "../../support/scram_challenge.ts";
import type { LoginOptions } from "../../support/test_client.ts";

const WRONG_PASSWORD = "FATAL 28P01: password authentication failed";
const WRONG_SASL = "FATAL 28P01: SASL authentication failed";

/** Who gets in by which method; `nobody` is a user that does not exist. */
const LOGINS: readonly (readonly [string, Partial<LoginOptions>, string])[] = [
  ["trust", {}, "in"],
  ["trust", { user: "nobody" }, 'FATAL 28000: "trust" authentication failed'],
  ["plain", {}, "in"],
  ["plain", { password: "wrong" }, WRONG_PASSWORD],
  ["plain", { user: "nobody" }, WRONG_PASSWORD],
  ["md5", {}, "in"],
  ["md5", { password: "wrong" }, WRONG_PASSWORD],
  ["md5", { user: "nobody" }, WRONG_PASSWORD],
  ["scram-sha-256", {}, "in"],
  ["scram-sha-256", { password: "wrong" }, WRONG_SASL],
  ["scram-sha-256", { user: "nobody" }, WRONG_SASL],
];

for (const [method, options, expected] of LOGINS) {
  const { password = "secret", user = "ada" } = options;
  Deno.test(`ClientLogin by ${method} as ${user}/${password}: ${expected}`, async () => {
    await using world = await PoolerWorld.open({ pooler: `auth_type = "${method}"` });
    assert.equal(await world.outcome(options), expected);
  });
}

for (const method of ["plain", "md5"]) {
  Deno.test(`ClientLogin by ${method} refuses an empty password as such`, async () => {
    await using world = await PoolerWorld.open({ pooler: `auth_type = "${method}"` });
    const client = await world.connect();
    await client.send(frontend.startup({ user: "ada", database: "app" }));
    assert.equal((await client.receive())?.type, "R");
    await client.send(frontend.password(utf8("\0")));
    assert.equal(await client.lastWords(), "FATAL 28P01 empty password returned by client");
  });
}

Deno.test("ClientLogin by any lets everybody in where the server's user is forced", async () => {
  const sections = `
[databases.app]
host = "127.0.0.1"
user = "bob"
`;
  await using world = await PoolerWorld.open({ pooler: 'auth_type = "any"', sections });
  assert.equal(await world.outcome({ user: "whoever" }), "in");
  assert.equal(world.postgres.backends[0]?.user, "bob");
});

Deno.test("ClientLogin asks an unknown user the same after a restart on the same machine", async () => {
  const askAfter = async (seed: number, hostSecret?: string) => {
    await using world = await PoolerWorld.open({
      seed,
      pooler: 'auth_type = "scram-sha-256"',
      ...(hostSecret === undefined ? {} : { hostSecret }),
    });
    return await scramChallenge(await world.connect(), "nobody");
  };
  const asked = await askAfter(1, "this machine");
  assert.equal(await askAfter(2, "this machine"), asked);
  assert.notEqual(await askAfter(1, "another machine"), asked);
  assert.notEqual(await askAfter(1), await askAfter(2));
});

Deno.test("ClientLogin asks an unknown user for as many rounds as the users in force have", async () => {
  const key = `${"A".repeat(43)}=`;
  const verifier = `SCRAM-SHA-256$777:AQIDBA==$${key}:${key}`;
  const sections = `[databases."*"]\nhost = "127.0.0.1"\n[users.ada]\npassword = `;
  const pooler = 'auth_type = "scram-sha-256"';
  await using world = await PoolerWorld.open({ pooler, sections: `${sections}"${verifier}"` });
  assert.match(await scramChallenge(await world.connect(), "nobody"), /^s=.{6}==,i=777$/);
  await world.setConfig({ pooler, sections: `${sections}"plain"` });
  await world.pooler.reload();
  assert.match(await scramChallenge(await world.connect(), "nobody"), /^s=.{22}==,i=4096$/);
});

Deno.test("ClientLogin tells whether a database exists only after the password was right", async () => {
  const sections = `
[databases.app]
host = "127.0.0.1"
[users.ada]
password = "secret"
`;
  await using world = await PoolerWorld.open({ pooler: 'auth_type = "md5"', sections });
  assert.equal(await world.outcome({ database: "none", password: "wrong" }), WRONG_PASSWORD);
  assert.equal(await world.outcome({ database: "none" }), "FATAL 3D000: no such database: none");
});

Deno.test("ClientLogin by SCRAM proves itself also to who then is refused", async () => {
  const sections = `
[databases.app]
host = "127.0.0.1"
[users.ada]
password = "secret"
`;
  await using world = await PoolerWorld.open({ pooler: 'auth_type = "scram-sha-256"', sections });
  /** What the login by SCRAM was answered with: kinds of 'R', and types of all else. */
  const answersOf = async (database: string) => {
    const client = await world.connect();
    const answers: unknown[] = [];
    const receive = client.receive.bind(client);
    client.receive = async () => {
      const message = await receive();
      answers.push(message?.type === "R" ? readInt32(message.body) : message?.type);
      return message;
    };
    await client.outcome({ user: "ada", password: "secret", database });
    return answers;
  };
  const [sasl, saslContinue, saslFinal, ok] = [10, 11, 12, 0];
  assert.deepEqual(await answersOf("none"), [sasl, saslContinue, saslFinal, "E"]);
  assert.deepEqual((await answersOf("app")).slice(0, 4), [sasl, saslContinue, saslFinal, ok]);
});

Deno.test("ClientLogin sends AuthenticationOk, parameters, cancel key and ReadyForQuery, in order", async () => {
  await using world = await PoolerWorld.open();
  const client = await world.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }));
  const types = (await client.receiveUntilReady()).map(({ type }) => type).join("");
  assert.match(types, /^RS+KZ$/);
  assert.equal(client.cancelKey?.length, 8);
  assert.notDeepEqual(client.cancelKey, world.pool().servers.idle[0]?.cancelKey);
  client.close();
});

Deno.test("ClientLogin announces the server's parameters, with the client's own in their place", async () => {
  await using world = await PoolerWorld.open();
  const client = await world.login({
    parameters: { application_name: "psql", timezone: "Asia/Tokyo" },
  });
  assert.equal(client.parameters.get("server_version"), "18.0");
  assert.equal(client.parameters.get("application_name"), "psql");
  assert.equal(client.parameters.get("TimeZone"), "Asia/Tokyo");
  assert.equal(client.parameters.get("DateStyle"), "ISO, MDY");
  client.close();
});

/** What a client asks to be called, and what it is called with application_name_add_host. */
const NAMES: readonly (readonly [Record<string, string>, string])[] = [
  [{ application_name: "psql" }, "psql"],
  [{ options: "-c application_name=psql" }, "psql"],
  [{}, "app"],
  [{ application_name: "" }, "app"],
];

for (const [parameters, name] of NAMES) {
  Deno.test(`ClientLogin with application_name_add_host calls ${JSON.stringify(parameters)} ${name} - host:port`, async () => {
    await using world = await PoolerWorld.open({ pooler: "application_name_add_host = true" });
    const client = await world.login({ parameters });
    const { host, port } = world.clients[0]!.stream.remote;
    const expected = `${name} - ${host}:${port}`;
    assert.equal(client.parameters.get("application_name"), expected);
    const { parameters: news, rows } = await client.query("show application_name");
    assert.deepEqual([rows, [...news]], [[[expected]], []]);
    await client.query("set application_name = 'mine'");
    assert.deepEqual((await client.query("show application_name")).rows, [["mine"]]);
    client.close();
  });
}

Deno.test("application_name_add_host counts for logins after a reload, not for those in", async () => {
  await using world = await PoolerWorld.open();
  const early = await world.login({ parameters: { application_name: "psql" } });
  await world.reload({ pooler: "application_name_add_host = true" });
  const late = await world.login({ parameters: { application_name: "psql" } });
  assert.deepEqual((await early.query("show application_name")).rows, [["psql"]]);
  assert.match(late.parameters.get("application_name")!, /^psql - 127\.0\.0\.1:\d+$/);
  early.close();
  late.close();
});

Deno.test("ClientLogin tells login_notify_message once, just before the first ReadyForQuery", async () => {
  const pooler = 'login_notify_message = "Maintenance\\ntonight"\nadmin_users = "ada"';
  await using world = await PoolerWorld.open({ pooler });
  for (let round = 0; round < 2; round++) {
    const client = await world.connect();
    await client.send(frontend.startup({ user: "ada", database: "app" }));
    const messages = await client.receiveUntilReady();
    assert.match(messages.map(({ type }) => type).join(""), /^RS+KNZ$/);
    assert.deepEqual(readReport(messages.at(-2)!.body), {
      severity: "NOTICE",
      sqlstate: "00000",
      message: "Maintenance\ntonight",
    });
    assert.deepEqual((await client.query("select 1")).notices, []);
    client.close();
  }
  const console = await world.connect();
  await console.send(frontend.startup({ user: "ada", database: "pgbouncer" }));
  const types = (await console.receiveUntilReady()).map(({ type }) => type).join("");
  assert.match(types, /^RS+KZ$/, "not for the console");
  console.close();
});

Deno.test("ClientLogin tells login_notify_message to nobody whose login fails", async () => {
  const pooler = 'login_notify_message = "hello"\nauth_type = "plain"';
  await using world = await PoolerWorld.open({ pooler });
  const client = await world.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }));
  await client.receive();
  await client.send(frontend.password(utf8("wrong\0")));
  const types = (await client.receiveUntilEnd()).map(({ type }) => type).join("");
  assert.equal(types, "E");
  client.close();
});

Deno.test("ClientLogin greets later clients without asking a server again", async () => {
  await using world = await PoolerWorld.open();
  (await world.login()).close();
  await world.settle();
  world.pool().servers.idle[0]!.discard("test");
  await world.settle();
  world.network.obstruct(world.postgres.address, "black hole");
  const client = await world.login();
  assert.equal(client.parameters.get("server_version"), "18.0");
  client.close();
});

Deno.test("ClientLogin sends AuthenticationOk first and waits for the first server", async () => {
  await using world = await PoolerWorld.open();
  world.network.obstruct(world.postgres.address, "black hole");
  const client = await world.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }));
  assert.equal((await client.receive())?.type, "R");
  await world.settle();
  assert.equal(world.clients[0]?.state.kind, "login");
  assert.equal(world.pool().loggingIn.size, 1);
  world.network.obstruct(world.postgres.address, undefined);
  assert.equal((await client.receiveUntilReady()).at(-1)?.type, "Z");
  client.close();
});

Deno.test("ClientLogin tells all who wait when the server refuses, in the server's words", async () => {
  await using world = await PoolerWorld.open();
  world.postgres.refusal = { severity: "FATAL", sqlstate: "53300", message: "too many clients" };
  const outcomes = await Promise.all([world.outcome(), world.outcome()]);
  const words = "FATAL 53300: too many clients";
  assert.deepEqual(outcomes, [words, words]);
});

Deno.test("ClientLogin keeps waiting while the server is starting up, and gets in", async () => {
  await using world = await PoolerWorld.open({ pooler: "server_login_retry = 1" });
  world.postgres.refusal = { severity: "FATAL", sqlstate: "57P03", message: "starting up" };
  const client = await world.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }));
  await world.advance(3_000);
  world.postgres.refusal = undefined;
  await world.advance(2_000);
  assert.equal((await client.receiveUntilReady()).at(-1)?.type, "Z");
  client.close();
});

Deno.test("ClientLogin keeps those waiting who came before a server could not be reached", async () => {
  await using world = await PoolerWorld.open({ pooler: "client_login_timeout = 20" });
  world.network.obstruct(world.postgres.address, "refused");
  const early = await world.connect();
  await early.send(frontend.startup({ user: "ada", database: "app" }));
  await world.settle();
  assert.equal((await early.receive())?.type, "R");
  const late = await world.outcome();
  assert.equal(
    late,
    "FATAL 08001: server login has been failing, cached error: connect failed (server_login_retry)",
  );
  await world.advance(21_000);
  const [told] = await early.receiveUntilEnd();
  const { detail, message, sqlstate } = readReport(told!.body);
  assert.deepEqual([sqlstate, message, detail], [
    "08006",
    "client_login_timeout (server down)",
    "connect failed",
  ]);
  early.close();
});

Deno.test("ClientLogin that takes too long is ended", async () => {
  await using world = await PoolerWorld.open({ pooler: "client_login_timeout = 5" });
  const silent = await world.connect();
  await world.advance(6_000);
  const [told] = await silent.receiveUntilEnd();
  assert.equal(readReport(told!.body).message, "client_login_timeout");
  silent.close();
});

Deno.test("ClientLogin answers a newer minor version and protocol options once, before anything else", async () => {
  await using world = await PoolerWorld.open();
  for (
    const [minor, options, spoken] of [
      [9, {}, 2],
      [0, { "_pq_.x": "1" }, 0],
      [2, { "_pq_.x": "1" }, 2],
      [9, { "_pq_.x": "1" }, 2],
    ] as const
  ) {
    const client = await world.connect();
    await client.send(frontend.startup({ user: "ada", database: "app", ...options }, minor));
    const messages = await client.receiveUntilReady();
    assert.match(messages.map(({ type }) => type).join(""), /^vRS+KZ$/);
    const body = [...messages[0]!.body];
    assert.deepEqual(body.slice(0, 8), [0, 3, 0, spoken, 0, 0, 0, Object.keys(options).length]);
    client.close();
  }
});

Deno.test("ClientLogin refuses what is no password", async () => {
  await using world = await PoolerWorld.open({ pooler: 'auth_type = "md5"' });
  for (const bytes of [frontend.query("select 1"), frontend.sync(), utf8("Q\0\0\0\x02")]) {
    const client = await world.connect();
    await client.send(frontend.startup({ user: "ada", database: "app" }));
    await client.receive();
    await client.send(bytes);
    const [told] = await client.receiveUntilEnd();
    assert.equal(readReport(told!.body).sqlstate, "08P01");
    client.close();
  }
});

Deno.test("ClientLogin ends without a word when the client leaves, at any byte", async () => {
  await using world = await PoolerWorld.open({ pooler: 'auth_type = "md5"' });
  const startup = frontend.startup({ user: "ada", database: "app" });
  for (let length = 0; length <= startup.length; length++) {
    const client = await world.connect();
    await client.send(startup.subarray(0, length));
    client.close();
  }
  const polite = await world.connect();
  await polite.send(startup);
  await polite.receive();
  await polite.send(frontend.terminate());
  assert.deepEqual(await polite.receiveUntilEnd(), []);
  polite.close();
  await world.settle();
  assert.equal(world.pooler.clients.count, 0);
});

Deno.test("ClientLogin takes a query that comes in one breath with the password", async () => {
  await using world = await PoolerWorld.open({ pooler: 'auth_type = "plain"' });
  const client = await world.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }));
  await client.receive();
  await client.send(frontend.password(utf8("secret\0")), frontend.query("select 1"));
  await client.receiveUntilReady();
  const result = await client.result();
  assert.deepEqual(result.rows, [["1"]]);
  client.close();
});

Deno.test("ClientLogin takes a query that was sent before there was any server", async () => {
  await using world = await PoolerWorld.open();
  world.network.obstruct(world.postgres.address, "black hole");
  const client = await world.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }), frontend.query("select 1"));
  await world.settle();
  world.network.obstruct(world.postgres.address, undefined);
  await client.receiveUntilReady();
  assert.deepEqual((await client.result()).rows, [["1"]]);
  client.close();
});

Deno.test("ClientLogin leaves the queue when the client is ended, and is gone when it has left", async () => {
  await using world = await PoolerWorld.open();
  world.network.obstruct(world.postgres.address, "black hole");
  const [ended, left] = [await world.connect(), await world.connect()];
  for (const client of [ended, left]) {
    await client.send(frontend.startup({ user: "ada", database: "app" }));
    await world.settle();
  }
  assert.equal(world.pool().loggingIn.size, 2);
  world.clients[0]!.end("test");
  assert.equal(world.pool().loggingIn.size, 1);
  // Nobody reads while it waits: that it has left shows when it is let in.
  left.close();
  world.network.obstruct(world.postgres.address, undefined);
  await world.settle();
  assert.equal(world.pool().loggingIn.size, 0);
  assert.equal(world.pooler.clients.count, 0);
  ended.close();
});

Deno.test("ClientLogin refuses more clients than max_client_conn, and counts those that got in", async () => {
  await using world = await PoolerWorld.open({ pooler: "max_client_conn = 2" });
  const first = await world.login();
  const second = await world.login();
  assert.equal(
    await world.outcome(),
    "FATAL 53300: no more connections allowed (max_client_conn)",
  );
  assert.equal(world.pool().stats.clientLoginCount, 2);
  first.close();
  await world.settle();
  assert.equal(await world.outcome(), "in");
  second.close();
});

Deno.test("ClientLogin opens one server for a storm of logins", async () => {
  await using world = await PoolerWorld.open({ pooler: "default_pool_size = 10" });
  const clients = await Promise.all(Array.from({ length: 20 }, () => world.login()));
  assert.equal(world.postgres.backends.length, 1);
  for (const client of clients) client.close();
});

Deno.test("ClientLogin survives a server that talks nonsense, and tries again later", async () => {
  await using world = await PoolerWorld.open({ pooler: "server_login_retry = 1" });
  world.postgres.garbage = say.copyIn();
  const client = await world.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }));
  await world.advance(3_000);
  world.postgres.garbage = undefined;
  await world.advance(3_000);
  assert.equal((await client.receiveUntilReady()).at(-1)?.type, "Z");
  client.close();
});

Deno.test("ClientLogin by md5 asks who does not exist for SCRAM where all others are asked for it", async () => {
  const key = btoa("k".repeat(32));
  const sections = `
[databases."*"]
host = "127.0.0.1"
[users.ada]
password = "SCRAM-SHA-256$4096:c2FsdA==$${key}:${key}"
`;
  await using world = await PoolerWorld.open({ pooler: 'auth_type = "md5"', sections });
  assert.equal(await world.outcome(), WRONG_SASL);
  assert.equal(await world.outcome({ user: "nobody" }), WRONG_SASL);
});
