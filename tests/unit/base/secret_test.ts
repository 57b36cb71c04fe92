import assert from "node:assert/strict";
import { inspect } from "node:util";
import { Secret } from "../../../src/base/secret.ts";

Deno.test("Secret.reveal() gives the secret away, and nothing else does", () => {
  const secret = new Secret("hunter2");
  assert.equal(secret.reveal(), "hunter2");
  const shown = [
    `${secret}`,
    "" + secret,
    JSON.stringify({ password: secret }),
    Deno.inspect(secret),
    Deno.inspect({ deep: [secret] }),
    inspect(secret, { showHidden: true, depth: 9 }),
    Object.keys(secret).join(),
    JSON.stringify(structuredClone({ ...secret })),
  ];
  for (const text of shown) assert.ok(!text.includes("hunter2"), text);
});

Deno.test("Secret.equals() compares what is hidden", () => {
  assert.equal(new Secret("a").equals(new Secret("a")), true);
  assert.equal(new Secret("a").equals(new Secret("b")), false);
  assert.equal(new Secret("").equals(undefined), false);
});
