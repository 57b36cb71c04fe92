/** Which engine is chosen, and that the choice leaves nothing open. */

import assert from "node:assert/strict";
import { HeldClock, systemClock } from "../../../src/base/clock.ts";
import { systemRandom } from "../../../src/base/random.ts";
import { type Engine, EngineError, openEngine, probeEngine } from "../../../src/net/engine.ts";
import { Libc } from "../../../src/net/native/libc.ts";
import { NativeNetwork } from "../../../src/net/native/native_network.ts";
import { PortableNetwork } from "../../../src/net/portable/portable_network.ts";
import { eventually } from "../../support/eventually.ts";
import { socketCount, STREAM_OPTIONS, TCP } from "./native_engine.ts";

/** All that a pooler may do, but for calling the C library. */
const WITHOUT_FFI: Deno.PermissionOptions = {
  ffi: false,
  net: true,
  read: true,
  write: true,
  env: true,
  sys: true,
};

function open(choice: "auto" | "native" | "portable", needsTls = false): Promise<Engine> {
  return openEngine(choice, {
    needsTls,
    clock: new HeldClock(systemClock()),
    random: systemRandom(),
    onAcceptError: (error) => assert.fail(String(error)),
    onError: (error) => assert.fail(String(error)),
    groupIdOf: () => 0,
  });
}

/** Sends a word through an engine, and nothing is left. */
async function converse({ network }: Engine): Promise<void> {
  const listener = await network.listen(TCP, () => STREAM_OPTIONS);
  const connections = listener.connections();
  const dialing = network.dial(listener.address, { ...STREAM_OPTIONS, timeoutMs: 0 });
  const far = (await connections.next()).value!;
  const near = await dialing;
  await near.write(new TextEncoder().encode("word"), 0, 4);
  near.finishWriting();
  let received = "";
  for await (const chunk of far.chunks()) received += new TextDecoder().decode(chunk);
  assert.equal(received, "word");
  near.close();
  far.close();
  listener.close();
  assert.equal((await connections.next()).done, true);
}

/** Registers a test on Linux that must leave no socket open. */
function test(title: string, run: () => Promise<void>): void {
  Deno.test({
    name: title,
    ignore: Deno.build.os !== "linux",
    async fn() {
      using libc = Libc.open();
      const before = socketCount(libc);
      await run();
      // The runtime closes a socket that it was reading when it has looked at it again.
      await eventually("every socket is closed", () => socketCount(libc) === before);
    },
  });
}

for (const choice of ["native", "auto"] as const) {
  test(`openEngine(${choice}) opens the native engine where it works`, async () => {
    await using engine = await open(choice);
    assert.deepEqual([engine.name, engine.reason], ["native", undefined]);
    assert.ok(engine.network instanceof NativeNetwork);
    await converse(engine);
  });

  test(`probeEngine(${choice}) tells of the native engine where it works`, async () => {
    assert.deepEqual(await probeEngine(choice, { random: systemRandom() }), {
      name: "native",
      reason: undefined,
    });
  });
}

test("openEngine(portable) opens the portable engine, without a reason", async () => {
  await using engine = await open("portable");
  assert.deepEqual([engine.name, engine.reason], ["portable", undefined]);
  assert.ok(engine.network instanceof PortableNetwork);
  await converse(engine);
});

test("probeEngine(portable) asks nothing", async () => {
  assert.deepEqual(await probeEngine("portable", { random: systemRandom() }), {
    name: "portable",
    reason: undefined,
  });
});

test("an engine that nobody has used closes, whichever it is", async () => {
  for (const choice of ["native", "portable", "auto"] as const) {
    await (await open(choice))[Symbol.asyncDispose]();
  }
});

test("several engines live in one process", async () => {
  await using first = await open("native");
  await using second = await open("native");
  await converse(first);
  await converse(second);
});

test("several engines may be opened at the same time", async () => {
  const engines = await Promise.all([open("auto"), open("auto")]);
  const names = engines.map(({ name }) => name);
  for (const engine of engines) await engine[Symbol.asyncDispose]();
  assert.deepEqual(names, ["native", "native"]);
});

