import assert from "node:assert/strict";
import { KeyDerivation } from "../../../src/auth/key_derivation.ts";
import { preparePassword, saslprep } from "../../../src/auth/saslprep.ts";
import {
  decodeBase64,
  encodeBase64,
  parseScramVerifier,
  scramKeys,
} from "../../../src/auth/scram.ts";

Deno.test("saslprep() gives the examples of RFC 4013", () => {
  assert.equal(saslprep("I\u00ADX"), "IX");
  assert.equal(saslprep("user"), "user");
  assert.equal(saslprep("USER"), "USER");
  assert.equal(saslprep("\u00AA"), "a");
  assert.equal(saslprep("\u2168"), "IX");
  assert.equal(saslprep("\u0627\u0031"), undefined);
});

Deno.test("saslprep() takes ASCII as it is, control characters included", () => {
  assert.equal(saslprep("a\u0007b\u007F"), "a\u0007b\u007F");
  assert.equal(saslprep(""), "");
});

Deno.test("saslprep() forbids control, private, unassigned and lone surrogate code points", () => {
  const forbidden = ["\u0080", "\uE000", "\u0221", "\u{1F600}", "\uD800", "\uFFFD", "\u200E"];
  for (const character of forbidden) assert.equal(saslprep(`é${character}`), undefined);
});

Deno.test("saslprep() forbids a mix of reading directions", () => {
  assert.equal(saslprep("אב"), "אב");
  assert.equal(saslprep("א1ב"), "א1ב");
  assert.equal(saslprep("אaב"), undefined);
  assert.equal(saslprep("1א"), undefined);
  assert.equal(saslprep("א1"), undefined);
});

Deno.test("preparePassword() falls back to the bytes as they are", () => {
  assert.deepEqual(preparePassword("ﬁ\u{1F600}"), new TextEncoder().encode("ﬁ\u{1F600}"));
  assert.deepEqual(preparePassword(Uint8Array.of(0xff, 0x41)), Uint8Array.of(0xff, 0x41));
  assert.deepEqual(preparePassword(new TextEncoder().encode("ﬁ")), new TextEncoder().encode("fi"));
  assert.deepEqual(preparePassword("\u00AD"), new TextEncoder().encode("\u00AD"));
});

/** What PostgreSQL 15 stored for these passwords (ALTER ROLE … PASSWORD). */
const STORED_BY_POSTGRESQL: readonly (readonly [string, string])[] = [
  [
    "pencil",
    "SCRAM-SHA-256$4096:MTsXVicYH2VrLZbz4rSRdA==$dlLAd2r56bP9oCaQVi+jsbsZuf3km49eXWTg" +
    "FOF1t7M=:5UPTq1QVN92o2L5VRLzWbGFZ4hhyPTdyyHRFdzwh5qQ=",
  ],
  [
    "ﬁ\u00A0x\u00ADy",
    "SCRAM-SHA-256$4096:Umm9HG/CfwlnyXA15MJRAQ==$+VQv6k98d1e972M/GTaEjy3X8KVRClPLb1N2" +
    "k8VkeqM=:SGkyPw1DFgLbfByRU0nPeo0h7dhNvj6iBbyNqjKGZB0=",
  ],
  [
    "אﬡב",
    "SCRAM-SHA-256$4096:n2vnSOTUWsQmaJc6VhHtqQ==$Uqb5spNKC1JF3lpitpuAWwOkKwbi25oTkAEZ" +
    "0QKX47M=:gSVX+Dj+saubNpO1LHBFFskDV0CpKOqEmUpKvWKPusY=",
  ],
  [
    "אﬡb",
    "SCRAM-SHA-256$4096:hi6sHycBfzFakEKKs86AaQ==$DP//9Q6xEGKn4QOl/pkQ3usM2NytY6jic98g" +
    "X0vZYSs=:dPAHNrja4hKpX2xr2P3Q3G1MPE7TdX6rss1WMLTtEg4=",
  ],
  [
    "ﬁ\u{1F600}",
    "SCRAM-SHA-256$4096:8rIlAVwWGsfkATShxCDN+A==$VhAXasbEInarIhEADe+JmrHbd3UuuQdCqjIa" +
    "Jr1S8tM=:sxc7Pg5e4a6924pse6+y5LOZE8A62k0WLD67BrtNAm8=",
  ],
  [
    "ﬁ\u0221",
    "SCRAM-SHA-256$4096:6uHC83/WMluV7swjG56i9g==$8w2ZIR4X22edaOqiyPe9GqiynX9NY1g10B9B" +
    "HaKnTTo=:wwEv/1xebYGRIQuNzFVU6KT3Xu4h7ydQFWKj0UbGPaw=",
  ],
  [
    "ﬁ\u200B1",
    "SCRAM-SHA-256$4096:pBPOESkPg0MTTY5d1HuG9Q==$dAaJYsOSAzjWNUgLRhhXxpDK4Jb1KVuIu3Pc" +
    "Q0XzF88=:CZR+KO+MycL3RecrCFJbjhMrvnxS9rjPl/zmbeUHRTQ=",
  ],
  [
    "ﬁ\u0340",
    "SCRAM-SHA-256$4096:Rqmjcqeu42IHmrmRHplzeQ==$p3Lk90AnNRCVZ3kSJtrjatI8tzemkhZeE51g" +
    "bKNpmGw=:XTmoRReMcaidevASHg1deCyk0IdtI1uLGieGFK05/Jw=",
  ],
  [
    "\u00AD",
    "SCRAM-SHA-256$4096:5QrPOmw4yk3swXbdyoUxAQ==$CYJ7uBXgn+L8N5DT6w4M9aCvClpZ9VyOMwNZ" +
    "7XHaHBQ=:MZ4CuKlAKlazFRpt302TD843zr2SMK88Cd+F9YB9MD0=",
  ],
];

Deno.test("preparePassword() leads to the verifiers that PostgreSQL stores", async () => {
  const derivation = new KeyDerivation();
  for (const [password, stored] of STORED_BY_POSTGRESQL) {
    const verifier = parseScramVerifier(stored);
    assert.ok(verifier !== undefined);
    const { iterations } = verifier;
    const salt = decodeBase64(verifier.salt)!;
    const salted = await derivation.derive(preparePassword(password), { salt, iterations });
    const keys = scramKeys(salted, verifier);
    const name = JSON.stringify(password);
    assert.equal(encodeBase64(keys.storedKey), encodeBase64(verifier.storedKey), name);
    assert.equal(encodeBase64(keys.serverKey), encodeBase64(verifier.serverKey), name);
  }
});
