/** What every engine does where another process may listen at the same address. */

import assert from "node:assert/strict";
import { join } from "node:path";
import type { ByteStream } from "../../../src/net/byte_stream.ts";
import type { ListenAddress, Listener, Network } from "../../../src/net/network.ts";
import { ListenError } from "../../../src/net/network.ts";
import { within } from "../../support/eventually.ts";
import { inFolder, type OpenEngine, STREAM_OPTIONS, TCP } from "./socket_network_suite.ts";

/** More than one burst of the native engine. */
const CLIENTS = 20;

const SHARED_TCP = { ...TCP, isShared: true, backlog: 64 };

type UnixAddress = Extract<ListenAddress, { kind: "unix" }>;

function unixAddress(folder: string, changes: Partial<UnixAddress> = {}): UnixAddress {
  const path = join(folder, ".s.PGSQL.6432");
  return { kind: "unix", path, port: 6432, mode: 0o750, group: undefined, ...changes };
}

function connect(address: ListenAddress): Promise<Deno.Conn> {
  return address.kind === "unix"
    ? Deno.connect({ transport: "unix", path: address.path })
    : Deno.connect({ hostname: address.host, port: address.port });
}

/** Connects without anybody accepting, so many at a time. */
async function connectMany(address: ListenAddress): Promise<Deno.Conn[]> {
  return await Promise.all(Array.from({ length: CLIENTS }, () => connect(address)));
}

/** All that a listener accepts until it has closed. */
async function acceptedBy(listener: Listener): Promise<ByteStream[]> {
  const streams: ByteStream[] = [];
  for await (const stream of listener.connections()) streams.push(stream);
  return streams;
}

function closeAll(...ends: readonly (readonly { close(): void }[])[]): void {
  for (const end of ends.flat()) end.close();
}

/** What is in a folder, by name. */
async function namesIn(folder: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(folder), ({ name }) => name)).sort();
}

const options = () => STREAM_OPTIONS;

async function listenInPlace(network: Network, address: ListenAddress): Promise<Listener> {
  const listener = await network.listen(address, options);
  listener.takeOver();
  return listener;
}

