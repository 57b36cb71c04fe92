/** Which way to a server follows which: a table of modes and failures. */

import assert from "node:assert/strict";
import {
  type AttemptFailure,
  connectAttempts,
  nextAttempt,
} from "../../../src/server/connect_attempts.ts";
import type { ServerTlsUse } from "../../../src/server/server_tls.ts";

/** All ways that are tried when each one fails as the list says: `tls 3.2`, and so on. */
function course(use: ServerTlsUse | undefined, minor: number, failures: AttemptFailure[]): string {
  const attempts = connectAttempts(use, minor);
  const tried: string[] = [];
  let index: number | undefined = 0;
  for (const failure of [...failures, undefined]) {
    const attempt = attempts[index]!;
    tried.push(`${attempt.isTls ? "tls" : "plain"} 3.${attempt.minor}`);
    index = failure && nextAttempt(attempts, index, failure);
    if (index === undefined) break;
  }
  return tried.join(", ");
}

const COURSES: readonly [
  use: ServerTlsUse | undefined,
  failures: AttemptFailure[],
  expected: string,
][] = [
  [undefined, ["refused"], "plain 3.2"],
  [undefined, ["version", "refused"], "plain 3.2, plain 3.0"],
  ["require", ["refused"], "tls 3.2"],
  ["require", ["not_offered"], "tls 3.2"],
  ["require", ["handshake"], "tls 3.2"],
  ["require", ["version", "refused"], "tls 3.2, tls 3.0"],
  ["prefer", ["not_offered", "refused"], "tls 3.2, plain 3.2"],
  ["prefer", ["not_offered", "version", "refused"], "tls 3.2, plain 3.2, plain 3.0"],
  ["prefer", ["handshake", "refused"], "tls 3.2, plain 3.2"],
  ["prefer", ["refused", "refused"], "tls 3.2, plain 3.2"],
  ["prefer", ["version", "refused", "version"], "tls 3.2, tls 3.0, plain 3.2, plain 3.0"],
  ["allow", ["refused", "refused"], "plain 3.2, tls 3.2"],
  ["allow", ["refused", "not_offered"], "plain 3.2, tls 3.2"],
  ["allow", ["refused", "handshake"], "plain 3.2, tls 3.2"],
  ["allow", ["version", "refused", "version"], "plain 3.2, plain 3.0, tls 3.2, tls 3.0"],
];

Deno.test("a server is tried in the ways that its mode allows, one after the other", () => {
  for (const [use, failures, expected] of COURSES) {
    assert.equal(course(use, 2, failures), expected, `${use}: ${failures}`);
  }
});

Deno.test("who is asked for 3.0 from the start is asked once each way", () => {
  assert.equal(course("prefer", 0, ["refused", "refused"]), "tls 3.0, plain 3.0");
  assert.equal(course("prefer", 0, ["version"]), "tls 3.0");
});
