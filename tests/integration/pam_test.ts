/**
 * Logins by PAM, against the system's own modules. Services are files in `/etc/pam.d`, which go away
 * with the tests; `pam_exec` stands for a module that asks for the password.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { PamHelpers } from "../../src/app/pam_helpers.ts";
import { systemClock } from "../../src/base/clock.ts";
import { systemRandom } from "../../src/base/random.ts";
import { eventually } from "../support/eventually.ts";
import { outcome } from "../support/logins.ts";
import { startSluice } from "../support/pooler_process.ts";
import { isMissing } from "../support/requirements.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { serverOf, tomlConfig } from "../support/toml_config.ts";

const ignore = isMissing("pam.d");

const PASSWORD = "s3cret of ada ä";

const FAILED = "28000 PAM authentication failed";
const NOT_NOW = "08006 authentication is not available now";

/** What `pam_exec` runs, by the name of the service; PAM ends the password with a zero byte. */
const SCRIPTS: Readonly<Record<string, string>> = {
  asks:
    `test "$PAM_SERVICE/$PAM_USER/$PAM_RHOST/$(tr -d '\\0')" = "{service}/ada/127.0.0.1/${PASSWORD}"`,
  stuck: "exec sleep 2",
  breaks: "kill -KILL $PPID",
  prints: `echo '{"token":"","delayMs":0}' >/proc/$PPID/fd/1; exit 1`,
  mumbles: "printf 'last login: today' >/proc/$PPID/fd/1",
};

/** Lines of the services. */
const SERVICES: Readonly<Record<string, readonly string[]>> = {
  permits: ["auth required pam_permit.so", "account required pam_permit.so"],
  denies: ["auth required pam_deny.so", "account required pam_permit.so"],
  expired: ["auth required pam_permit.so", "account required pam_deny.so"],
  unix: ["auth required pam_unix.so", "account required pam_unix.so"],
  ...Object.fromEntries(
    Object.keys(SCRIPTS).map((name) => [name, [
      `auth required pam_exec.so quiet expose_authtok {dir}/${name}`,
      "account required pam_permit.so",
    ]]),
  ),
};

const shared = sharedPostgres({
  isWanted: !ignore,
  hba: ["host all ada all password"],
  prepare: async (postgres) => {
    await postgres.sql(`create role ada login password '${PASSWORD}'`);
  },
});

/** Services that are there until they are disposed of: their names, by those above. */
async function makeServices(): Promise<
  AsyncDisposable & { readonly of: (name: string) => string }
