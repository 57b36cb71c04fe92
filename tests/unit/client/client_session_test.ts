/** The life of a client's connection: its states, its end, and what is said and logged of it. */

import assert from "node:assert/strict";
import { defaultSettings } from "../../../src/config/validate.ts";
import type { Settings } from "../../../src/config/settings.ts";
import {
  clientLabel,
  type ClientService,
  ClientSession,
  type SessionDesk,
} from "../../../src/client/client_session.ts";
import { Logger } from "../../../src/log/logger.ts";
import { PgError, ProtocolError } from "../../../src/wire/pg_error.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { frontend, readReport, utf8 } from "../../support/messages.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { SimNetwork } from "../../support/sim_net.ts";
import { TestClient } from "../../support/test_client.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";

const ADDRESS = { kind: "tcp", host: "127.0.0.1", port: 6432 } as const;
const OPTIONS = { receiveBytes: 4_096, maxBusyReads: 0, tcp: SYSTEM_TCP, timeoutMs: 0 };

/** A service that does what a test says. */
class ScriptedService implements ClientService {
  readonly received: string[] = [];
  detachCount = 0;
  touchCount = 0;
  isMidReply = false;
  onChunk: (() => void | Promise<void>) | undefined;

  onClientChunk(buffer: Uint8Array, length: number): void | Promise<void> {
    this.received.push(new TextDecoder().decode(buffer.subarray(0, length)));
    return this.onChunk?.();
  }

  touch(): number {
    this.touchCount += 1;
    return 0;
  }

  detach(): void {
    this.detachCount += 1;
  }
}

/** One session, with a desk that lets everybody in. */
class SessionBench implements AsyncDisposable {
  readonly service = new ScriptedService();
  readonly log: string[] = [];
  readonly clock = new FakeClock();
  readonly ended: ClientSession[] = [];
  readonly forgotten: ClientSession[] = [];
  readonly canceled: Uint8Array[] = [];
  idleCount = 0;
  readonly session: ClientSession;
  readonly client: TestClient;
  readonly running: Promise<void>;
  /** What the session is to fail with, where a test has it fail. */
  failure: Error | undefined;
  readonly #outcome: Promise<readonly PromiseSettledResult<void>[]>;
  readonly #network: SimNetwork;

  private constructor(
    network: SimNetwork,
    ends: { near: TestClient; session: (bench: SessionBench) => ClientSession },
  ) {
    this.#network = network;
    this.client = ends.near;
    this.session = ends.session(this);
    this.running = this.session.run();
    this.#outcome = Promise.allSettled([this.running]);
  }

  static async open(
    { logIn, settings = {} }: {
      logIn?: (session: ClientSession) => Promise<ClientService | undefined>;
      settings?: Partial<Settings>;
    } = {},
  ): Promise<SessionBench> {
    const network = new SimNetwork({
      random: new SeededRandom(1),
      clock: new FakeClock(),
      isAutomatic: true,
    });
    const listener = await network.listen({ ...ADDRESS, backlog: 1 }, () => OPTIONS);
    const accepting = listener.connections().next();
    const near = new TestClient(await network.dial(ADDRESS, OPTIONS));
    const stream = (await accepting).value!;
    listener.close();
    return new SessionBench(network, {
      near,
      session(bench) {
        const desk: SessionDesk = {
          settings: () => defaultSettings(settings),
          proxyRule: () => "off",
          tlsOffer: () => ({ tls: undefined, isRequired: false }),
          logIn: async (session) => {
            if (logIn !== undefined) return await logIn(session);
            session.enterLogin("ada", "app");
            session.enterIdle();
            return bench.service;
          },
          cancel: (key) => {
            bench.canceled.push(key);
            return Promise.resolve();
          },
          noteMove: () => {},
          noteIdle: (change) => bench.idleCount += change,
          noteEnd: (session) => bench.ended.push(session),
          forget: (session) => bench.forgotten.push(session),
        };
        const sink = {
          write: (line: string) => bench.log.push(line.replace(/^.*?\] /, "").trim()),
        };
        const log = new Logger({ clock: bench.clock, processId: 1, sink, verbosity: 0 });
        return new ClientSession({ id: 0x1f, stream, clock: bench.clock, log, desk });
      },
    });
  }

  /** Logs in and sends this. */
  async logIn(...messages: readonly Uint8Array[]): Promise<void> {
    await this.client.send(frontend.startup({ user: "ada", database: "app" }), ...messages);
    await this.settle();
  }

  settle(): Promise<void> {
    return this.#network.runUntilIdle();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    await this.settle();
    const [outcome] = await this.#outcome;
    assert.equal(outcome?.status === "rejected" ? outcome.reason : undefined, this.failure);
    assert.deepEqual(this.forgotten, [this.session], "It is forgotten once");
    assert.equal(this.session.state.kind, "closed");
    assert.equal(this.idleCount, 0, "Who is gone is not idle");
  }
}

