/**
 * The allocation budget of the native engine: a query of a linked client, from the event that
 * announces it to the answer that is handed to the client's socket, allocates nothing.
 *
 * The whole pooler runs, on real streams and a real reactor; only the calls of the C library are
 * answered from memory. The heap is looked at before and after a run of queries that is short enough
 * for no garbage collection to fall into most of them.
 */

import assert from "node:assert/strict";
import { median } from "../../../../scripts/percentiles.ts";
import { Pooler } from "../../../../src/app/pooler.ts";
import { AwakeClock } from "../../../../src/base/awake_clock.ts";
import { HeldClock } from "../../../../src/base/clock.ts";
import { systemRandom } from "../../../../src/base/random.ts";
import { loadConfig } from "../../../../src/config/load.ts";
import { Logger } from "../../../../src/log/logger.ts";
import type { EventList, LibcCalls } from "../../../../src/net/native/libc.ts";
import { EVENT } from "../../../../src/net/native/libc.ts";
import { NativeStream } from "../../../../src/net/native/native_stream.ts";
import { Reactor } from "../../../../src/net/native/reactor.ts";
import type { Network, StreamOptions } from "../../../../src/net/network.ts";
import { NoTls } from "../../../../src/net/no_tls.ts";
import { eventually } from "../../../support/eventually.ts";
import { OWN_NAMES } from "../../../support/own_names.ts";
import { SingleSends } from "../../../support/single_sends.ts";
import { backend, frontend, join } from "../../../support/messages.ts";

const CLIENT = 10;
const SERVER = 11;
/** Connected when two ask by turns. */
const OTHER_CLIENT = 12;
/** What calls the runtime; nothing does. */
const CALL = 98;
const NOBODY = 99;

const AGAIN = -11;

/** What measuring itself leaves on the heap, a query. */
const MEASURING_BYTES = 2;

/** What a transaction may: its link. A query of one that goes on may nothing. */
const TRANSACTION_BUDGET_BYTES = 40;

const QUERIES = 2_000;

const LOGIN_ANSWER = join(
  backend.authentication(0),
  backend.parameterStatus("client_encoding", "UTF8"),
  backend.keyData(1, 2),
  backend.ready(),
);

const ROWS = join(
  backend.rowDescription(["abalance"]),
  backend.dataRow(["12345"]),
  backend.complete("SELECT 1"),
  backend.ready("T"),
);

const SQL = "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;";

const RUN = [
  frontend.bind({ statement: "P0_1", values: ["12345"] }),
  frontend.describe("P"),
  frontend.execute(),
  frontend.sync(),
];

/** What is asked and answered over and over, and what is so once before. */
interface Exchange {
  readonly query: Uint8Array;
  readonly answer: Uint8Array;
  readonly first?: { readonly query: Uint8Array; readonly answer: Uint8Array };
  /** Unless it is nothing. */
  readonly budgetBytes?: number;
  /** Whether each waits for the only server, which another client has. */
  readonly waits?: boolean;
}

const COMMIT = {
  query: frontend.query("COMMIT"),
  answer: join(backend.complete("COMMIT"), backend.ready()),
};

const TRANSACTION = {
  query: frontend.query(SQL),
  answer: join(backend.complete("SELECT 1"), backend.ready()),
  first: COMMIT,
  budgetBytes: TRANSACTION_BUDGET_BYTES,
};

const EXCHANGES: Readonly<Record<string, Exchange>> = {
  "a query of a client that has a server": { query: frontend.query(SQL), answer: ROWS },
  "a transaction": TRANSACTION,
  "a transaction that waits for a server": { ...TRANSACTION, waits: true },
  "a query by the extended protocol of a client that has a server": {
    query: join(frontend.parse(SQL), frontend.bind(), ...RUN.slice(1)),
    answer: join(backend.parseComplete(), backend.bindComplete(), ROWS),
  },
  "a prepared query of a client that has a server": {
    query: join(...RUN),
    answer: join(backend.bindComplete(), ROWS),
    first: {
      query: join(frontend.parse(SQL, "P0_1"), frontend.sync()),
      answer: join(backend.parseComplete(), backend.ready("T")),
    },
  },
};

