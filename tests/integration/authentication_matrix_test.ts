/**
 * Every way to ask a client who it is, with every form in which its secret can be stored, in front of
 * every way in which a server asks: whether the right password leads to the server, and what is said
 * where it does not.
 *
 * Who gets in is as PgBouncer's documentation has it (auth_type, "Authentication file format") and as
 * PgBouncer does it, but for two things. A SCRAM verifier opens the server also after a client has sent
 * its password in clear; and auth_file is read with auth_type any, too. A stored hash is never sent to a
 * server that asks for the password itself.
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { type Postgres, startPostgres } from "../../scripts/postgres_fixture.ts";
import { outcome } from "../support/logins.ts";
import { type SluiceProcess, startSluice } from "../support/pooler_process.ts";
import { isMissing } from "../support/requirements.ts";
import { type ConfigSection, serverOf, tomlConfig } from "../support/toml_config.ts";

const PASSWORD = "s3cret of alice";

/** How a role is asked by the server, and the form of the secret that the server has of it. */
const ASKED = [
  { name: "by_trust", method: "trust", secret: "scram-sha-256" },
  { name: "by_password", method: "password", secret: "scram-sha-256" },
  { name: "by_md5", method: "md5", secret: "md5" },
  { name: "by_md5_scram", method: "md5", secret: "scram-sha-256" },
  { name: "by_scram", method: "scram-sha-256", secret: "scram-sha-256" },
] as const;

/** What `auth_file` has of the user; `foreign` is a verifier of the same password, of another salt. */
const STORED = ["plain", "md5", "scram", "foreign", "empty", "absent"] as const;

type Stored = (typeof STORED)[number];

/** There is a role for every pair. */
function roleOf(stored: Stored, asked: { readonly name: string }): string {
  return `${stored}_${asked.name}`;
}

const ROLES = STORED.flatMap((stored) =>
  ASKED.map((asked) => ({ ...asked, stored, role: roleOf(stored, asked) }))
);

/** What is said, by the word that stands for it below. */
const SAID = {
  in: "in",
  /** The server wants what cannot be made from what is stored. */
  type: "28000 server login failed: wrong password type",
  password: "28P01 password authentication failed",
  sasl: "28P01 SASL authentication failed",
  trust: '28000 "trust" authentication failed',
  /** By "md5" a user without a secret is asked for either, so that nobody learns who has which. */
  either: "28P01 password or SASL authentication failed",
} as const;

type Said = keyof typeof SAID;

type Row = readonly [
  authType: string,
  stored: Stored,
  trust: Said,
  password: Said,
  md5: Said,
  md5Scram: Said,
  scram: Said,
];

/** What comes of it for each way to be asked in turn. */
// deno-fmt-ignore
const MATRIX: readonly Row[] = [
//auth_type        stored     by_trust    by_password by_md5      by_md5_scram by_scram
  ["any",           "plain",   "in",       "in",       "in",       "in",       "in"],
  ["any",           "md5",     "in",       "type",     "in",       "type",     "type"],
  ["any",           "scram",   "in",       "type",     "type",     "type",     "type"],
  ["any",           "foreign", "in",       "type",     "type",     "type",     "type"],
  ["any",           "empty",   "in",       "type",     "type",     "type",     "type"],
  ["any",           "absent",  "in",       "type",     "type",     "type",     "type"],

  ["trust",         "plain",   "in",       "in",       "in",       "in",       "in"],
  ["trust",         "md5",     "in",       "type",     "in",       "type",     "type"],
  ["trust",         "scram",   "in",       "type",     "type",     "type",     "type"],
  ["trust",         "foreign", "in",       "type",     "type",     "type",     "type"],
  ["trust",         "empty",   "in",       "type",     "type",     "type",     "type"],
  ["trust",         "absent",  "trust",    "trust",    "trust",    "trust",    "trust"],

  ["plain",         "plain",   "in",       "in",       "in",       "in",       "in"],
  ["plain",         "md5",     "in",       "type",     "in",       "type",     "type"],
  ["plain",         "scram",   "in",       "type",     "type",     "in",       "in"],
  ["plain",         "foreign", "in",       "type",     "type",     "type",     "type"],
  ["plain",         "empty",   "password", "password", "password", "password", "password"],
  ["plain",         "absent",  "password", "password", "password", "password", "password"],

  ["md5",           "plain",   "in",       "in",       "in",       "in",       "in"],
  ["md5",           "md5",     "in",       "type",     "in",       "type",     "type"],
  ["md5",           "scram",   "in",       "type",     "type",     "in",       "in"],
  ["md5",           "foreign", "in",       "type",     "type",     "type",     "type"],
  ["md5",           "empty",   "either",   "either",   "either",   "either",   "either"],
  ["md5",           "absent",  "either",   "either",   "either",   "either",   "either"],

  ["scram-sha-256", "plain",   "in",       "in",       "in",       "in",       "in"],
  ["scram-sha-256", "md5",     "sasl",     "sasl",     "sasl",     "sasl",     "sasl"],
  ["scram-sha-256", "scram",   "in",       "type",     "type",     "in",       "in"],
  ["scram-sha-256", "foreign", "in",       "type",     "type",     "type",     "type"],
  ["scram-sha-256", "empty",   "sasl",     "sasl",     "sasl",     "sasl",     "sasl"],
  ["scram-sha-256", "absent",  "sasl",     "sasl",     "sasl",     "sasl",     "sasl"],
];

