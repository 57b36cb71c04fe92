/** Whom the process may become: what can be told without becoming anybody. */

import assert from "node:assert/strict";
import { becomeUser, groupIdOf, ownUid } from "../../../src/app/privileges.ts";

const isRoot = ownUid() === 0;

Deno.test("becomeUser() says so when there is no such user", () => {
  assert.throws(() => becomeUser("no-such-user"), {
    name: "PrivilegeError",
    message: 'There is no user "no-such-user"',
  });
});

Deno.test("becomeUser() never stays or becomes root", () => {
  const message = isRoot ? /^PrivilegeError: Sluice does not run as root/ : /only root can$/;
  for (const user of ["root", "0"]) assert.throws(() => becomeUser(user), message);
});

Deno.test({
  name: "becomeUser() refuses root without a user to become",
  ignore: !isRoot,
  fn() {
    for (const user of [undefined, ""]) {
      assert.throws(() => becomeUser(user), /does not run as root: set "user"/);
    }
  },
});

/** Runs as if the process had this user ID. */
function asUser(uid: number, run: () => void): void {
  const real = Deno.uid;
  Deno.uid = () => uid;
  try {
    run();
  } finally {
    Deno.uid = real;
  }
}

Deno.test("becomeUser() lets everybody but root be who they are, and nobody else", () => {
  // The first account that is not root's, by the file that everybody may read.
  const accounts = Deno.readTextFileSync("/etc/passwd").trim().split("\n");
  const [other, another] = accounts.map((line) => line.split(":")).filter(([, , uid]) =>
    uid !== "0"
  );
  const uid = Number(other![2]);
  asUser(uid, () => {
    for (const self of [undefined, "", other![0], String(uid)]) becomeUser(self);
    assert.throws(() => becomeUser(another![0]), {
      name: "PrivilegeError",
      message: `Cannot become user "${another![0]}": only root can`,
    });
  });
});

Deno.test("groupIdOf() takes a name or a number", () => {
  assert.equal(groupIdOf("4711"), 4711);
  const [name, , id] = Deno.readTextFileSync("/etc/group").split("\n")[0]!.split(":");
  assert.equal(groupIdOf(name!), Number(id));
  assert.throws(() => groupIdOf("no-such-group"), {
    name: "PrivilegeError",
    message: 'There is no group "no-such-group"',
  });
});
