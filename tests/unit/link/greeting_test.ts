import assert from "node:assert/strict";
import fc from "fast-check";
import { Greeting } from "../../../src/link/greeting.ts";
import { ParameterCache, TrackedParameters } from "../../../src/link/parameter_cache.ts";
import { parameterStatus } from "../../../src/wire/backend_messages.ts";
import { MessageWriter } from "../../../src/wire/message_writer.ts";
import { join } from "../../support/messages.ts";

const REPORTED: ReadonlyMap<string, string> = new Map([
  ["TimeZone", "Etc/UTC"],
  ["server_version", "17.2"],
  ["application_name", ""],
  ["DateStyle", "ISO, MDY"],
  ["client_encoding", "UTF8"],
]);

/** The values that a client has set itself. */
function ownOf(values: Iterable<readonly [string, string]>): ParameterCache {
  const own = new ParameterCache(new TrackedParameters([]));
  for (const [name, value] of values) own.set(name, value);
  return own;
}

function written(greeting: Greeting, own?: ParameterCache): Uint8Array {
  const writer = new MessageWriter(8).bytes(Uint8Array.of(1, 2));
  greeting.writeTo(writer, own);
  return writer.take().slice(2);
}

Deno.test("Greeting tells every parameter, in the order in which it was reported", () => {
  const messages = [...REPORTED].map(([name, value]) => parameterStatus(name, value));
  assert.deepEqual(written(new Greeting(REPORTED)), join(...messages));
  assert.equal(written(new Greeting([])).length, 0);
});

Deno.test("Greeting tells a client its own values, in the place of what was reported", () => {
  const greeting = new Greeting(REPORTED);
  const own = { TimeZone: "Asia/Tokyo", application_name: "zählt", client_encoding: "UTF8" };
  const messages = [...REPORTED].map(([name, value]) =>
    parameterStatus(name, ownOf(Object.entries(own)).get(name) ?? value)
  );
  assert.deepEqual(written(greeting, ownOf(Object.entries(own))), join(...messages));
  assert.deepEqual(
    written(greeting),
    written(new Greeting(REPORTED)),
    "the next one is told its own",
  );
});

Deno.test("Greeting is what message by message would be, whatever is a client's own", () => {
  const values = fc.option(
    fc.constantFrom("", "UTF8", "ISO, MDY", "Etc/UTC", "é", "x".repeat(300)),
  );
  const names = [...REPORTED.keys()];
  fc.assert(fc.property(fc.array(values, { maxLength: names.length }), (drawn) => {
    const own = ownOf(
      drawn.flatMap((value, at) => value === null ? [] : [[names[at]!, value] as const]),
    );
    const messages = [...REPORTED].map(([name, value]) =>
      parameterStatus(name, own.get(name) ?? value)
    );
    assert.deepEqual(written(new Greeting(REPORTED), own), join(...messages));
  }));
});
