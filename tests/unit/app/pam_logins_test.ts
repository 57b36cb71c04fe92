/** What a login meets by auth_type pam and lines with that method. */

import assert from "node:assert/strict";
import type { AskPam, PamQuestion } from "../../../src/app/ask_outside.ts";
import { PoolerWorld, type WorldOptions } from "../../support/pooler_world.ts";

const FAILED = "FATAL 28000: PAM authentication failed";

/** A PAM that knows one password, and all that it was asked. */
function fakePam(delayMs?: number): { asked: PamQuestion[]; askPam: AskPam } {
  const asked: PamQuestion[] = [];
  const askPam: AskPam = (question) => {
    asked.push(question);
    return Promise.resolve(
      question.password === "typed" ? { kind: "right" } : {
        kind: "wrong",
        why: "Authentication failure",
        ...(delayMs === undefined ? {} : { delayMs }),
      },
    );
  };
  return { asked, askPam };
}

function worldWith(options: WorldOptions): Promise<PoolerWorld> {
  return PoolerWorld.open({ pooler: 'auth_type = "pam"', ...options });
}

Deno.test("by pam whom PAM lets in gets in, known here or not, and its servers by what it typed", async () => {
  const { asked, askPam } = fakePam();
  await using world = await worldWith({
    askPam,
    postgres: { auth: "scram-sha-256", users: { eve: "typed", ada: "typed" } },
  });
  assert.equal(await world.outcome({ user: "eve", password: "typed" }), "in");
  assert.equal(await world.outcome({ user: "ada", password: "typed" }), "in");
  assert.equal(await world.outcome({ user: "ada", password: "secret" }), FAILED);
  assert.deepEqual(asked[0], {
    user: "eve",
    password: "typed",
    host: "127.0.0.1",
    service: "pgbouncer",
  });
  assert.ok(world.hasLogged("PAM authentication failed (Authentication failure)"));
});

Deno.test("by pam nobody is looked up by auth_query", async () => {
  const { askPam } = fakePam();
  await using world = await worldWith({ askPam, pooler: 'auth_type = "pam"\nauth_user = "bob"' });
  assert.equal(await world.outcome({ user: "eve", password: "typed" }), "in");
  assert.deepEqual(world.pooler.pools.lookUpPools(), []);
});

Deno.test("by pam the service is asked that the line names", async () => {
  const { asked, askPam } = fakePam();
  await using world = await worldWith({
    askPam,
    pooler: 'auth_type = "hba"\nauth_hba_file = "hba.conf"',
    files: { "hba.conf": "host app all all pam pamservice=db\nhost all all all pam\n" },
  });
  assert.equal(await world.outcome({ password: "typed" }), "in");
  assert.equal(await world.outcome({ password: "typed", database: "other" }), "in");
  assert.deepEqual(asked.map(({ service }) => service), ["db", "pgbouncer"]);
});

Deno.test("a refusal is kept back as long as PAM wants, and nobody else with it", async () => {
  const { askPam } = fakePam(2_000);
  await using world = await worldWith({ askPam });
  const clients = [];
  for (let i = 0; i < 6; i += 1) clients.push(await world.connect());
  const told: string[] = [];
  const refused = clients.map(async (client) => {
    told.push(await client.outcome({ user: "ada", database: "app", password: "wrong" }));
  });
  await world.advance(1_900);
  assert.equal(await world.outcome({ password: "typed" }), "in");
  assert.deepEqual(told, []);
  await world.advance(200);
  await Promise.all(refused);
  assert.deepEqual(told, clients.map(() => FAILED));
});

Deno.test("who leaves while a refusal is kept back leaves nothing behind", async () => {
  const { askPam } = fakePam(2_000);
  await using world = await worldWith({ askPam });
  const client = await world.connect();
  const login = assert.rejects(client.outcome({ user: "ada", database: "app", password: "wrong" }));
  await world.settle();
  assert.equal(world.pooler.clients.count, 1);
  client.close();
  await login;
  await world.settle();
  assert.equal(world.pooler.clients.count, 0);
});

Deno.test("without PAM nobody gets in by it", async () => {
  await using world = await worldWith({});
  assert.equal(
    await world.outcome({ password: "typed" }),
    "FATAL 08006: authentication is not available now",
  );
  assert.ok(world.hasLogged("pam: there is no PAM here"));
});
