import assert from "node:assert/strict";
import { LoginInput } from "../../../src/client/login_input.ts";
import { ProtocolError } from "../../../src/wire/pg_error.ts";
import { frontend, join, message, utf8 } from "../../support/messages.ts";

/** Input that arrives in these chunks, each spoiled when the next is asked for. */
function input(...chunks: readonly Uint8Array[]): LoginInput {
  async function* given(): AsyncGenerator<Uint8Array, void, void> {
    for (const chunk of chunks) {
      const borrowed = Uint8Array.from(chunk);
      yield await Promise.resolve(borrowed);
      borrowed.fill(0xdd);
    }
  }
  return new LoginInput(given());
}

/** The same bytes one by one. */
function byteByByte(bytes: Uint8Array): LoginInput {
  return input(...Array.from(bytes, (byte) => new Uint8Array([byte])));
}

const STARTUP = frontend.startup({ user: "ada" });
const PASSWORD = frontend.password(utf8("secret\0"));

Deno.test("LoginInput reads packets however they are cut", async () => {
  const bytes = join(frontend.sslRequest(), STARTUP, PASSWORD);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const reader = input(bytes.subarray(0, cut), bytes.subarray(cut));
    assert.equal((await reader.startupPacket())?.length, 8);
    assert.deepEqual(await reader.startupPacket(), STARTUP);
    const { body, type } = (await reader.message())!;
    assert.deepEqual([type, new TextDecoder().decode(body)], [0x70, "secret\0"]);
    assert.equal(reader.heldCount, 0);
  }
  const slow = byteByByte(bytes);
  await slow.startupPacket();
  assert.deepEqual(await slow.startupPacket(), STARTUP);
  assert.ok(await slow.message());
});

Deno.test("LoginInput.peek() shows the first byte and leaves it", async () => {
  const reader = input(STARTUP);
  assert.equal(await reader.peek(), STARTUP[0]);
  assert.deepEqual(await reader.startupPacket(), STARTUP);
  assert.equal(await reader.peek(), undefined);
});

Deno.test("LoginInput gives without a promise what is there already", async () => {
  const reader = input(join(frontend.sslRequest(), STARTUP));
  await reader.peek();
  assert.deepEqual(reader.startupPacket(), frontend.sslRequest());
  assert.equal(reader.peek(), STARTUP[0]);
  assert.deepEqual(reader.startupPacket(), STARTUP);
});

Deno.test("LoginInput.rest() gives what came beyond the login", async () => {
  const query = frontend.query("select 1");
  const reader = input(join(PASSWORD, query.subarray(0, 3)));
  await reader.message();
  assert.deepEqual(reader.rest(), query.subarray(0, 3));
  assert.equal(reader.rest().length, 0);
});

Deno.test("LoginInput.rest() keeps nothing of the login, passwords least of all", async () => {
  for (const behind of [new Uint8Array(0), frontend.query("select 1")]) {
    const reader = input(STARTUP, join(PASSWORD, behind));
    await reader.startupPacket();
    await reader.message();
    const rest = reader.rest();
    assert.deepEqual([rest, rest.buffer.byteLength], [behind, behind.length]);
  }
});

Deno.test("LoginInput answers undefined when the stream ends before the packet does", async () => {
  for (let length = 0; length < PASSWORD.length; length++) {
    assert.equal(await input(PASSWORD.subarray(0, length)).message(), undefined);
  }
  for (let length = 0; length < STARTUP.length; length++) {
    assert.equal(await input(STARTUP.subarray(0, length)).startupPacket(), undefined);
  }
});

Deno.test("LoginInput refuses a startup packet of an impossible length before its body comes", async () => {
  for (
    const word of [[0, 0, 0, 0], [0, 0, 0, 7], [0, 1, 0, 1], [0x7f, 255, 255, 255], [255, 0, 0, 8]]
  ) {
    const reader = input(new Uint8Array(word));
    await assert.rejects(async () => await reader.startupPacket(), ProtocolError, `${word}`);
  }
});

Deno.test("LoginInput refuses a message of an impossible length before its body comes", async () => {
  for (const word of [[0, 0, 0, 3], [0, 1, 0, 1], [0x7f, 255, 255, 255], [128, 0, 0, 0]]) {
    const header = new Uint8Array([0x70, ...word]);
    await assert.rejects(input(header).message(), ProtocolError, `${word}`);
  }
});

Deno.test("LoginInput takes a message as long as the limit", async () => {
  const longest = message("p", new Uint8Array(65_532));
  assert.equal((await input(longest).message())?.body.length, 65_532);
});
