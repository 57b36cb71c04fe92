/** What every engine on real sockets must do: over loopback TCP and over a unix socket. */

import assert from "node:assert/strict";
import { join } from "node:path";
import type { Clock } from "../../../src/base/clock.ts";
import { systemClock } from "../../../src/base/clock.ts";
import type { ByteStream } from "../../../src/net/byte_stream.ts";
import { type ListenAddress, ListenError, type Network } from "../../../src/net/network.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";
import { byteStreamSuite } from "../../unit/net/byte_stream_suite.ts";
import type { NetworkUnderTest } from "../../unit/net/stream_pair.ts";

/** An address of this machine, at a port that is free. */
export const TCP = { kind: "tcp", host: "127.0.0.1", port: 0, backlog: 16 } as const;

/** How the connections of these tests are set up. */
export const STREAM_OPTIONS = { receiveBytes: 4_096, maxBusyReads: 5, tcp: SYSTEM_TCP };

/** More than the buffers of a kernel hold between two ends on one machine. */
const FLOOD_BYTES = 48 * 1024 * 1024;

/** Connections that fill a backlog of one, with some to spare. */
const BACKLOG_FILLERS = 4;

/** An engine that a test has for itself. */
export interface EngineUnderTest extends AsyncDisposable {
  readonly network: Network;
}

/** Opens an engine whose timers are the clock's. */
export type OpenEngine = (clock: Clock) => Promise<EngineUnderTest>;

/** The machine's clock, but its timers fire when the test says so. */
class TurnClock extends FakeClock {
  override startTimer(delayMs: number, fire: () => void) {
    if (delayMs > 0) return super.startTimer(delayMs, fire);
    return systemClock().startTimer(0, fire);
  }
}

/** Registers all tests of an engine. */
export function socketNetworkSuite(name: string, open: OpenEngine): void {
  byteStreamSuite({ name: `${name} TCP`, open: () => overTcp(open) });
  byteStreamSuite({ name: `${name} unix socket`, open: () => overUnix(open) });
  listeningTests(name, open);
}

/** Such an engine over loopback TCP. */
export async function overTcp(open: OpenEngine): Promise<NetworkUnderTest> {
  const clock = new TurnClock();
  const engine = await open(clock);
  const cleanUp: (() => void)[] = [];
  return {
    network: engine.network,
    address: TCP,
    floodBytes: FLOOD_BYTES,
    advance: (ms: number) => clock.advance(ms),
    async blackHole() {
      if (Deno.build.os !== "linux") return undefined;
      const full = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 });
      const { port } = full.addr as Deno.NetAddr;
      cleanUp.push(() => full.close());
      await fillBacklog(port, cleanUp);
      return { kind: "tcp" as const, host: "127.0.0.1", port };
    },
    async [Symbol.asyncDispose]() {
      for (const run of cleanUp) run();
      await engine[Symbol.asyncDispose]();
    },
  };
}

/** Connects until the kernel leaves a newcomer without an answer; it stays waiting, given up at the end. */
async function fillBacklog(port: number, cleanUp: (() => void)[]): Promise<void> {
  const abort = new AbortController();
  const settled: Promise<void>[] = [];
  for (let i = 0; i < BACKLOG_FILLERS; i++) {
    const connecting = Deno.connect({ hostname: "127.0.0.1", port, signal: abort.signal });
    const keep = connecting.then((conn) => {
      cleanUp.push(() => conn.close());
    }, () => {});
    settled.push(keep);
  }
  cleanUp.push(() => abort.abort());
  // The first two fit; the others wait for the end of the test.
  await Promise.all(settled.slice(0, 2));
}

async function overUnix(open: OpenEngine): Promise<NetworkUnderTest> {
  const engine = await open(systemClock());
  const directory = await Deno.makeTempDir();
  const path = join(directory, ".s.PGSQL.6432");
  return {
    network: engine.network,
    address: { kind: "unix", path, port: 6432, mode: 0o777, group: undefined },
    floodBytes: FLOOD_BYTES,
    advance: () => assert.fail("A unix socket answers at once"),
    blackHole: () => Promise.resolve(undefined),
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      await Deno.remove(directory, { recursive: true });
    },
  };
}

