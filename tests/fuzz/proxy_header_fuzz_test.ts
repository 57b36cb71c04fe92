/** Any bytes give a PROXY header, nothing yet, or a typed error, and the same however they come. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { parseIp } from "../../src/base/ip_address.ts";
import { ProtocolError } from "../../src/wire/pg_error.ts";
import { type ProxyHeader, readProxyHeader } from "../../src/wire/proxy_header.ts";
import { join, utf8 } from "../support/messages.ts";
import { proxied, proxyBinary } from "../support/proxy_headers.ts";

const word = fc.constantFrom("PROXY", "TCP4", "TCP6", "UNKNOWN", "10.0.0.7", "::1", "1", "\r", "");

const bytesOf = (count: number) => fc.array(fc.nat(255), { minLength: count, maxLength: count });

const addresses = fc.constantFrom(4, 16).chain((count) =>
  fc.record({
    source: bytesOf(count),
    target: bytesOf(count),
    sourcePort: fc.nat(65_535),
    targetPort: fc.nat(65_535),
  })
);

/** Bytes at random, and bytes that look like a header. */
const anyStart = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc.array(word, { maxLength: 9 }).map((words) => utf8(`PROXY ${words.join(" ")}\r\n`)),
  fc.record({
    command: fc.constantFrom(0x20, 0x21, 0x22, 0x10),
    family: fc.constantFrom(0, 0x11, 0x21, 0x31, 0x12, 0xff),
    rest: fc.uint8Array({ maxLength: 60 }),
  }).map(proxyBinary),
);

/** What is read from bytes that come one by one. */
function readByByte(bytes: Uint8Array): ProxyHeader | "refused" | undefined {
  for (let end = 0; end <= bytes.length; end++) {
    try {
      const header = readProxyHeader(bytes.subarray(0, end));
      if (header !== undefined) return header;
    } catch (error) {
      assert.ok(error instanceof ProtocolError, `not a ProtocolError but ${String(error)}`);
      assert.ok(error.message.length > 0 && error.message.length < 100);
      return "refused";
    }
  }
  return undefined;
}

function readAtOnce(bytes: Uint8Array): ProxyHeader | "refused" | undefined {
  try {
    return readProxyHeader(bytes);
  } catch (error) {
    assert.ok(error instanceof ProtocolError, `not a ProtocolError but ${String(error)}`);
    return "refused";
  }
}

Deno.test("readProxyHeader() takes any bytes, at once or one by one, with the same outcome", () => {
  fc.assert(
    fc.property(anyStart, fc.uint8Array({ maxLength: 20 }), (start, behind) => {
      const bytes = join(start, behind);
      const found = readAtOnce(bytes);
      assert.deepEqual(readByByte(bytes), found);
      if (found === undefined || found === "refused") return;
      assert.ok(found.byteCount > 0 && found.byteCount <= bytes.length);
      if (found.source !== undefined) assert.ok(parseIp(found.source.host));
    }),
    { numRuns: 3_000 },
  );
});

Deno.test("readProxyHeader() reads every address that a proxy may write", () => {
  fc.assert(
    fc.property(addresses, fc.uint8Array({ maxLength: 100 }), (given, further) => {
      const header = readProxyHeader(proxied(given, further));
      assert.equal(header?.source?.port, given.sourcePort);
      const bytes = parseIp(header!.source!.host)!;
      assert.deepEqual([...bytes], given.source.slice(-bytes.length));
    }),
    { numRuns: 500 },
  );
});

Deno.test("readProxyHeader() never takes a header of which one byte was changed for a longer one", () => {
  fc.assert(
    fc.property(addresses, fc.nat(15), fc.nat(255), (given, at, byte) => {
      const header = proxied(given);
      header[at] = byte;
      const found = readAtOnce(header);
      if (found !== undefined && found !== "refused") assert.ok(found.byteCount <= header.length);
    }),
    { numRuns: 500 },
  );
});