> {
  await using made = new AsyncDisposableStack();
  const dir = await Deno.makeTempDir({ prefix: "sluice-pam-" });
  made.defer(() => Deno.remove(dir, { recursive: true }));
  await Deno.chmod(dir, 0o755);
  const of = (name: string) => `sluice-test-${Deno.pid}-${name}`;
  for (const [name, lines] of Object.entries(SERVICES)) {
    const path = join("/etc/pam.d", of(name));
    await Deno.writeTextFile(path, `${lines.join("\n").replaceAll("{dir}", dir)}\n`);
    made.defer(() => Deno.remove(path));
  }
  for (const [name, script] of Object.entries(SCRIPTS)) {
    const text = `#!/bin/sh\n${script.replaceAll("{service}", of(name))}\n`;
    await Deno.writeTextFile(join(dir, name), text, { mode: 0o755 });
  }
  const all = made.move();
  return { of, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

const CASES:
  readonly (readonly [database: string, user: string, password: string, said: string])[] = [
    ["permits", "whoever", "anything", "in"],
    ["permits", "whoever", "", "28P01 empty password returned by client"],
    ["denies", "ada", PASSWORD, FAILED],
    ["expired", "ada", PASSWORD, FAILED],
    ["unix", "nobody", "x", FAILED],
    ["unix", "no such user", "x", FAILED],
    ["nowhere", "ada", PASSWORD, FAILED], // the service "other" denies
    ["asks", "ada", "wrong", FAILED],
    ["asks", "ada", "x".repeat(600), FAILED],
    ["asks", "eve", PASSWORD, FAILED],
    ["breaks", "ada", PASSWORD, NOT_NOW],
    ["prints", "ada", PASSWORD, FAILED], // what a module says is not what PAM says
    ["mumbles", "ada", PASSWORD, "in"],
    ["asks", "ada", PASSWORD, "in"],
    ["typed", "ada", PASSWORD, "in"], // PostgreSQL asks for the password itself
  ];

Deno.test({
  name: "a login by PAM is what its modules make of it, and none of them holds up another",
  ignore,
  async fn(t) {
    const postgres = shared.get();
    await using services = await makeServices();
    const { password, superuser } = postgres;
    const forced = { ...serverOf(postgres), dbname: "postgres", user: superuser, password };
    const names = [...Object.keys(SERVICES), "nowhere"];
    const lines = names.map((name) => `host ${name} all all pam pamservice=${services.of(name)}\n`);
    await using sluice = await startSluice({
      config: tomlConfig({
        pooler: { auth_type: "hba", auth_hba_file: "{dir}/hba.conf" },
        databases: { "*": forced, typed: { ...serverOf(postgres), dbname: "postgres" } },
      }),
      files: {
        "hba.conf": `${lines.join("")}host typed all all pam pamservice=${services.of("asks")}\n`,
      },
    });
    const { port } = sluice;
    const stuck = outcome({ port, database: "stuck", user: "ada", password: PASSWORD });
    // All at once, by four helpers: those that are refused take the time that PAM wants for that.
    const said = CASES.map(([database, user, password]) =>
      outcome({ port, database, user, password })
    );
    for (const [i, [database, user, password, expected]] of CASES.entries()) {
      const name = `${database} as ${user} with ${password.slice(0, 20)}: ${expected}`;
      await t.step(name, async () => assert.equal(await said[i], expected));
    }
    assert.equal(await stuck, "in");
    assert.equal(sluice.log().includes(PASSWORD), false);
    assert.match(sluice.log(), /pam: the helper has ended/);
    assert.equal(/internal error/.test(sluice.log()), false);
  },
});

Deno.test({
  name: "a helper that is ended leaves no descriptor open",
  ignore,
  async fn() {
    await using services = await makeServices();
    using helpers = new PamHelpers({ clock: systemClock(), random: systemRandom() });
    const openCount = () => [...Deno.readDirSync("/proc/self/fd")].length;
    const endOne = async () => {
      const ended = new AbortController();
      const question = { user: "ada", password: PASSWORD, host: undefined };
      const asked = helpers.ask({ ...question, service: services.of("stuck") }, ended.signal);
      ended.abort(new Error("nobody waits"));
      assert.deepEqual(await asked, { kind: "unavailable", why: "nobody waits" });
    };
    // What the runtime needs for processes stays open.
    await endOne();
    const before = openCount();
    for (let i = 0; i < 5; i++) await endOne();
    await eventually("all descriptors are closed", () => openCount() <= before);
  },
});

Deno.test({
  name: "a pooler ends although a module of PAM does not",
  ignore,
  async fn() {
    const postgres = shared.get();
    await using services = await makeServices();
    await using sluice = await startSluice({
      config: tomlConfig({
        pooler: { auth_type: "hba", auth_hba_file: "{dir}/hba.conf" },
        databases: { "*": serverOf(postgres) },
      }),
      files: { "hba.conf": `host all all all pam pamservice=${services.of("stuck")}\n` },
    });
    const { port } = sluice;
    const login = outcome({ port, user: "ada", password: PASSWORD });
    await eventually("somebody logs in", () => sluice.log().includes("login attempt"));
    await sluice.stop("SIGQUIT");
    assert.match(String(await login), /57P01|terminated|ended/);
  },
});
