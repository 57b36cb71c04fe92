/** Secrets appear in nothing that anybody can read: log, console, errors. */

import assert from "node:assert/strict";
import { PoolerWorld } from "../../support/pooler_world.ts";
import { LoginRefused } from "../../support/test_client.ts";

const SECRETS = [
  "plain-s3cret",
  "forced-s3cret",
  "typed-s3cret",
  "5ebe2294ecd0e0f08eab7690d2a6ee69",
];

const SECTIONS = `
[databases."*"]
host = "127.0.0.1"
[databases.forced]
host = "127.0.0.1"
user = "bob"
password = "forced-s3cret"
[users.ada]
password = "plain-s3cret"
[users.eve]
password = "md55ebe2294ecd0e0f08eab7690d2a6ee69"
`;

const SHOWS = [
  ...["config", "databases", "users", "pools", "servers", "clients", "sockets", "active_sockets"],
  ...["lists", "mem", "stats", "totals", "state", "version", "peers", "prepared", "help"],
];

Deno.test("secrets are neither in the log nor in the console nor in errors", async () => {
  const pooler = 'auth_type = "plain"\nadmin_users = "ada"';
  await using world = await PoolerWorld.open({ pooler, sections: SECTIONS });
  const texts: string[] = [];
  const attempts = [["ada", "typed-s3cret"], ["eve", "typed-s3cret"], ["nobody", "typed-s3cret"]];
  for (const [user = "", password = ""] of attempts) {
    const client = await world.connect();
    await assert.rejects(client.login({ user, password, database: "app" }), (error) => {
      texts.push(JSON.stringify(error), String(error));
      return error instanceof LoginRefused;
    });
    client.close();
  }
  const console = await world.login({ database: "pgbouncer", password: "plain-s3cret" });
  const forced = await world.login({ database: "forced", password: "plain-s3cret" });
  for (const what of SHOWS) {
    const result = await console.query(`show ${what}`);
    assert.deepEqual(result.errors, [], what);
    texts.push(JSON.stringify([result.rows, result.notices.map((notice) => notice.message)]));
  }
  texts.push(JSON.stringify((await console.query("reload dry")).rows));
  assert.ok(texts.length > attempts.length * 2 && world.log.length > 5);
  for (const text of [...texts, ...world.log]) {
    for (const secret of SECRETS) assert.equal(text.includes(secret), false, text);
  }
  for (const client of [console, forced]) client.close();
});
