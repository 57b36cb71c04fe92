import assert from "node:assert/strict";
import {
  ipText,
  isInRange,
  parseIp,
  parseIpRange,
  peerGroup,
  peerIp,
} from "../../../src/base/ip_address.ts";

Deno.test("parseIp() and ipText() give an address back in its usual form", () => {
  const texts: readonly (readonly [string, string])[] = [
    ["0.0.0.0", "0.0.0.0"],
    ["10.0.0.7", "10.0.0.7"],
    ["255.255.255.255", "255.255.255.255"],
    ["::", "::"],
    ["::1", "::1"],
    ["FD00:0:0:0:0:0:0:a", "fd00::a"],
    ["2001:db8::1:0:0:2", "2001:db8::1:0:0:2"],
    ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"],
    ["::ffff:10.0.0.7", "10.0.0.7"],
    ["::ffff:a00:7", "10.0.0.7"],
  ];
  for (const [given, expected] of texts) {
    const bytes = parseIp(given);
    assert.ok(bytes, given);
    assert.equal(ipText(bytes), expected);
  }
});

Deno.test("parseIp() takes nothing that is not an address to the letter", () => {
  const texts = [
    ...["", "unix", "localhost", "1.2.3", "1.2.3.4.5", "1.2.3.", "1.2.3.4.", ".1.2.3", "1..2.3"],
    ...["256.1.1.1", "01.2.3.4", "1.2.3.04", "0x1.2.3.4", "1.2.3.4 ", " 1.2.3.4", "1.2.3.-4"],
    ...[":", ":::", "1:2", "1:2:3:4:5:6:7:8:9", "12345::", "g::", "::1%eth0", "[::1]", "::1]"],
    ...["::1/64", "::1]@x[::", "1.2.3.4\n", "::1\n", "1::2::3", "::256.1.1.1"],
  ];
  for (const text of texts) assert.equal(parseIp(text), undefined, JSON.stringify(text));
});

Deno.test("isInRange() takes the addresses that have its first bits", () => {
  const cases: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ["10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], ["11.0.0.0", "9.9.9.9"]],
    ["10.1.2.128/25", ["10.1.2.128", "10.1.2.255"], ["10.1.2.127", "10.1.3.128"]],
    ["10.1.2.3/29", ["10.1.2.0", "10.1.2.7"], ["10.1.2.8"]],
    ["10.1.2.3", ["10.1.2.3"], ["10.1.2.2", "10.1.2.4"]],
    ["0.0.0.0/0", ["1.2.3.4"], ["::1", "fd00::1"]],
    ["::/0", ["::1", "ffff::"], ["1.2.3.4"]],
    ["fd00:1::/33", ["fd00:1::1", "fd00:1:7fff::"], ["fd00:1:8000::", "fd00:2::"]],
    ["::1", ["::1"], ["::2", "0.0.0.1"]],
    ["::ffff:10.0.0.0/104", ["10.9.9.9"], ["11.0.0.0", "::1"]],
  ];
  for (const [text, inside, outside] of cases) {
    const range = parseIpRange(text);
    assert.ok(range, text);
    for (const each of inside) {
      assert.equal(isInRange(parseIp(each)!, range), true, `${text} ${each}`);
    }
    for (const each of outside) {
      assert.equal(isInRange(parseIp(each)!, range), false, `${text} ${each}`);
    }
  }
});

Deno.test("parseIpRange() answers undefined for what is no range", () => {
  const texts = [
    ...["", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/8/8", "10.0.0.0/-1"],
    ...["::/129", "::ffff:10.0.0.0/95", "10.0.0/8", "all", "10.0.0.0/255.0.0.0", "10.0.0.0/ 8"],
  ];
  for (const text of texts) assert.equal(parseIpRange(text), undefined, text);
});

Deno.test("peerIp() sees an IPv4 address through its IPv6 form, and past a zone", () => {
  assert.deepEqual(peerIp("::ffff:10.1.2.3"), parseIp("10.1.2.3"));
  assert.deepEqual(peerIp("::FFFF:0a01:0203"), parseIp("10.1.2.3"));
  assert.deepEqual(peerIp("fe80::1%eth0"), parseIp("fe80::1"));
  assert.equal(peerIp("unix"), undefined);
});

Deno.test("peerGroup() takes the addresses of one IPv6 subnet for one peer's", () => {
  assert.equal(peerGroup("10.0.0.7"), "10.0.0.7");
  assert.equal(peerGroup("unix"), "unix");
  assert.equal(peerGroup("2001:db8:0:1::7"), peerGroup("2001:db8:0:1:ffff::8"));
  assert.notEqual(peerGroup("2001:db8:0:1::7"), peerGroup("2001:db8:0:2::7"));
  assert.equal(peerGroup("fe80::1%2"), peerGroup("fe80::2%3"));
  assert.equal(peerGroup("::ffff:10.0.0.7"), "::ffff:10.0.0.7");
});