Deno.test("ClientSession serves what came with the login, and then all that comes", async () => {
  await using bench = await SessionBench.open();
  assert.equal(bench.session.state.kind, "startup");
  await bench.logIn(utf8("one"));
  assert.equal(bench.session.state.kind, "idle");
  await bench.client.send(utf8("two"));
  await bench.settle();
  assert.deepEqual(bench.service.received, ["one", "two"]);
});

Deno.test("ClientSession reads no more while its service waits", async () => {
  await using bench = await SessionBench.open();
  const gate = Promise.withResolvers<void>();
  bench.service.onChunk = () => gate.promise;
  await bench.logIn(utf8("one"));
  await bench.client.send(utf8("two"));
  await bench.settle();
  assert.deepEqual(bench.service.received, ["one"]);
  gate.resolve();
  await bench.settle();
  assert.deepEqual(bench.service.received, ["one", "two"]);
});

Deno.test("ClientSession tells its service once that the client is gone, however it goes", async () => {
  const ways: readonly ((bench: SessionBench) => void)[] = [
    (bench) => bench.client.close(),
    (bench) => bench.session.end("test"),
    (bench) => bench.session.end("test", new PgError("57P01", "test")),
    (bench) => bench.session.hangUp(),
  ];
  for (const go of ways) {
    const bench = await SessionBench.open();
    await bench.logIn();
    go(bench);
    await bench.settle();
    assert.equal(bench.service.detachCount, 1);
    await bench[Symbol.asyncDispose]();
    assert.equal(bench.service.detachCount, 1);
  }
});

Deno.test("ClientSession.end() with an error sends it and lingers until the client has closed", async () => {
  await using bench = await SessionBench.open();
  await bench.logIn();
  bench.session.end("query_wait_timeout", new PgError("53300", "query_wait_timeout"));
  assert.equal(bench.session.state.kind, "closing");
  assert.equal(bench.session.isOpen, false);
  // What is still sent must not make the error get lost.
  await bench.client.send(utf8("late"));
  const [told, end] = await bench.client.receiveUntilEnd();
  assert.equal(end, undefined);
  const { message, severity, sqlstate } = readReport(told!.body);
  assert.deepEqual([severity, sqlstate, message], ["FATAL", "53300", "query_wait_timeout"]);
  await bench.settle();
  assert.equal(bench.session.state.kind, "closing");
  assert.deepEqual(bench.service.received, []);
  bench.client.close();
  await bench.settle();
  assert.equal(bench.session.state.kind, "closed");
});

Deno.test("ClientSession.hangUp() ends the lingering", async () => {
  await using bench = await SessionBench.open();
  await bench.logIn();
  bench.session.end("test", new PgError("57P01", "test"));
  bench.session.hangUp();
  await bench.running;
  assert.equal(bench.session.state.kind, "closed");
});

Deno.test("ClientSession.end() without an error closes at once", async () => {
  await using bench = await SessionBench.open();
  await bench.logIn();
  bench.session.end("client close request");
  assert.deepEqual(await bench.client.receiveUntilEnd(), []);
});

Deno.test("ClientSession.end() sends no error behind a message that was sent in part", async () => {
  await using bench = await SessionBench.open();
  await bench.logIn();
  bench.service.isMidReply = true;
  bench.session.end("server conn crashed?", new PgError("08006", "server conn crashed?"));
  assert.deepEqual(await bench.client.receiveUntilEnd(), []);
});

Deno.test("ClientSession.end() counts once", async () => {
  await using bench = await SessionBench.open();
  await bench.logIn();
  bench.session.end("first", new PgError("57P01", "first"));
  bench.session.end("second", new PgError("57P01", "second"));
  bench.session.end("third");
  const messages = await bench.client.receiveUntilEnd();
  assert.deepEqual(messages.map(({ body }) => readReport(body).message), ["first"]);
});

for (
  const [what, error, sqlstate, message] of [
    ["a protocol error", new ProtocolError("unknown pkt: '!'"), "08P01", "unknown pkt: '!'"],
    ["an error for the client", new PgError("53300", "no room"), "53300", "no room"],
  ] as const
) {
  Deno.test(`ClientSession tells the client of ${what} of its service, and does not fail`, async () => {
    await using bench = await SessionBench.open();
    bench.service.onChunk = () => {
      throw error;
    };
    await bench.logIn(utf8("x"));
    const [told] = await bench.client.receiveUntilEnd();
    const fields = readReport(told!.body);
    assert.deepEqual([fields.severity, fields.sqlstate, fields.message], [
      "FATAL",
      sqlstate,
      message,
    ]);
    // It lingers: were it closed with bytes unread, the error could get lost.
    await bench.client.send(utf8("late"));
    await bench.settle();
    assert.equal(bench.session.state.kind, "closing");
    bench.client.close();
    await bench.running;
  });

  Deno.test(`ClientSession tells the client of ${what} at its login`, async () => {
    await using bench = await SessionBench.open({ logIn: () => Promise.reject(error) });
    await bench.logIn();
    const [told] = await bench.client.receiveUntilEnd();
    assert.equal(readReport(told!.body).sqlstate, sqlstate);
    bench.client.close();
    await bench.running;
  });
}

