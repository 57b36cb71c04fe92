/** The portable engine over real sockets of this machine: loopback TCP and a unix socket. */

import assert from "node:assert/strict";
import { join } from "node:path";
import type { ByteStream } from "../../../src/net/byte_stream.ts";
import { type ListenAddress, ListenError } from "../../../src/net/network.ts";
import { PeerCredentials } from "../../../src/net/portable/peer_credentials.ts";
import { PortableNetwork } from "../../../src/net/portable/portable_network.ts";
import { systemClock } from "../../../src/base/clock.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { byteStreamSuite, type NetworkUnderTest } from "../../unit/net/byte_stream_suite.ts";

const TCP: ListenAddress = { kind: "tcp", host: "127.0.0.1", port: 0, backlog: 16 };

const STREAM_OPTIONS = { receiveBytes: 4_096, maxBusyReads: 5, keepAlive: true };

/** More than the buffers of a kernel hold between two ends on one machine. */
const FLOOD_BYTES = 48 * 1024 * 1024;

/** Connections that fill a backlog of one, with some to spare. */
const BACKLOG_FILLERS = 4;

function portable(credentials?: PeerCredentials): PortableNetwork {
  return new PortableNetwork({
    clock: systemClock(),
    peerCredentials: credentials,
    onAcceptError: (error) => assert.fail(String(error)),
    groupIdOf: () => Deno.gid()!,
  });
}

/** A clock whose timers fire when the test says so, save those that only give a turn. */
class TurnClock extends FakeClock {
  override startTimer(delayMs: number, fire: () => void) {
    if (delayMs > 0) return super.startTimer(delayMs, fire);
    return systemClock().startTimer(0, fire);
  }
}

async function overTcp(): Promise<NetworkUnderTest> {
  const clock = new TurnClock();
  const network = new PortableNetwork({
    clock,
    peerCredentials: undefined,
    onAcceptError: (error) => assert.fail(String(error)),
    groupIdOf: () => 0,
  });
  const cleanUp: (() => void)[] = [];
  return await Promise.resolve({
    network,
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
    [Symbol.asyncDispose]() {
      for (const run of cleanUp) run();
      return Promise.resolve();
    },
  });
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

async function overUnix(): Promise<NetworkUnderTest> {
  const directory = await Deno.makeTempDir();
  const path = join(directory, ".s.PGSQL.6432");
  return {
    network: portable(),
    address: { kind: "unix", path, port: 6432, mode: 0o777, group: undefined },
    floodBytes: FLOOD_BYTES,
    advance: () => assert.fail("A unix socket answers at once"),
    blackHole: () => Promise.resolve(undefined),
    [Symbol.asyncDispose]: () => Deno.remove(directory, { recursive: true }),
  };
}

byteStreamSuite({ name: "portable TCP", open: overTcp });
byteStreamSuite({ name: "portable unix socket", open: overUnix });

/** A folder for sockets that is gone after the test. */
async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function unixAddress(path: string, changes: { mode?: number; group?: string } = {}): ListenAddress {
  return { kind: "unix", path, port: 6432, mode: changes.mode ?? 0o777, group: changes.group };
}

Deno.test("PortableNetwork.listen() gives the socket file the mode that was asked for", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "a");
    const address = unixAddress(path, { mode: 0o700, group: "any" });
    const listener = await portable().listen(address, () => STREAM_OPTIONS);
    assert.equal((await Deno.stat(path)).mode! & 0o777, 0o700);
    listener.close();
  });
});

Deno.test("PortableNetwork.listen() replaces the file of a process that is gone", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "a");
    const dead = Deno.listen({ transport: "unix", path });
    // A hard link outlives the listener, which removes its own name.
    await Deno.link(path, `${path}.kept`);
    dead.close();
    await Deno.rename(`${path}.kept`, path);
    const listener = await portable().listen(unixAddress(path), () => STREAM_OPTIONS);
    const accepted = listener.connections().next();
    const stream = await portable().dial(listener.address, { ...STREAM_OPTIONS, timeoutMs: 0 });
    stream.close();
    (await accepted).value?.close();
    listener.close();
  });
});

Deno.test("PortableNetwork.listen() refuses a path that is in use or no socket", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "a");
    const first = await portable().listen(unixAddress(path), () => STREAM_OPTIONS);
    const again = portable().listen(unixAddress(path), () => STREAM_OPTIONS);
    await assert.rejects(
      again,
      new ListenError(`Cannot listen on ${path}: another process listens there`),
    );
    first.close();
    await Deno.writeTextFile(path, "a letter");
    const overFile = portable().listen(unixAddress(path), () => STREAM_OPTIONS);
    await assert.rejects(overFile, new ListenError(`Cannot listen on ${path}: it is not a socket`));
    assert.equal(await Deno.readTextFile(path), "a letter");
  });
});

Deno.test({
  name: "PortableNetwork tells who is behind a unix socket, one after the other",
  ignore: Deno.build.os !== "linux",
  async fn() {
    await inFolder(async (folder) => {
      using credentials = PeerCredentials.open();
      const network = portable(credentials);
      const address = unixAddress(join(folder, "a"));
      const listener = await network.listen(address, () => STREAM_OPTIONS);
      const connections = listener.connections();
      const open: ByteStream[] = [];
      for (let i = 0; i < 3; i++) {
        open.push(await network.dial(address, { ...STREAM_OPTIONS, timeoutMs: 0 }));
        const accepted = (await connections.next()).value!;
        open.push(accepted);
        assert.equal(accepted.peerUid, Deno.uid());
      }
      for (const stream of open) stream.close();
      listener.close();
      await connections.next();
    });
  },
});

Deno.test("PortableNetwork shows an IPv4 peer of an IPv6 listener by its IPv4 address", async () => {
  const listener = await portable().listen({ ...TCP, host: "::" }, () => STREAM_OPTIONS);
  const { port } = listener.address;
  const accepted = listener.connections().next();
  const near = await portable().dial({ kind: "tcp", host: "127.0.0.1", port }, {
    ...STREAM_OPTIONS,
    timeoutMs: 0,
  });
  const far = (await accepted).value!;
  assert.equal(far.remote.host, "127.0.0.1");
  near.close();
  far.close();
  listener.close();
});
