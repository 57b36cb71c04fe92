/** Logins by PAM, against the system's own modules. */

import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { outcome } from "../support/logins.ts";
import { startSluice } from "../support/pooler_process.ts";
import { isMissing } from "../support/requirements.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { serverOf, tomlConfig } from "../support/toml_config.ts";
import { makeServices, PASSWORD, SERVICES } from "./support/pam_services.ts";

const ignore = isMissing("pam.d");

const FAILED = "28000 PAM authentication failed";
const NOT_NOW = "08006 authentication is not available now";

const shared = sharedPostgres({
  isWanted: !ignore,
  hba: ["host all ada all password"],
  prepare: async (postgres) => {
    await postgres.sql(`create role ada login password '${PASSWORD}'`);
  },
});

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