/** Registers all tests of an engine. */
export function sharedListenerSuite(name: string, open: OpenEngine): void {
  const test = (title: string, run: (network: Network, folder: string) => Promise<void>) =>
    Deno.test(`${name}: ${title}`, () => inFolder(open, run));

  const kinds = [
    ["a port", () => ({ ...TCP, backlog: 64 })],
    ["a shared port", () => SHARED_TCP],
    ["a unix socket", (folder: string) => unixAddress(folder)],
    ["a shared unix socket", (folder: string) => unixAddress(folder, { isShared: true })],
  ] as const;
  for (const [kind, addressIn] of kinds) {
    test(
      `drain() takes all who have connected to ${kind}, and then closes it`,
      async (network, folder) => {
        const listener = await listenInPlace(network, addressIn(folder));
        const clients = await connectMany(listener.address);
        listener.drain();
        const accepted = await within("it closes", acceptedBy(listener));
        assert.equal(accepted.length, CLIENTS);
        await assert.rejects(connect(listener.address));
        closeAll(clients, accepted);
        assert.deepEqual(await namesIn(folder), []);
      },
    );
  }

  test("two listen on a shared port, and who connects while one drains comes to the other", async (network) => {
    const first = await network.listen(SHARED_TCP, options);
    const second = await network.listen({ ...SHARED_TCP, port: first.address.port }, options);
    const early = await connectMany(first.address);
    const loops = [acceptedBy(first), acceptedBy(second)] as const;
    first.drain();
    const fromFirst = await within("it closes", loops[0]);
    assert.ok(fromFirst.length > 0 && fromFirst.length < CLIENTS, "the kernel deals them out");
    const late = await connectMany(second.address);
    second.drain();
    const fromSecond = await loops[1];
    assert.equal(fromFirst.length + fromSecond.length, 2 * CLIENTS);
    closeAll(early, late, fromFirst, fromSecond);
  });

  test("a port that is not shared is not taken over", async (network) => {
    const alone = await network.listen(TCP, options);
    const { port } = alone.address;
    await assert.rejects(network.listen({ ...SHARED_TCP, port }, options), ListenError);
    alone.close();
  });

  test(
    "a shared unix socket is taken over, and left by who has lost it",
    async (network, folder) => {
      const address = unixAddress(folder, { isShared: true });
      const first = await listenInPlace(network, address);
      const early = await connect(address);
      const second = await listenInPlace(network, address);
      assert.deepEqual(await namesIn(folder), [".s.PGSQL.6432"]);
      assert.equal((await Deno.stat(address.path)).mode! & 0o777, 0o750);
      assert.deepEqual([first.isInPlace(), second.isInPlace()], [false, true]);
      first.drain();
      const taken = await acceptedBy(first);
      assert.equal(
        taken.length,
        2,
        "who came before the takeover, and the look whether anybody listens",
      );
      const late = await connect(address);
      second.drain();
      const rest = await acceptedBy(second);
      assert.equal(rest.length, 1);
      assert.equal(rest[0]!.peerUid, Deno.build.os === "linux" ? Deno.uid() : undefined);
      assert.deepEqual(await namesIn(folder), []);
      closeAll([early, late], taken, rest);
    },
  );

  test(
    "who fails before it has taken a shared unix socket over leaves it as it was",
    async (network, folder) => {
      const address = unixAddress(folder, { isShared: true });
      const holder = await listenInPlace(network, address);
      const failing = await network.listen(address, options);
      assert.deepEqual([holder.isInPlace(), failing.isInPlace()], [true, false]);
      failing.close();
      assert.deepEqual(await namesIn(folder), [".s.PGSQL.6432"]);
      const client = await connect(address);
      holder.drain();
      const accepted = await acceptedBy(holder);
      assert.equal(accepted.length, 2, "the client, and the look whether anybody listens");
      closeAll([client], accepted);
    },
  );

  test("a shared unix socket may have the longest path that there is", async (network, folder) => {
    const longest = 107;
    const deep = join(folder, "x".repeat(longest - join(folder, "/.s.PGSQL.6432").length - 1));
    await Deno.mkdir(deep);
    const address = unixAddress(deep, { isShared: true });
    assert.equal(address.path.length, longest);
    const listener = await listenInPlace(network, address);
    const client = await connect(address);
    listener.drain();
    closeAll([client], await acceptedBy(listener));
    assert.deepEqual(await namesIn(deep), []);
  });

  test(
    "a shared unix socket whose folder was taken away drains all the same",
    async (network, folder) => {
      const address = unixAddress(join(folder, "below"), { isShared: true });
      await Deno.mkdir(join(folder, "below"));
      const listener = await listenInPlace(network, address);
      const client = await connect(address);
      await Deno.remove(join(folder, "below"), { recursive: true });
      await Deno.writeTextFile(join(folder, "below"), "");
      assert.equal(listener.isInPlace(), false);
      listener.drain();
      const accepted = await acceptedBy(listener);
      assert.equal(accepted.length, 1);
      closeAll([client], accepted);
    },
  );

  test("a path that cannot be had any more is said plainly", async (network, folder) => {
    const address = unixAddress(folder, { isShared: true });
    const listener = await network.listen(address, options);
    await Deno.mkdir(address.path);
    assert.throws(() => listener.takeOver(), {
      name: "ListenError",
      message: `Cannot listen on unix:${address.path}: Is a directory (unix_socket_dir)`,
    });
    listener.close();
    assert.deepEqual(await namesIn(folder), [".s.PGSQL.6432"]);
  });

  test(
    "a unix socket that is not shared, or no socket at all, is not taken over",
    async (network, folder) => {
      const shared = unixAddress(folder, { isShared: true });
      const alone = await network.listen(unixAddress(folder), options);
      await assert.rejects(network.listen(shared, options), {
        name: "ListenError",
        message:
          `Cannot listen on unix:${shared.path}: another process listens there, without so_reuseport (unix_socket_dir)`,
      });
      closeAll([await connect(shared)]);
      alone.close();
      const holder = await listenInPlace(network, shared);
      await assert.rejects(
        network.listen(unixAddress(folder), options),
        /another process listens there/,
      );
      holder.close();
      await Deno.writeTextFile(shared.path, "");
      await assert.rejects(network.listen(shared, options), /it is not a socket/);
      assert.deepEqual(await namesIn(folder), [".s.PGSQL.6432"]);
    },
  );

  Deno.test({
    name: `${name}: a shared unix socket of another user is not taken over`,
    ignore: Deno.uid() !== 0,
    fn: () =>
      inFolder(open, async (network, folder) => {
        const address = unixAddress(folder, { isShared: true });
        const holder = await listenInPlace(network, address);
        await Deno.chown(address.path, 65_534, null);
        await assert.rejects(network.listen(address, options), {
          name: "ListenError",
          message:
            `Cannot listen on unix:${address.path}: a process of another user listens there (unix_socket_dir)`,
        });
        assert.equal(holder.isInPlace(), true);
        holder.close();
      }),
  });

  test(
    "who has lost a shared unix socket can tell whether that leads anywhere still",
    async (network, folder) => {
      const address = unixAddress(folder, { isShared: true });
      const listener = await listenInPlace(network, address);
      assert.equal(await listener.isDeserted(), false, "it is its own");
      // As by a process that is killed: what was bound by another name is not removed by the runtime.
      const killed = Deno.listen({ transport: "unix", path: join(folder, "killed") });
      await Deno.rename(join(folder, "killed"), address.path);
      assert.equal(await listener.isDeserted(), false, "somebody listens");
      killed.close();
      assert.equal(await listener.isDeserted(), true);
      await Deno.remove(address.path);
      assert.equal(await listener.isDeserted(), true, "nothing is there");
      listener.close();
    },
  );

  Deno.test({
    name: `${name}: a unix socket at which nobody is accepted is not taken, and it is said why`,
    ignore: Deno.build.os !== "linux",
    fn: () =>
      inFolder(open, async (network, folder) => {
        const address = unixAddress(folder);
        const hung = Deno.listen({ transport: "unix", path: address.path });
        const waiting: Deno.Conn[] = [];
        const fill = async () => {
          for (;;) waiting.push(await connect(address));
        };
        await assert.rejects(fill(), Deno.errors.WouldBlock);
        for (const isShared of [false, true]) {
          await assert.rejects(network.listen({ ...address, isShared }, options), {
            name: "ListenError",
            message:
              `Cannot listen on unix:${address.path}: a process listens there that accepts ` +
              "nobody, and its queue is full; end it if it hangs (unix_socket_dir)",
          });
        }
        assert.deepEqual(await namesIn(folder), [".s.PGSQL.6432"]);
        hung.close();
        closeAll(waiting);
      }),
  });

  test(
    "a shared unix socket takes the place of what a dead process has left",
    async (network, folder) => {
      const address = unixAddress(folder, { isShared: true });
      // Bound by another name and renamed, so that the runtime does not remove it.
      const dead = Deno.listen({ transport: "unix", path: join(folder, "dead") });
      await Deno.rename(join(folder, "dead"), address.path);
      dead.close();
      const listener = await listenInPlace(network, address);
      const client = await connect(address);
      listener.drain();
      const accepted = await acceptedBy(listener);
      assert.equal(accepted.length, 1);
      closeAll([client], accepted);
    },
  );
}
