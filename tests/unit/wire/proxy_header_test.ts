import assert from "node:assert/strict";
import { ProtocolError } from "../../../src/wire/pg_error.ts";
import { isProxyHeaderStart, readProxyHeader } from "../../../src/wire/proxy_header.ts";
import { frontend, join, utf8 } from "../../support/messages.ts";
import { proxied, proxyBinary, proxyLine, proxyLocal } from "../../support/proxy_headers.ts";

const IPV4 = {
  source: [10, 0, 0, 7],
  target: [192, 0, 2, 1],
  sourcePort: 53_412,
  targetPort: 6432,
};
const IPV6 = {
  source: [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7],
  target: [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
  sourcePort: 0,
  targetPort: 65_535,
};
const MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 7];
const LONGEST_LINE = utf8(`PROXY UNKNOWN ${"f".repeat(107 - 16)}\r\n`);

type Source = { readonly host: string; readonly port: number } | undefined;

const GOOD: readonly (readonly [string, Uint8Array, Source])[] = [
  ["TCP4", proxyLine("10.0.0.7", 53_412), { host: "10.0.0.7", port: 53_412 }],
  ["TCP6", proxyLine("2001:DB8::7", 1), { host: "2001:db8::7", port: 1 }],
  ["TCP6 of an IPv4 address", proxyLine("::ffff:10.0.0.7", 0), { host: "10.0.0.7", port: 0 }],
  ["UNKNOWN", utf8("PROXY UNKNOWN\r\n"), undefined],
  ["UNKNOWN with anything", utf8("PROXY UNKNOWN ::1 ::2 x y\r\n"), undefined],
  ["a line of 107 bytes", LONGEST_LINE, undefined],
  ["binary IPv4", proxied(IPV4), { host: "10.0.0.7", port: 53_412 }],
  ["binary IPv6", proxied(IPV6), { host: "2001:db8::7", port: 0 }],
  ["binary mapped", proxied({ ...IPV6, source: MAPPED }), { host: "10.0.0.7", port: 0 }],
  ["further values", proxied(IPV4, new Uint8Array(4_084).fill(255)), {
    host: "10.0.0.7",
    port: 53_412,
  }],
  ["LOCAL", proxyLocal(), undefined],
  [
    "LOCAL with addresses",
    proxyBinary({ command: 0x20, family: 0x11, rest: utf8("abc") }),
    undefined,
  ],
  ["LOCAL of any family", proxyBinary({ command: 0x20, family: 0xff, rest: utf8("") }), undefined],
  ["UNSPEC", proxyBinary({ command: 0x21, family: 0, rest: utf8("anything") }), undefined],
  ["a unix socket", proxyBinary({ command: 0x21, family: 0x31, rest: utf8("/") }), undefined],
];

for (const [what, header, source] of GOOD) {
  Deno.test(`readProxyHeader() reads ${what}, with the client's bytes behind it or not`, () => {
    const expected = { byteCount: header.length, source };
    assert.deepEqual(readProxyHeader(header), expected);
    assert.deepEqual(readProxyHeader(join(header, frontend.startup({ user: "ada" }))), expected);
    // Never too early, however it comes.
    for (let end = 0; end < header.length; end++) {
      assert.equal(readProxyHeader(header.subarray(0, end)), undefined);
    }
    assert.equal(isProxyHeaderStart(header[0]!), true);
  });
}

const binary = (command: number, family: number, restBytes: number) =>
  proxyBinary({ command, family, rest: new Uint8Array(restBytes) });

const BAD: readonly (readonly [string, Uint8Array])[] = [
  ["a startup packet", frontend.startup({ user: "ada" })],
  ["a TLS handshake", Uint8Array.of(0x16, 3, 1)],
  ["another word", utf8("PROXX TCP4")],
  ["small letters", utf8("proxy TCP4 10.0.0.7 192.0.2.1 1 2\r\n")],
  ["a line of 108 bytes", utf8(`PROXY UNKNOWN ${"f".repeat(108 - 16)}\r\n`)],
  ["an endless line", utf8(`PROXY TCP4 ${"1".repeat(96)}`)],
  ["a line end of LF alone", utf8(`PROXY TCP4 10.0.0.7 192.0.2.1 1 2\n${" ".repeat(90)}`)],
  ["no family", utf8("PROXY \r\n")],
  ["another family", utf8("PROXY UDP4 10.0.0.7 192.0.2.1 1 2\r\n")],
  ["no addresses", utf8("PROXY TCP4\r\n")],
  ["a port too few", utf8("PROXY TCP4 10.0.0.7 192.0.2.1 1\r\n")],
  ["a field too many", utf8("PROXY TCP4 10.0.0.7 192.0.2.1 1 2 3\r\n")],
  ["two blanks", utf8("PROXY TCP4  10.0.0.7 192.0.2.1 1 2\r\n")],
  ["a name", utf8("PROXY TCP4 localhost 192.0.2.1 1 2\r\n")],
  ["octal digits", utf8("PROXY TCP4 010.0.0.7 192.0.2.1 1 2\r\n")],
  ["IPv6 as TCP4", utf8("PROXY TCP4 ::1 ::2 1 2\r\n")],
  ["IPv4 as TCP6", utf8("PROXY TCP6 10.0.0.7 192.0.2.1 1 2\r\n")],
  ["a bad target", utf8("PROXY TCP4 10.0.0.7 x 1 2\r\n")],
  ["a port over 65535", utf8("PROXY TCP4 10.0.0.7 192.0.2.1 65536 2\r\n")],
  ["a port with a sign", utf8("PROXY TCP4 10.0.0.7 192.0.2.1 +1 2\r\n")],
  ["a bad target port", utf8("PROXY TCP4 10.0.0.7 192.0.2.1 1 02\r\n")],
  ["another signature", Uint8Array.of(13, 10, 13, 11)],
  ["version 1 in binary", binary(0x11, 0x11, 12)],
  ["version 3", binary(0x31, 0x11, 12)],
  ["another command", binary(0x22, 0x11, 12)],
  ["UDP", binary(0x21, 0x12, 12)],
  ["a family that is not known", binary(0x21, 0x41, 12)],
  ["too few bytes for IPv4", binary(0x21, 0x11, 11)],
  ["too few bytes for IPv6", binary(0x21, 0x21, 35)],
  ["more than 4096 bytes", binary(0x21, 0x11, 4_097)],
];

for (const [what, header] of BAD) {
  Deno.test(`readProxyHeader() refuses ${what}`, () => {
    assert.throws(() => readProxyHeader(header), ProtocolError);
  });
}

Deno.test("readProxyHeader() says that a header is too long before that has come", () => {
  assert.throws(() => readProxyHeader(binary(0x21, 0x11, 60_000).subarray(0, 16)), ProtocolError);
  assert.throws(() => readProxyHeader(binary(0x20, 0, 60_000).subarray(0, 16)), ProtocolError);
});

Deno.test("isProxyHeaderStart() takes no packet that may open a connection for a header", () => {
  const { cancelRequest, gssencRequest, sslRequest, startup } = frontend;
  const packets = [
    startup({ user: "a".repeat(60_000) }),
    cancelRequest(new Uint8Array(8)),
    sslRequest(),
    gssencRequest(),
  ];
  for (const packet of packets) assert.equal(isProxyHeaderStart(packet[0]!), false);
});
