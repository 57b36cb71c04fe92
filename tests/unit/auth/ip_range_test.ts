import assert from "node:assert/strict";
import { isInRange } from "../../../src/base/ip_address.ts";
import { parseIp, parsePrefix } from "../../../src/auth/ip_range.ts";

function hex(text: string): string | undefined {
  return parseIp(text) &&
    [...parseIp(text)!].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

Deno.test("parseIp() reads addresses of both families", () => {
  const cases: Readonly<Record<string, string>> = {
    "10.0.200.255": "0a00c8ff",
    "::": "00".repeat(16),
    "::1": "00".repeat(15) + "01",
    "fe80::": "fe80" + "00".repeat(14),
    "1:2:3:4:5:6:7:8": "00010002000300040005000600070008",
    "2001:DB8::ff00:42": "20010db8" + "00".repeat(8) + "ff000042",
    "::ffff:1.2.3.4": "00".repeat(10) + "ffff01020304",
    "1::8": "0001" + "00".repeat(12) + "0008",
  };
  for (const [text, expected] of Object.entries(cases)) assert.equal(hex(text), expected, text);
});

Deno.test("parseIp() takes nothing for an address that is none", () => {
  for (
    const text of [
      ...[
        "",
        "1",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.256",
        "01.2.3.4",
        "1.2.3.4 ",
        "0x1.2.3.4",
        "a.b.c.d",
      ],
      ...[
        ":",
        ":::",
        "1::2::3",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "1:2:3:4:5:6:7:8::",
        "g::",
        "::1%lo",
      ],
      ...["12345::", "1.2.3.4::", "::1.2.3.4:5", "::1.2.3", "1:", ":1", "/8"],
    ]
  ) {
    assert.equal(parseIp(text), undefined, text);
  }
});

Deno.test("isInRange() compares the bits of the mask, within one family", () => {
  const cases: readonly (readonly [string, string, string, boolean])[] = [
    ["10.1.2.3", "10.0.0.0", "8", true],
    ["11.1.2.3", "10.0.0.0", "8", false],
    ["10.1.2.3", "10.1.2.0", "23", true],
    ["10.1.4.3", "10.1.2.0", "23", false],
    ["10.1.2.3", "0.0.0.0", "0", true],
    ["10.1.2.3", "10.1.2.3", "32", true],
    ["10.1.2.2", "10.1.2.3", "32", false],
    ["::1", "0.0.0.0", "0", false],
    ["10.1.2.3", "::", "0", false],
    ["2001:db8:1::1", "2001:db8::", "32", true],
    ["2001:db9:1::1", "2001:db8::", "32", false],
    ["2001:db8:8000::1", "2001:db8::", "33", false],
  ];
  for (const [peer, address, prefix, expected] of cases) {
    const own = parseIp(address)!;
    const mask = parsePrefix(own, prefix)!;
    assert.equal(
      isInRange(parseIp(peer)!, { address: own, mask }),
      expected,
      `${peer} ${address}/${prefix}`,
    );
  }
});

Deno.test("parsePrefix() takes no more bits than there are", () => {
  const [four, six] = [parseIp("1.2.3.4")!, parseIp("::1")!];
  for (const text of ["33", "", "-1", "8 ", "1e1", "0x8"]) {
    assert.equal(parsePrefix(four, text), undefined);
  }
  assert.equal(parsePrefix(six, "129"), undefined);
  assert.equal(parsePrefix(six, "128")?.every((byte) => byte === 0xff), true);
});
