import assert from "node:assert/strict";
import { isMd5Secret, md5Response, md5Secret } from "../../../src/auth/md5.ts";
import pgUtils from "pg/lib/crypto/utils.js";

const oracle = pgUtils as unknown as {
  postgresMd5PasswordHash(user: string, password: string, salt: Uint8Array): Promise<string>;
};

Deno.test("md5Secret() makes the form that PostgreSQL stores", () => {
  // SELECT 'md5' || md5('secret' || 'ada')
  assert.equal(md5Secret("secret", "ada"), "md52953f29bc314bd0a7ea7ddf6ccc1555f");
  assert.equal(md5Secret(new TextEncoder().encode("secret"), "ada"), md5Secret("secret", "ada"));
});

Deno.test("md5Response() answers a challenge as node-postgres does", async () => {
  for (const [user, password] of [["ada", "secret"], ["Zoë", "pässwörd"], ["x", ""]] as const) {
    const salt = Uint8Array.of(0, 200, 13, 255);
    assert.equal(
      md5Response(md5Secret(password, user), salt),
      await oracle.postgresMd5PasswordHash(user, password, Buffer.from(salt)),
    );
  }
});

Deno.test("isMd5Secret() takes md5 and 32 lower-case digits for a hash, and nothing else", () => {
  const hash = md5Secret("secret", "ada");
  assert.ok(isMd5Secret(hash));
  const others = ["", "md5", hash.slice(0, -1), hash + "0", hash.toUpperCase(), ` ${hash}`];
  for (const text of [...others, `${hash}\n`, hash.slice(3), "md5" + "g".repeat(32)]) {
    assert.ok(!isMd5Secret(text), text);
  }
});
