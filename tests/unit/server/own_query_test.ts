import assert from "node:assert/strict";
import { OwnQuery, type OwnQueryResult } from "../../../src/server/own_query.ts";
import { MessageCursor } from "../../../src/wire/message_cursor.ts";
import { typeTable } from "../../../src/wire/message_type.ts";
import { ProtocolError } from "../../../src/wire/pg_error.ts";
import { backend as say, join, message } from "../../support/messages.ts";

const READY = 0x5a;

const CHUNK_BYTES = 50;

/** Walks an answer in small chunks, as a server session does. */
function receive(...messages: readonly Uint8Array[]): OwnQueryResult | undefined {
  const cursor = new MessageCursor({
    inspected: typeTable([READY, 0x45]),
    maxInspectedBytes: 1_000,
    maxMessageBytes: 1_000_000,
  });
  let result: OwnQueryResult | undefined;
  const query = new OwnQuery();
  const bytes = join(...messages);
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    const chunk = bytes.slice(at, at + CHUNK_BYTES);
    cursor.feed(chunk, chunk.length);
    while (cursor.next()) result = query.receive(cursor);
  }
  return result;
}

Deno.test("OwnQuery passes over rows, notices and notifications", () => {
  const result = receive(
    say.rowDescription(["a"]),
    say.dataRow(["1"]),
    say.notice("by the way"),
    say.notification("news", "hear"),
    say.complete("SELECT 1"),
    say.empty(),
    say.ready(),
  );
  assert.deepEqual(result, { error: undefined, status: 0x49 });
});

Deno.test("OwnQuery keeps the first error and the transaction status", () => {
  const first = say.error("22023", "bad value");
  const result = receive(first, say.error("XX000", "and more"), say.ready("E"));
  assert.equal(result?.error?.sqlstate, "22023");
  assert.equal(result?.error?.message, "bad value");
  assert.equal(result?.status, 0x45);
});

Deno.test("OwnQuery takes an error too long to be held for an error all the same", () => {
  const result = receive(say.error("22023", "x".repeat(2_000)), say.ready());
  assert.equal(result?.error?.sqlstate, "XX000");
});

Deno.test("OwnQuery is not finished before ReadyForQuery", () => {
  assert.equal(receive(say.complete("SET")), undefined);
});

for (
  const [what, bytes] of [
    ["CopyInResponse", say.copyIn()],
    ["CopyOutResponse", say.copyOut()],
    ["Authentication", say.authentication(0)],
    ["ParseComplete", say.parseComplete()],
  ] as const
) {
  Deno.test(`OwnQuery refuses ${what}`, () => {
    assert.throws(() => receive(bytes), ProtocolError);
  });
}

Deno.test("OwnQuery refuses a ReadyForQuery that must be of something else", () => {
  assert.throws(() => receive(say.ready()), ProtocolError);
  assert.throws(() => receive(say.notice("by the way"), say.ready()), ProtocolError);
});

Deno.test("OwnQuery refuses a transaction status that does not exist", () => {
  const ready = say.ready();
  ready[5] = 0x58;
  assert.throws(() => receive(say.complete("SET"), ready), ProtocolError);
});

Deno.test("OwnQuery refuses a ReadyForQuery with more in it than a transaction status", () => {
  const ready = message("Z", new Uint8Array([0x49, 0x49]));
  assert.throws(() => receive(say.complete("SET"), ready), ProtocolError);
});
