/**
 * The pure part of the hot path, by itself: `deno task bench:hot`. Whole queries are measured, next
 * to PgBouncer, by `deno task bench`.
 */

import { ParameterCache, TrackedParameters } from "../../src/link/parameter_cache.ts";
import { RequestQueue } from "../../src/link/request_queue.ts";
import { readyForQuery, TransactionStatus } from "../../src/wire/backend_messages.ts";
import { MessageCursor } from "../../src/wire/message_cursor.ts";
import { Backend, typeTable } from "../../src/wire/message_type.ts";
import { MessageWriter } from "../../src/wire/message_writer.ts";
import { RangeWriter } from "../../src/wire/range_writer.ts";

const ROWS = 2_048;
const ROW_BYTES = 27;

const chunk = rows();
const cursor = new MessageCursor({
  inspected: typeTable([Backend.ReadyForQuery, Backend.ParameterStatus, Backend.ErrorResponse]),
  maxInspectedBytes: 65_536,
  maxMessageBytes: 1 << 30,
});
const target = { write: () => {} };
const ranges = new RangeWriter();
const requests = new RequestQueue();
const tracked = new TrackedParameters(["IntervalStyle"]);
const client = parameters();
const server = parameters();

Deno.bench(`MessageCursor walks ${ROWS} rows of 32 bytes`, () => {
  cursor.feed(chunk, chunk.length);
  while (cursor.next());
});

Deno.bench(`MessageCursor and RangeWriter pass on ${ROWS} rows as one range`, () => {
  cursor.feed(chunk, chunk.length);
  while (cursor.next()) ranges.add(cursor.buffer, cursor.start, cursor.end);
  ranges.flushTo(target);
});

Deno.bench("RequestQueue notes a Query and its ReadyForQuery", () => {
  requests.noteQuery();
  requests.onReadyForQuery();
});

Deno.bench("ParameterCache compares a client with a server", () => {
  server.isFitFor(client);
});

function rows(): Uint8Array {
  const writer = new MessageWriter(ROWS * 32 + 8);
  for (let i = 0; i < ROWS; i++) {
    writer.begin(Backend.DataRow).bytes(new Uint8Array(ROW_BYTES)).end();
  }
  return writer.bytes(readyForQuery(TransactionStatus.Idle)).take();
}

function parameters(): ParameterCache {
  const cache = new ParameterCache(tracked);
  for (const name of tracked.names) cache.report(name, `value of ${name}`);
  return cache;
}
