import assert from "node:assert/strict";
import fc from "fast-check";
import { FAMILY } from "../../../../src/net/native/libc.ts";
import {
  AddressError,
  decodeEndpoint,
  decodePath,
  encodeIpAddress,
  encodeUnixAddress,
  familyOf,
} from "../../../../src/net/native/socket_address.ts";

const PORT = fc.integer({ min: 0, max: 65_535 });

/** Eight groups of an IPv6 address, with runs of zeros more often than chance has them. */
const GROUPS = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 65_535 })), {
  minLength: 8,
  maxLength: 8,
});

Deno.test("encodeIpAddress() lays an IPv4 address out as the kernel has it", () => {
  const bytes = encodeIpAddress("10.20.30.40", 0x1234);
  assert.deepEqual([...bytes], [2, 0, 0x12, 0x34, 10, 20, 30, 40, 0, 0, 0, 0, 0, 0, 0, 0]);
  assert.equal(familyOf(bytes), FAMILY.inet);
});

Deno.test("encodeIpAddress() lays an IPv6 address out as the kernel has it, zone last", () => {
  const bytes = encodeIpAddress("fe80::1:2%258", 0x1234);
  const groups = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2];
  assert.deepEqual([...bytes], [10, 0, 0x12, 0x34, 0, 0, 0, 0, ...groups, 2, 1, 0, 0]);
  assert.equal(familyOf(bytes), FAMILY.inet6);
});

Deno.test("an IPv4 address comes back as it was encoded", () => {
  fc.assert(fc.property(fc.ipV4(), PORT, (host, port) => {
    assert.deepEqual(decodeEndpoint(encodeIpAddress(host, port), 1), { host, port });
  }));
});

Deno.test("an IPv6 address comes back in the spelling of RFC 5952", () => {
  fc.assert(fc.property(GROUPS, PORT, (groups, port) => {
    const spelled = groups.map((group) => group.toString(16).padStart(4, "0")).join(":");
    const endpoint = decodeEndpoint(encodeIpAddress(spelled.toUpperCase(), port), 1);
    // One that is mapped is shown by its IPv4 address.
    fc.pre(endpoint.host.includes(":"));
    assert.equal(endpoint.port, port);
    // What is shown means the same again.
    const again = decodeEndpoint(encodeIpAddress(endpoint.host, port), 1);
    assert.deepEqual(again, endpoint);
    assert.deepEqual(
      [...encodeIpAddress(endpoint.host, port).subarray(8, 24)],
      groups.flatMap((group) => [group >> 8, group & 0xff]),
    );
  }));
});

Deno.test("decodeEndpoint() shortens the longest run of zeros, and no single group", () => {
  const spellings: readonly (readonly [given: string, shown: string])[] = [
    ["0:0:0:0:0:0:0:0", "::"],
    ["0:0:0:0:0:0:0:1", "::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:DB8::", "2001:db8::"],
    ["1:0:0:0:0:0:0:0", "1::"],
    ["64:ff9b::1.2.3.4", "64:ff9b::102:304"],
  ];
  for (const [given, shown] of spellings) {
    assert.equal(decodeEndpoint(encodeIpAddress(given, 1), 1).host, shown, given);
  }
});

Deno.test("decodeEndpoint() shows an IPv4 address that came by IPv6 as what it is", () => {
  fc.assert(fc.property(fc.ipV4(), PORT, (host, port) => {
    const mapped = encodeIpAddress(`::ffff:${host}`, port);
    assert.equal(familyOf(mapped), FAMILY.inet6);
    assert.deepEqual(decodeEndpoint(mapped, 1), { host, port });
  }));
});

Deno.test("decodeEndpoint() takes only ::ffff:0:0/96 for mapped", () => {
  for (const host of ["::fffe:102:304", "0:0:0:1:0:ffff:102:304", "::1:102:304"]) {
    assert.match(decodeEndpoint(encodeIpAddress(host, 1), 1).host, /:/, host);
  }
});

Deno.test("encodeIpAddress() refuses what is no IP address", () => {
  const names = ["", "localhost", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4%1", "::1::", ":1"];
  for (const name of [...names, "fe80::1%eth0", "fe80::1%1.5", "[::1]", "1:2:3:4:5:6:7"]) {
    assert.throws(() => encodeIpAddress(name, 1), AddressError, name);
  }
});

Deno.test("encodeIpAddress() takes a zone of any number, and 0 for none", () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), (zone) => {
    const bytes = encodeIpAddress(`fe80::1%${zone}`, 1);
    assert.equal(new DataView(bytes.buffer).getUint32(24, true), zone);
  }));
  assert.deepEqual(encodeIpAddress("fe80::1", 1), encodeIpAddress("fe80::1%0", 1));
});

Deno.test("a unix socket's path comes back as it was encoded, in whatever script", () => {
  const isPath = (path: string) => {
    const byteCount = new TextEncoder().encode(path).length;
    return byteCount > 0 && byteCount <= 107 && !path.includes("\0");
  };
  const paths = fc.string({ unit: "binary", maxLength: 40 }).filter(isPath);
  fc.assert(fc.property(paths, (path) => {
    const bytes = encodeUnixAddress(path);
    assert.equal(familyOf(bytes), FAMILY.unix);
    assert.equal(bytes.at(-1), 0);
    assert.equal(decodePath(bytes), path);
  }));
});

Deno.test("an abstract name comes back with its zero byte, and ends with the address", () => {
  const bytes = encodeUnixAddress("\0name");
  assert.deepEqual([...bytes], [1, 0, 0, ...new TextEncoder().encode("name")]);
  assert.equal(decodePath(bytes), "\0name");
  // Zeros within belong to the name.
  assert.equal(decodePath(encodeUnixAddress("\0a\0b")), "\0a\0b");
});

Deno.test("decodePath() ends a file's path at the zero, whatever the kernel leaves behind it", () => {
  const address = encodeUnixAddress("/tmp/a");
  const padded = new Uint8Array(address.length + 10).fill(0x78);
  padded.set(address);
  assert.equal(decodePath(padded), "/tmp/a");
  assert.equal(decodePath(address.subarray(0, address.length - 1)), "/tmp/a");
  assert.equal(decodePath(address.subarray(0, 2)), "");
});

Deno.test("encodeUnixAddress() refuses a path by its bytes, the final zero included", () => {
  assert.equal(encodeUnixAddress("p".repeat(107)).length, 110);
  assert.throws(() => encodeUnixAddress("p".repeat(108)), AddressError);
  assert.equal(encodeUnixAddress(`\0${"p".repeat(107)}`).length, 110);
  assert.throws(() => encodeUnixAddress(`\0${"p".repeat(108)}`), AddressError);
  // 54 letters, 108 bytes.
  assert.throws(() => encodeUnixAddress("é".repeat(54)), AddressError);
  assert.equal(encodeUnixAddress("é".repeat(53)).length, 109);
});

Deno.test("decodeEndpoint() gives a unix socket the port that it stands for", () => {
  const unix = { host: "unix", port: 6432 };
  assert.deepEqual(decodeEndpoint(encodeUnixAddress("/tmp/.s.PGSQL.1"), 6432), unix);
  // A client's socket has no name.
  assert.deepEqual(decodeEndpoint(new Uint8Array([1, 0]), 6432), unix);
});