Deno.test("ClientSession says nothing to the client of a mistake of ours, and hands it on", async () => {
  await using bench = await SessionBench.open();
  const failure = new TypeError("x is not a function");
  bench.failure = failure;
  bench.service.onChunk = () => Promise.reject(failure);
  await bench.logIn(utf8("x"));
  const [told] = await bench.client.receiveUntilEnd();
  const { message, sqlstate } = readReport(told!.body);
  assert.deepEqual([sqlstate, message], ["XX000", "internal error"]);
  bench.client.close();
  await assert.rejects(bench.running, failure);
  assert.equal(bench.service.detachCount, 1);
});

Deno.test("ClientSession hands a cancel request on and closes without a word", async () => {
  await using bench = await SessionBench.open();
  const key = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);
  await bench.client.send(frontend.cancelRequest(key));
  assert.deepEqual(await bench.client.receiveUntilEnd(), []);
  assert.deepEqual(bench.canceled, [key]);
});

Deno.test("ClientSession that came to nothing at its login is closed", async () => {
  await using bench = await SessionBench.open({ logIn: () => Promise.resolve(undefined) });
  await bench.logIn();
  assert.deepEqual(await bench.client.receiveUntilEnd(), []);
});

Deno.test("ClientSession that was ended during its login is not served afterwards", async () => {
  const gate = Promise.withResolvers<void>();
  const service = new ScriptedService();
  await using bench = await SessionBench.open({
    async logIn(session) {
      session.enterLogin("ada", "app");
      await gate.promise;
      return service;
    },
  });
  await bench.logIn(utf8("x"));
  bench.session.end("client_login_timeout", new PgError("57014", "client_login_timeout"));
  gate.resolve();
  const [told] = await bench.client.receiveUntilEnd();
  assert.equal(readReport(told!.body).message, "client_login_timeout");
  bench.client.close();
  await bench.running;
  assert.deepEqual(service.received, []);
});

// --- the log ---

Deno.test("ClientSession logs its end with its age, and errors that the client was told", async () => {
  await using bench = await SessionBench.open();
  await bench.logIn();
  bench.clock.advance(3_700);
  bench.session.end("idle timeout", new PgError("57P05", "client_idle_timeout"));
  const label = "C-0x00000000001f: app/ada@127.0.0.1:";
  assert.ok(clientLabel(bench.session).startsWith(label));
  assert.deepEqual(bench.log, [
    `WARNING ${clientLabel(bench.session)} pooler error: client_idle_timeout`,
    `LOG ${clientLabel(bench.session)} closing because: idle timeout (age=3s)`,
  ]);
});

Deno.test("ClientSession is silent where the settings say so", async () => {
  await using bench = await SessionBench.open({
    settings: { logDisconnections: false, logPoolerErrors: false },
  });
  await bench.logIn();
  bench.session.end("test", new PgError("57P01", "test"));
  assert.deepEqual(bench.log, []);
});

Deno.test("ClientSession makes no line of a probe, and one of a client that broke off", async () => {
  const probe = await SessionBench.open();
  await probe[Symbol.asyncDispose]();
  assert.deepEqual(probe.log, []);
  const line =
    /\(nodb\)\/\(nouser\)@127\.0\.0\.1:\d+ closing because: client unexpected eof \(age=0s\)/;
  for (const logDisconnections of [true, false]) {
    const half = await SessionBench.open({ settings: { logDisconnections } });
    await half.client.send(frontend.startup({ user: "ada" }).subarray(0, 6));
    await half.settle();
    await half[Symbol.asyncDispose]();
    if (logDisconnections) assert.match(half.log.join(), line);
    else assert.deepEqual(half.log, []);
  }
});

Deno.test("ClientSession has its service touched while there is one, and is touched at any time", async () => {
  await using bench = await SessionBench.open();
  bench.session.touchRest();
  await bench.logIn();
  bench.session.touch();
  assert.equal(bench.service.touchCount, 0);
  bench.session.touchRest();
  assert.equal(bench.service.touchCount, 1);
  bench.session.end("for a test");
  bench.session.touchRest();
  assert.equal(bench.service.touchCount, 1);
});

Deno.test("ClientSession tells its desk when it comes to be idle, and when it no longer is", async () => {
  await using bench = await SessionBench.open();
  assert.equal(bench.idleCount, 0);
  await bench.logIn();
  assert.equal(bench.idleCount, 1);
  bench.session.enterWaiting();
  assert.equal(bench.idleCount, 0);
  bench.session.enterActive();
  bench.session.enterIdle();
  assert.equal(bench.idleCount, 1);
});

Deno.test("ClientSession knows since when it is in its state", async () => {
  await using bench = await SessionBench.open();
  const { connectedAtMs } = bench.session;
  bench.clock.advance(500);
  await bench.logIn();
  assert.equal(bench.session.enteredAtMs, connectedAtMs + 500);
  bench.clock.advance(500);
  bench.session.enterWaiting();
  assert.equal(bench.session.enteredAtMs, connectedAtMs + 1_000);
  bench.session.enterActive();
  bench.session.enterIdle();
  assert.throws(() => bench.session.enterIdle(), /cannot go from idle to idle/);
});