/** Two sockets in memory, and an epoll that tells what the test says. */
class MemoryLibc {
  readonly #exchange: Exchange;
  /** With a fraction, as the system's clock has: a whole number would be none on the heap. */
  nowMs = 1.25;
  /** Queries still to be asked and answered, by turns. */
  queriesLeft = 0;
  sentToClients = 0;
  readonly #tokens = new Map<number, number>();
  readonly #inbox = new Map<number, Uint8Array>();
  readonly #ready: number[] = [];
  #apart: { events: EventList; resolve: (count: number) => void } | undefined;
  #words: Int32Array | undefined;
  #next = CLIENT;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  /** Something has come for a descriptor. */
  deliver(descriptor: number, bytes: Uint8Array): void {
    this.#inbox.set(descriptor, bytes);
    this.#ready.push(descriptor);
    const apart = this.#apart;
    this.#apart = undefined;
    apart?.resolve(this.#report(apart.events, this.#ready.shift()!));
  }

  epoll = () => 3;
  counter = () => 4;
  timer = () => 5;
  unwatch = () => {};
  watchFor = () => 0;
  close = () => {};
  finishSending = () => 0;
  localAddress = () => undefined;
  peek = () => AGAIN;

  count(): void {
    this.#apart?.resolve(0);
    this.#apart = undefined;
  }

  watch(_epoll: number, descriptor: number, { token }: { token: number }): number {
    this.#tokens.set(descriptor, token);
    return 0;
  }

  waitApart(_epoll: number, events: EventList): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    const descriptor = this.#ready.shift();
    if (descriptor !== undefined) resolve(this.#report(events, descriptor));
    else this.#apart = { events, resolve };
    return promise;
  }

  wait(_epoll: number, events: EventList): number {
    if (this.queriesLeft > 0) return this.#goOn(events);
    const descriptor = this.#ready.shift();
    if (descriptor !== undefined) return this.#report(events, descriptor);
    // Ends the slice.
    this.nowMs += 2;
    return 0;
  }

  /** One asks and is answered in the next round; or one asks while the other is answered. */
  #goOn(events: EventList): number {
    const descriptor = this.#next;
    if (this.#exchange.waits === true) {
      this.queriesLeft -= 1;
      this.#next = descriptor === CLIENT ? OTHER_CLIENT : CLIENT;
      return this.#report(events, descriptor, SERVER);
    }
    if (descriptor === SERVER) this.queriesLeft -= 1;
    this.#next = descriptor === CLIENT ? SERVER : CLIENT;
    return this.#report(events, descriptor);
  }

  receive(descriptor: number, buffer: Uint8Array): number {
    const bytes = this.#inbox.get(descriptor);
    if (bytes !== undefined) this.#inbox.delete(descriptor);
    const received = bytes ??
      (descriptor === SERVER ? this.#exchange.answer : this.#exchange.query);
    buffer.set(received);
    return received.length;
  }

  send(descriptor: number, _buffer: Uint8Array, start: number, end: number): number {
    if (descriptor !== SERVER) this.sentToClients += end - start;
    return end - start;
  }

  openSends(_count: number, bytes: Uint8Array): SingleSends {
    return new SingleSends(this, bytes);
  }

  /** As many events as have all of them touched first. */
  #report(events: EventList, descriptor: number, other = NOBODY): number {
    this.#tell(events, 0, descriptor);
    this.#tell(events, 1, other);
    this.#tell(events, 2, NOBODY);
    return 3;
  }

  #tell(events: EventList, at: number, descriptor: number): void {
    // The words of struct epoll_event: x64 packs it, arm64 does not.
    this.#words ??= new Int32Array(events.bytes.buffer);
    const perEvent = events.bytes.length / events.capacity / 4;
    this.#words[at * perEvent] = EVENT.in;
    this.#words[(at + 1) * perEvent - 2] = descriptor;
    this.#words[(at + 1) * perEvent - 1] = this.#tokens.get(descriptor) ?? 0;
  }
}

