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
const NOBODY = 99;

const AGAIN = -11;

/** What measuring itself leaves on the heap, a query. */
const MEASURING_BYTES = 2;

/** What a transaction may: its link, and moments. A query of one that goes on may nothing. */
const TRANSACTION_BUDGET_BYTES = 64;

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
}

const COMMIT = {
  query: frontend.query("COMMIT"),
  answer: join(backend.complete("COMMIT"), backend.ready()),
};

const EXCHANGES: Readonly<Record<string, Exchange>> = {
  "a query": { query: frontend.query(SQL), answer: ROWS },
  "a transaction": {
    query: frontend.query(SQL),
    answer: join(backend.complete("SELECT 1"), backend.ready()),
    first: COMMIT,
    budgetBytes: TRANSACTION_BUDGET_BYTES,
  },
  "a query by the extended protocol": {
    query: join(frontend.parse(SQL), frontend.bind(), ...RUN.slice(1)),
    answer: join(backend.parseComplete(), backend.bindComplete(), ROWS),
  },
  "a prepared query": {
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
  nowMs = 1;
  /** Queries still to be asked and answered, by turns. */
  queriesLeft = 0;
  sentToClient = 0;
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
    if (this.queriesLeft > 0) {
      if (this.#next === SERVER) this.queriesLeft -= 1;
      const descriptor = this.#next;
      this.#next = descriptor === CLIENT ? SERVER : CLIENT;
      return this.#report(events, descriptor);
    }
    const descriptor = this.#ready.shift();
    if (descriptor !== undefined) return this.#report(events, descriptor);
    // Ends the slice.
    this.nowMs += 2;
    return 0;
  }

  receive(descriptor: number, buffer: Uint8Array): number {
    const bytes = this.#inbox.get(descriptor);
    if (bytes !== undefined) this.#inbox.delete(descriptor);
    const received = bytes ??
      (descriptor === CLIENT ? this.#exchange.query : this.#exchange.answer);
    buffer.set(received);
    return received.length;
  }

  send(descriptor: number, _buffer: Uint8Array, start: number, end: number): number {
    if (descriptor === CLIENT) this.sentToClient += end - start;
    return end - start;
  }

  openSends(_count: number, bytes: Uint8Array): SingleSends {
    return new SingleSends(this, bytes);
  }

  #report(events: EventList, descriptor: number): number {
    // The words of struct epoll_event: x64 packs it, arm64 does not.
    this.#words ??= new Int32Array(events.bytes.buffer);
    const perEvent = events.bytes.length / events.capacity / 4;
    this.#words[0] = EVENT.in;
    this.#words[perEvent - 2] = descriptor;
    this.#words[perEvent - 1] = this.#tokens.get(descriptor)!;
    // As many as have all of them touched first; the others are of nobody.
    this.#words[2 * perEvent - 2] = NOBODY;
    this.#words[3 * perEvent - 2] = NOBODY;
    return 3;
  }
}

/** A pooler with one client in a transaction. */
async function openLinked(exchange: Exchange) {
  const libc = new MemoryLibc(exchange);
  const clock = new HeldClock({
    nowMs: () => libc.nowMs,
    wallMs: () => 0,
    startTimer: () => ({ cancel: () => {} }),
  });
  let slice: (() => void) | undefined;
  const reactor = new Reactor({
    libc: libc as unknown as LibcCalls,
    clock,
    turn: {
      callDescriptor: undefined,
      settle: (then) => void setTimeout(then, 0),
      yield: (then) => slice = then,
    },
    onError: (error) => assert.fail(String(error)),
  });
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
    'pool_mode="transaction"\n[databases."*"]\nhost="127.0.0.1"\n[users.ada]\npassword="x"\n';
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
      const run = slice;
      slice = undefined;
      run?.();
      return condition();
    });
  const client = () => [...pooler.clients.all()][0];
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
    const before = libc.sentToClient;
    libc.deliver(CLIENT, exchange.first.query);
    await until("a slice is to come", () => slice !== undefined);
    libc.deliver(SERVER, exchange.first.answer);
    await until("the first request is answered", () => libc.sentToClient > before);
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
      client()?.hangUp();
      await pooler.stopped;
      await reactor[Symbol.asyncDispose]();
    },
  };
}

for (const [what, exchange] of Object.entries(EXCHANGES)) {
  const { budgetBytes = 0 } = exchange;
  const amount = budgetBytes === 0 ? "nothing" : `${budgetBytes} bytes at most`;

  Deno.test(`${what} of a client that has a server allocates ${amount} on the native engine`, async () => {
    await using linked = await openLinked(exchange);
    const { libc } = linked;
    // The compiler allocates, too, until it is done with what is hot.
    for (let i = 0; i < 100; i++) linked.run(QUERIES);
    const growths: number[] = [];
    for (let i = 0; i < 51; i++) {
      const sent = libc.sentToClient;
      const before = Deno.memoryUsage().heapUsed;
      linked.run(QUERIES);
      growths.push((Deno.memoryUsage().heapUsed - before) / QUERIES);
      const expected = QUERIES * exchange.answer.length;
      assert.equal(libc.sentToClient - sent, expected, "every query is answered");
    }
    const growth = median(growths);
    assert.ok(Math.abs(growth) < budgetBytes + MEASURING_BYTES, `${growth} bytes a query`);
  });
}
