import assert from "node:assert/strict";
import { errorStack, errorText } from "../../../src/base/error_text.ts";

Deno.test("errorText() gives words for whatever was thrown", () => {
  assert.equal(errorText(new Error("no")), "no");
  assert.equal(errorText("no"), "no");
});

Deno.test("errorText() leaves out what the runtime adds for programmers", () => {
  const missing = new Error("No such file or directory (os error 2): readfile 'nosuch.toml'");
  assert.equal(errorText(missing), "No such file or directory");
  const denied = new Error(
    'Requires all access to "/dev/full", run again with the --allow-all flag',
  );
  assert.equal(errorText(denied), 'Requires all access to "/dev/full"');
});

Deno.test("errorStack() says where an error comes from, and what is no error", () => {
  assert.match(
    errorStack(new TypeError("broken")),
    /^TypeError: broken\n +at .*error_text_test\.ts/,
  );
  assert.equal(errorStack("words"), "words");
});
