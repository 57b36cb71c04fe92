/** Whom children run as when a script is run by root. */

import assert from "node:assert/strict";
import { idsFromPasswd } from "../../../scripts/unprivileged.ts";

Deno.test("idsFromPasswd() takes nobody, wherever it stands and whatever its numbers", () => {
  const passwd = "root:x:0:0::/root:/bin/sh\ndaemon:x:1:1:::\nnobody:x:99:98:::\n";
  assert.deepEqual(idsFromPasswd(passwd), { uid: 99, gid: 98 });
});

Deno.test("idsFromPasswd() takes another account when nobody is missing or has root's group", () => {
  assert.deepEqual(idsFromPasswd("root:x:0:0:::\ndaemon:x:1:2:::\n"), { uid: 1, gid: 2 });
  assert.deepEqual(idsFromPasswd("nobody:x:9:0:::\ndaemon:x:1:2:::\n"), { uid: 1, gid: 2 });
});

Deno.test("idsFromPasswd() never answers root", () => {
  assert.deepEqual(idsFromPasswd("root:x:0:0:::\n"), { uid: 65534, gid: 65534 });
});