/** An engine, and a folder for its sockets that is gone after the test. */
export async function inFolder(
  open: OpenEngine,
  run: (network: Network, folder: string) => Promise<void>,
): Promise<void> {
  await using engine = await open(systemClock());
  const folder = await Deno.makeTempDir();
  try {
    await run(engine.network, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function unixAddress(path: string, changes: { mode?: number; group?: string } = {}): ListenAddress {
  return { kind: "unix", path, port: 6432, mode: changes.mode ?? 0o777, group: changes.group };
}

function listeningTests(name: string, open: OpenEngine): void {
  const test = (title: string, run: (network: Network, folder: string) => Promise<void>) =>
    Deno.test(`${name}: ${title}`, () => inFolder(open, run));

  test("listen() gives the socket file the mode that was asked for", async (network, folder) => {
    const path = join(folder, "a");
    const address = unixAddress(path, { mode: 0o700, group: "any" });
    const listener = await network.listen(address, () => STREAM_OPTIONS);
    assert.equal((await Deno.stat(path)).mode! & 0o777, 0o700);
    listener.close();
  });

  test("listen() replaces the file of a process that is gone", async (network, folder) => {
    const path = join(folder, "a");
    const dead = Deno.listen({ transport: "unix", path });
    // A hard link outlives the listener, which removes its own name.
    await Deno.link(path, `${path}.kept`);
    dead.close();
    await Deno.rename(`${path}.kept`, path);
    const listener = await network.listen(unixAddress(path), () => STREAM_OPTIONS);
    const accepted = listener.connections().next();
    const stream = await network.dial(listener.address, { ...STREAM_OPTIONS, timeoutMs: 0 });
    stream.close();
    (await accepted).value?.close();
    listener.close();
  });

  test("listen() refuses a path that is in use or no socket", async (network, folder) => {
    const path = join(folder, "a");
    const first = await network.listen(unixAddress(path), () => STREAM_OPTIONS);
    const again = network.listen(unixAddress(path), () => STREAM_OPTIONS);
    await assert.rejects(
      again,
      new ListenError({ kind: "unix", path }, "another process listens there"),
    );
    first.close();
    await Deno.writeTextFile(path, "a letter");
    const overFile = network.listen(unixAddress(path), () => STREAM_OPTIONS);
    await assert.rejects(overFile, new ListenError({ kind: "unix", path }, "it is not a socket"));
    assert.equal(await Deno.readTextFile(path), "a letter");
  });

  for (const path of ["a", "@sluice-test-a"]) {
    Deno.test({
      name: `${name}: who is behind a unix socket (${path}) is told, one after the other`,
      ignore: Deno.build.os !== "linux",
      fn: () =>
        inFolder(open, async (network, folder) => {
          const isAbstract = path.startsWith("@");
          const address = unixAddress(
            isAbstract ? `${path}-${crypto.randomUUID()}` : join(folder, path),
          );
          const listener = await network.listen(address, () => STREAM_OPTIONS);
          const connections = listener.connections();
          const streams: ByteStream[] = [];
          for (let i = 0; i < 3; i++) {
            streams.push(await network.dial(address, { ...STREAM_OPTIONS, timeoutMs: 0 }));
            const accepted = (await connections.next()).value!;
            streams.push(accepted);
            assert.equal(accepted.peerUid, Deno.uid());
          }
          for (const stream of streams) stream.close();
          listener.close();
          await connections.next();
        }),
    });
  }

  test("an IPv4 peer of an IPv6 listener is shown by its IPv4 address", async (network) => {
    const listener = await network.listen({ ...TCP, host: "::" }, () => STREAM_OPTIONS);
    const { port } = listener.address;
    const accepted = listener.connections().next();
    const near = await network.dial({ kind: "tcp", host: "127.0.0.1", port }, {
      ...STREAM_OPTIONS,
      timeoutMs: 0,
    });
    const far = (await accepted).value!;
    assert.equal(far.remote.host, "127.0.0.1");
    near.close();
    far.close();
    listener.close();
  });
}
