import assert from "node:assert/strict";
import { textReaderOf } from "../../../src/wire/client_encoding.ts";

/** The same schema name as a server sends it to clients of different encodings. */
const NAMES: readonly (readonly [string | undefined, readonly number[], string])[] = [
  [undefined, [0x73, 0xc3, 0xa9], "sé"],
  ["UTF8", [0x73, 0xc3, 0xa9], "sé"],
  ["SQL_ASCII", [0x73, 0xc3, 0xa9], "sé"],
  ["LATIN1", [0x73, 0xe9, 0x80], "sé\u0080"],
  ["WIN1252", [0x73, 0xe9, 0x80], "sé€"],
  ["LATIN9", [0x73, 0xe9, 0xa4], "sé€"],
  ["WIN1251", [0xf1, 0xf5], "сх"],
  ["KOI8R", [0xd3, 0xc8], "сх"],
  ["SJIS", [0x83, 0x5c], "ソ"],
  ["EUC_JP", [0xa5, 0xbd], "ソ"],
  ["toString", [0x73], "s"],
];

for (const [encoding, bytes, expected] of NAMES) {
  Deno.test(`textReaderOf() reads ${encoding ?? "what is said before the encoding is known"}`, () => {
    const buffer = Uint8Array.of(0x61, ...bytes, 0x62);
    assert.equal(textReaderOf(encoding)(buffer, 1, buffer.length - 1), expected);
  });
}