/** Registers a test without the permission to call the C library. */
function testWithoutFfi(title: string, fn: () => Promise<void>): void {
  Deno.test({ name: `without --allow-ffi ${title}`, permissions: WITHOUT_FFI, fn });
}

/** Why it is not the native engine. */
const REASON = Deno.build.os === "linux"
  ? "the permission --allow-ffi is missing"
  : `the native engine is for Linux, and this is ${Deno.build.os}`;

testWithoutFfi("openEngine(auto) opens the portable engine and says why", async () => {
  await using engine = await open("auto");
  assert.deepEqual([engine.name, engine.reason], ["portable", REASON]);
  await converse(engine);
});

testWithoutFfi("openEngine(native) throws, and says why", async () => {
  await assert.rejects(open("native"), new EngineError(`io_engine = native: ${REASON}`));
});

testWithoutFfi("openEngine(portable) opens the portable engine", async () => {
  await using engine = await open("portable");
  assert.deepEqual([engine.name, engine.reason], ["portable", undefined]);
  await converse(engine);
});

testWithoutFfi("probeEngine() gives the portable engine and says why", async () => {
  assert.deepEqual(await probeEngine("auto", { random: systemRandom() }), {
    name: "portable",
    reason: REASON,
  });
  assert.deepEqual(await probeEngine("native", { random: systemRandom() }), {
    name: "portable",
    reason: REASON,
  });
  assert.deepEqual(await probeEngine("portable", { random: systemRandom() }), {
    name: "portable",
    reason: undefined,
  });
});

/** What a script prints in a process of its own, whose libssl is not one. */
async function withoutLibSsl(script: string): Promise<string> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/libssl.so.3`, "");
    const module = new URL("../../../src/net/engine.ts", import.meta.url);
    const code = `import { openEngine, probeEngine } from "${module}"; ${script}`;
    const { stderr, stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["eval", "--no-lock", code],
      env: { LD_LIBRARY_PATH: folder, NO_COLOR: "1" },
    }).output();
    return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const WITHOUT_LIBSSL = `
  const random = { bytes: (count) => crypto.getRandomValues(new Uint8Array(count)) };
  const options = { random, clock: { nowMs: () => performance.now(), hold: () => performance.now(), release() {} } };
  for (const [choice, needsTls] of [["auto", false], ["auto", true], ["native", false], ["native", true]]) {
    const { name, reason } = await probeEngine(choice, { random, needsTls });
    console.log("probed", choice, needsTls, name, reason);
    try {
      const engine = await openEngine(choice, { ...options, needsTls });
      console.log("opened", choice, needsTls, engine.name, engine.reason, engine.network.tls.name);
      if (engine.name === "native") engine.network.tls.makeContext();
    } catch (error) {
      console.log(String(error));
    }
  }
  Deno.exit();`;

test("without OpenSSL the native engine is chosen where TLS is not needed, and says why it has none", async () => {
  const reason = "there is no OpenSSL 3 (libssl.so.3)";
  assert.deepEqual((await withoutLibSsl(WITHOUT_LIBSSL)).trim().split("\n"), [
    "probed auto false native undefined",
    "opened auto false native undefined none",
    `TlsSetupError: ${reason}`,
    `probed auto true portable ${reason}`,
    `opened auto true portable ${reason} Deno ${Deno.version.deno}`,
    "probed native false native undefined",
    "opened native false native undefined none",
    `TlsSetupError: ${reason}`,
    `probed native true portable ${reason}`,
    `EngineError: io_engine = native: ${reason}`,
  ]);
});

for (const choice of ["native", "auto"] as const) {
  test(`openEngine(${choice}) opens the native engine with TLS where that is needed`, async () => {
    await using engine = await open(choice, true);
    assert.deepEqual([engine.name, engine.reason], ["native", undefined]);
    assert.match(engine.network.tls.name, /^OpenSSL 3\./);
  });
}