/** A PostgreSQL that has the roles. */
async function startServer(flavour: "debian" | "embedded"): Promise<Postgres> {
  const hba = ROLES.map(({ method, role }) => `host all ${role} all ${method}`);
  const postgres = await startPostgres({ flavour, hba });
  try {
    for (const { role, secret } of ROLES) {
      // PostgreSQL 18 warns of md5.
      await postgres.sql(
        `set client_min_messages = error;
         set password_encryption = '${secret}';
         create role ${role} login password '${PASSWORD}'`,
      );
    }
    return postgres;
  } catch (error) {
    await postgres[Symbol.asyncDispose]();
    throw error;
  }
}

/** The text of an auth_file. */
async function userList(postgres: Postgres): Promise<string> {
  const rows = await postgres.sql("select rolname, rolpassword from pg_authid");
  const kept = new Map(rows.map((row) => [row["rolname"], String(row["rolpassword"])]));
  const foreign = kept.get("absent_by_trust")!;
  const secretOf = ({ role, secret, stored }: (typeof ROLES)[number]): string | undefined => {
    switch (stored) {
      case "plain":
        return PASSWORD;
      case "md5":
        return `md5${createHash("md5").update(PASSWORD + role).digest("hex")}`;
      case "scram":
        // Of a role whose secret is an MD5 hash the server keeps none: any other will do.
        return secret === "md5" ? foreign : kept.get(role);
      case "foreign":
        return foreign;
      case "empty":
        return "";
      case "absent":
        return undefined;
    }
  };
  const lines = ROLES.map((entry) => ({ role: entry.role, secret: secretOf(entry) }))
    .map(({ role, secret }) => secret === undefined ? "" : `"${role}" "${secret}"`);
  return lines.join("\n");
}

/** With auth_type any, each database is for one role; else each role brings its own name. */
async function startPooler(
  postgres: Postgres,
  { authType, users }: { readonly authType: string; readonly users: string },
): Promise<SluiceProcess> {
  const databases = ROLES.map(({ role }) => {
    const forced: ConfigSection = authType === "any" ? { user: role } : {};
    return [role, { ...serverOf(postgres), dbname: "postgres", ...forced }] as const;
  });
  return await startSluice({
    config: tomlConfig({
      pooler: { auth_type: authType, auth_file: "{dir}/users.txt" },
      databases: Object.fromEntries(databases),
    }),
    files: { "users.txt": users },
  });
}

for (const [flavour, version] of [["debian", 15], ["embedded", 18]] as const) {
  Deno.test({
    name:
      `who is let in to PostgreSQL ${version}, by auth_type, stored secret and the server's method`,
    ignore: flavour === "debian" && isMissing("postgresql-15"),
    async fn() {
      await using postgres = await startServer(flavour);
      const users = await userList(postgres);
      for (const authType of new Set(MATRIX.map(([authType]) => authType))) {
        await using sluice = await startPooler(postgres, { authType, users });
        for (const [, stored, ...expected] of MATRIX.filter((row) => row[0] === authType)) {
          const found = await Promise.all(ASKED.map(async (asked, at) => {
            const role = roleOf(stored, asked);
            const user = authType === "any" ? "anybody" : role;
            const to = { port: sluice.port, user, database: role, password: PASSWORD };
            const answer = await outcome(to, "select current_user::text");
            if (answer === role) return "in";
            const isEither = expected[at] === "either" &&
              (answer === SAID.password || answer === SAID.sasl);
            return isEither ? SAID.either : answer;
          }));
          const told = expected.map((said) => SAID[said]);
          assert.deepEqual(found, told, `auth_type ${authType}, stored: ${stored}`);
        }
      }
    },
  });
}
