/** What a stranger writes into names and messages must not reach the reader's terminal. */

import assert from "node:assert/strict";
import { Logger } from "../../../src/log/logger.ts";
import { FakeClock } from "../../support/fake_clock.ts";

function logged(message: string): string {
  let text = "";
  const sink = { write: (line: string) => text += line };
  new Logger({ clock: new FakeClock(), processId: 1, sink, verbosity: 0 }).log(message);
  return text.replace(/^.* LOG /, "");
}

Deno.test("Logger lets no control character of any kind through, and leaves all else alone", () => {
  for (let code = 0; code < 0x2100; code++) {
    const character = String.fromCharCode(code);
    const isControl = code < 0x20 || (code >= 0x7f && code < 0xa0) || code === 0x2028 ||
      code === 0x2029;
    assert.equal(logged(`a${character}b`), `a${isControl ? " " : character}b\n`, code.toString(16));
  }
});

Deno.test("Logger takes the sting out of escape sequences", () => {
  assert.equal(logged("\x1b[2Jada\x1b]0;title\x07"), " [2Jada ]0;title \n");
});