/** A pooler with one client in a transaction, or with another one that has none. */
async function openLinked(exchange: Exchange) {
  const libc = new MemoryLibc(exchange);
  const base = {
    seenMs: 0,
    look() {
      this.seenMs = libc.nowMs;
      return this;
    },
    nowMs: () => libc.nowMs,
    wallMs: () => 0,
    startTimer: () => ({ cancel: () => {} }),
  };
  const clock = new HeldClock(new AwakeClock(base));
  let slice: (() => void) | undefined;
  const reactor = new Reactor({
    libc: libc as unknown as LibcCalls,
    clock,
    turn: {
      // With one all rounds are calm ones.
      callDescriptor: CALL,
      settle: (then) => void setTimeout(then, 0),
      yield: (then) => slice = then,
    },
    onError: (error) => assert.fail(String(error)),
  });
  // So many that what is told of is touched first.
  for (let descriptor = 1_000; descriptor < 1_200; descriptor++) {
    reactor.register(descriptor, 0, { token: 0, onEvents: () => {}, onTurn: () => {} });
  }
  const stream = (descriptor: number, options: StreamOptions) =>
    new NativeStream({
      libc: libc as unknown as LibcCalls,
      reactor,
      descriptor,
      options,
      remote: { host: "127.0.0.1", port: descriptor },
      isUnix: false,
      unixPort: 0,
    });
  const ended = Promise.withResolvers<void>();
  const network: Network = {
    tls: new NoTls(),
    listen: (address, options) =>
      Promise.resolve({
        address,
        async *connections() {
          yield stream(CLIENT, options());
          if (exchange.waits === true) yield stream(OTHER_CLIENT, options());
          await ended.promise;
        },
        isInPlace: () => true,
        isDeserted: () => Promise.resolve(false),
        takeOver: () => {},
        drain: ended.resolve,
        close: ended.resolve,
      }),
    dial: (_address, options) => Promise.resolve(stream(SERVER, options)),
  };
  const text = '[pooler]\nlisten_addr="127.0.0.1"\nunix_socket_dir=""\nauth_type="trust"\n' +
    'pool_mode="transaction"\ndefault_pool_size=1\n[databases."*"]\nhost="127.0.0.1"\n[users.ada]\npassword="x"\n';
  const config = await loadConfig("config.toml", {
    readTextFile: () => Promise.resolve(text),
    env: () => undefined,
  });
  const loaded = { config, userList: new Map() };
  const log = new Logger({ clock, processId: 1, sink: { write: () => {} }, verbosity: 0 });
  const pooler = new Pooler({
    clock,
    random: systemRandom(),
    log,
    network,
    resolver: OWN_NAMES,
    engine: "native",
    loaded,
    load: () => Promise.resolve(loaded),
    ownUid: undefined,
    memory: () => Deno.memoryUsage(),
  });
  await pooler.start();
  /** Lets the reactor work until something is so. */
  const until = (what: string, condition: () => boolean) =>
    eventually(what, () => {
      // It would come to rest.
      if (condition()) return true;
      const run = slice;
      slice = undefined;
      run?.();
      return condition();
    });
  const client = (at = 0) => [...pooler.clients.all()][at];
  await until("the client is accepted", () => client() !== undefined);
  libc.deliver(CLIENT, frontend.startup({ user: "ada", database: "app" }));
  await until("a server is dialed", () => [...client()!.pool?.servers.all() ?? []].length === 1);
  libc.deliver(SERVER, LOGIN_ANSWER);
  await until("the client is logged in", () => client()!.state.kind === "idle");
  libc.deliver(CLIENT, frontend.query("BEGIN"));
  await until("the client is linked", () => client()!.state.kind === "active");
  libc.deliver(SERVER, join(backend.complete("BEGIN"), backend.ready("T")));
  await until("a slice is to come", () => slice !== undefined);
  if (exchange.first !== undefined) {
    const before = libc.sentToClients;
    libc.deliver(CLIENT, exchange.first.query);
    await until("a slice is to come", () => slice !== undefined);
    libc.deliver(SERVER, exchange.first.answer);
    await until("the first request is answered", () => libc.sentToClients > before);
    await until("a slice is to come", () => slice !== undefined);
  }
  if (exchange.waits === true) {
    libc.deliver(OTHER_CLIENT, frontend.startup({ user: "ada", database: "app" }));
    await until("the other client is logged in", () => client(1)?.state.kind === "idle");
    libc.deliver(OTHER_CLIENT, exchange.query);
    await until("the other client is linked", () => client(1)!.state.kind === "active");
    await until("a slice is to come", () => slice !== undefined);
  }
  return {
    libc,
    /** Asks and answers so many queries, all in one slice. */
    run(queries: number): void {
      libc.queriesLeft = queries;
      const run = slice!;
      slice = undefined;
      run();
    },
    async [Symbol.asyncDispose]() {
      pooler.shutdown("immediate");
      // No timer fires here that would do it.
      for (const one of [...pooler.clients.all()]) one.hangUp();
      await pooler.stopped;
      await reactor[Symbol.asyncDispose]();
    },
  };
}

for (const [what, exchange] of Object.entries(EXCHANGES)) {
  const { budgetBytes = 0 } = exchange;
  const amount = budgetBytes === 0 ? "nothing" : `${budgetBytes} bytes at most`;

  Deno.test(`${what} allocates ${amount} on the native engine`, async () => {
    await using linked = await openLinked(exchange);
    const { libc } = linked;
    // The compiler allocates, too, until it is done with what is hot.
    for (let i = 0; i < 100; i++) linked.run(QUERIES);
    const growths: number[] = [];
    for (let i = 0; i < 51; i++) {
      const sent = libc.sentToClients;
      const before = Deno.memoryUsage().heapUsed;
      linked.run(QUERIES);
      growths.push((Deno.memoryUsage().heapUsed - before) / QUERIES);
      const expected = QUERIES * exchange.answer.length;
      assert.equal(libc.sentToClients - sent, expected, "every query is answered");
    }
    const growth = median(growths);
    assert.ok(Math.abs(growth) < budgetBytes + MEASURING_BYTES, `${growth} bytes a query`);
  });
}
