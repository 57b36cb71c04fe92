/** One login at a directory: what is asked, in which order, and what becomes of each answer. */

import assert from "node:assert/strict";
import { askLdap } from "../../../src/auth/ldap_login.ts";
import { parseLdapOptions } from "../../../src/auth/ldap_options.ts";
import type { PasswordVerdict } from "../../../src/auth/outside_method.ts";
import { FakeClock, settle } from "../../support/fake_clock.ts";
import { FakeDirectory } from "../../support/fake_directory.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

const SIMPLE = 'ldapserver="one two" ldapprefix=cn= ldapsuffix=",dc=x"';
const SEARCH = 'ldapserver="one two" ldapbasedn=dc=x ldapbinddn=cn=s ldapbindpasswd=pw';

/** A directory, a clock, and a question that is being asked. */
function asking(
  directory: FakeDirectory,
  { password = "right", text = SIMPLE, user = "ada" } = {},
) {
  const clock = new FakeClock();
  const abort = new AbortController();
  const verdict = askLdap({ user, password }, {
    options: parseLdapOptions(text),
    connect: directory.connect,
    clock,
    random: new SeededRandom(1),
    signal: abort.signal,
  });
  return { abort, clock, verdict };
}

/** What comes of a question that is answered at once; nothing is left of it. */
async function verdictOf(
  directory: FakeDirectory,
  question: { password?: string; text?: string; user?: string } = {},
): Promise<PasswordVerdict> {
  const { clock, verdict } = asking(directory, question);
  const result = await verdict;
  assert.deepEqual([clock.timerCount, directory.openCount], [0, 0]);
  return result;
}

function adaDirectory(): FakeDirectory {
  return new FakeDirectory({
    passwords: { "cn=ada,dc=x": "right", "cn=s": "pw" },
    found: {
      "(uid=ada)": ["cn=ada,dc=x"],
      "(uid=twin)": ["cn=ada,dc=x", "cn=twin,dc=x"],
      "(uid=many)": ["a", "b", "c"],
      "(uid=root)": [""],
    },
  });
}

Deno.test("askLdap() by a simple bind asks for the entry of that name, once", async () => {
  const directory = adaDirectory();
  assert.deepEqual(await verdictOf(directory), { kind: "right" });
  assert.deepEqual(directory.asked, ["connect one:389 none", "bind cn=ada,dc=x right"]);
  assert.deepEqual(await verdictOf(directory, { password: "wrong" }), {
    kind: "wrong",
    why: 'LDAP login as "cn=ada,dc=x": InvalidCredentials, result 49',
  });
});

Deno.test("askLdap() by search binds as the searcher, and as the entry on another connection", async () => {
  const directory = adaDirectory();
  assert.deepEqual(await verdictOf(directory, { text: `${SEARCH} ldaptls=1` }), { kind: "right" });
  assert.deepEqual(directory.asked, [
    "connect one:389 starttls",
    "bind cn=s right",
    "search (uid=ada)",
    "connect one:389 starttls",
    "bind cn=ada,dc=x right",
  ]);
  const verdict = await verdictOf(directory, { text: SEARCH, password: "wrong" });
  assert.equal(verdict.kind, "wrong");
});

Deno.test("askLdap() without a searcher searches as nobody", async () => {
  const directory = adaDirectory();
  const text = "ldapserver=one ldapbasedn=dc=x";
  assert.deepEqual(await verdictOf(directory, { text }), { kind: "right" });
  assert.equal(directory.asked[1], "bind  right");
});

for (const user of ["nobody", "twin", "many"]) {
  Deno.test(`askLdap() refuses ${user} after as many steps as for a wrong password`, async () => {
    const directory = adaDirectory();
    const verdict = await verdictOf(directory, { text: SEARCH, user });
    assert.equal(verdict.kind, "wrong");
    assert.match("why" in verdict ? verdict.why : "", /does not exist|is not unique/);
    assert.deepEqual(directory.asked.slice(3), [
      "connect one:389 none",
      "bind somebody unknown wrong",
    ]);
  });
}

Deno.test("askLdap() lets nobody in by an entry without a name", async () => {
  const directory = adaDirectory();
  directory.passwords.set("", "right");
  assert.deepEqual(await verdictOf(directory, { text: SEARCH, user: "root" }), {
    kind: "wrong",
    why: "the entry has no name",
  });
});

Deno.test("askLdap() does not ask for names that mean something to a directory", async () => {
  const directory = adaDirectory();
  for (const user of ["*", "ada)(uid=*", "a\\2a"]) {
    assert.deepEqual(await verdictOf(directory, { text: SEARCH, user }), {
      kind: "wrong",
      why: "invalid character in user name for LDAP authentication",
    });
  }
  assert.deepEqual(directory.asked, []);
});

Deno.test("askLdap() never binds without a password", async () => {
  await assert.rejects(verdictOf(adaDirectory(), { password: "" }), /proves nothing/);
});

Deno.test("askLdap() goes on to the next server where one refuses to be connected to", async () => {
  const directory = adaDirectory();
  directory.moods.set("one", "refuses");
  assert.deepEqual(await verdictOf(directory), { kind: "right" });
  directory.moods.set("two", "refuses");
  assert.deepEqual(await verdictOf(directory), {
    kind: "unavailable",
    why: "one:389: connecting: connection refused; two:389: connecting: connection refused",
  });
});

for (
  const [mood, limitMs] of [["silent", 3_000], ["silent after connecting", 5_000]] as const
) {
  Deno.test(`askLdap() gives a server up that is ${mood} for ${limitMs} ms`, async () => {
    const directory = adaDirectory();
    directory.moods.set("one", mood);
    const { clock, verdict } = asking(directory);
    await clock.advanceAsync(limitMs - 1);
    assert.equal(directory.asked.includes("connect two:389 none"), false);
    await clock.advanceAsync(1);
    assert.deepEqual(await verdict, { kind: "right" });
    assert.deepEqual([clock.timerCount, directory.openCount], [0, 0]);
  });
}

Deno.test("askLdap() ends at once when nobody wants to know any more", async () => {
  const directory = adaDirectory();
  directory.moods.set("one", "silent after connecting");
  const { abort, clock, verdict } = asking(directory);
  await settle();
  assert.equal(directory.openCount, 1);
  abort.abort();
  assert.equal((await verdict).kind, "unavailable");
  assert.deepEqual([clock.timerCount, directory.openCount], [0, 0]);
  assert.equal(directory.asked.includes("connect two:389 none"), false);
});

Deno.test("askLdap() does not hold it against the user when the directory or its searcher is in trouble", async () => {
  const directory = adaDirectory();
  for (const code of [8, 51, 52]) {
    directory.bindResult = code;
    assert.equal((await verdictOf(directory)).kind, "unavailable", String(code));
  }
  directory.bindResult = 0;
  directory.passwords.set("cn=s", "another");
  const verdict = await verdictOf(directory, { text: SEARCH });
  assert.deepEqual(verdict, {
    kind: "unavailable",
    why: ["one", "two"].map((host) =>
      `${host}:389: initial LDAP bind for ldapbinddn "cn=s": InvalidCredentials, result 49`
    ).join("; "),
  });
  for (const code of [10, 19, 32, 34, 53]) {
    directory.bindResult = code;
    assert.equal((await verdictOf(directory)).kind, "wrong", String(code));
  }
});
