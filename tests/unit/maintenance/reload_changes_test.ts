import assert from "node:assert/strict";
import { Secret } from "../../../src/base/secret.ts";
import { reloadChanges } from "../../../src/maintenance/reload_changes.ts";
import { loadToml } from "../config/memory_files.ts";

type Users = Readonly<Record<string, string>>;

async function loaded(toml: string, users: Users = {}) {
  const userList = new Map(
    Object.entries(users).map(([name, secret]) => [name, new Secret(secret)]),
  );
  return { config: await loadToml(toml), userList };
}

/** Each change as one line. */
async function changes(
  [before, usersBefore]: readonly [string, Users?],
  [after, usersAfter]: readonly [string, Users?],
): Promise<string[]> {
  const found = reloadChanges(
    await loaded(before, usersBefore),
    await loaded(after, usersAfter),
  );
  return found.map(({ after, before, effect, kind, name }) =>
    `${kind} ${name}: ${before} -> ${after} [${effect}]`
  );
}

const HOST = 'host = "a.example"';

Deno.test("reloadChanges() finds nothing where nothing has changed", async () => {
  const toml = `[pooler]\nquery_timeout = 3\n[databases.app]\n${HOST}\npassword = "p"\n` +
    '[users.ada]\npassword = "q"\npool_size = 2\n';
  assert.deepEqual(await changes([toml, { bob: "x" }], [toml, { bob: "x" }]), []);
});

Deno.test("reloadChanges() shows settings as SHOW CONFIG does, and which need a restart", async () => {
  const before = "[pooler]\nquery_timeout = 3\nlisten_port = 7000\n";
  const after = '[pooler]\nlisten_port = 7001\npool_mode = "transaction"\n';
  assert.deepEqual(await changes([before], [after]), [
    "setting listen_port: 7000 -> 7001 [needs a restart]",
    "setting pool_mode: session -> transaction [at once]",
    "setting query_timeout: 3 -> 0 [at once]",
  ]);
});

Deno.test("reloadChanges() says what becomes of the servers and clients of a database", async () => {
  const before =
    `[databases.gone]\n${HOST}\n[databases.moved]\n${HOST}\n[databases.sized]\n${HOST}\n`;
  const after = `[databases.moved]\n${HOST}\nport = 5433\n[databases.sized]\n${HOST}\n` +
    `pool_size = 7\nconnect_query = "set x = 'y'"\n[databases.fresh]\n${HOST}\ntimezone = "UTC"\n`;
  assert.deepEqual(await changes([before], [after]), [
    "database gone: host=a.example -> undefined [clients are closed]",
    "database moved: host=a.example -> host=a.example port=5433 [servers are recycled]",
    "database sized: host=a.example -> host=a.example pool_size=7 " +
    "connect_query='set x = \\'y\\'' [servers are recycled]",
    "database fresh: undefined -> host=a.example timezone=UTC [at once]",
  ]);
  const sized = `[databases.app]\n${HOST}\npool_size = 7\n`;
  assert.deepEqual(await changes([`[databases.app]\n${HOST}\n`], [sized]), [
    "database app: host=a.example -> host=a.example pool_size=7 [at once]",
  ]);
});

Deno.test("reloadChanges() sees what * stands for when an entry comes or goes", async () => {
  const star = `[databases."*"]\n${HOST}\n`;
  const same = `${star}[databases.app]\n${HOST}\n`;
  const other = `${star}[databases.app]\nhost = "b.example"\n`;
  const effect = async (before: string, after: string) =>
    (await changes([before], [after])).map((line) => /\[(.*)\]$/.exec(line)![1]);
  assert.deepEqual(await effect(star, same), ["at once"]);
  assert.deepEqual(await effect(star, other), ["servers are recycled"]);
  assert.deepEqual(await effect(other, star), ["servers are recycled"]);
});

Deno.test("reloadChanges() never shows a secret, and says which has changed", async () => {
  const database = (password: string) =>
    `[databases.app]\n${HOST}\nuser = "u"\npassword = "${password}"\n`;
  const user = (password: string) => `[users.ada]\npassword = "${password}"\npool_size = 3\n`;
  const found = await changes(
    [database("one") + user("two"), { bob: "three", old: "four", same: "five" }],
    [database("longer one") + user("another"), { bob: "six", fresh: "seven", same: "five" }],
  );
  assert.deepEqual(found, [
    "database app: host=a.example user=u password=*** -> " +
    "host=a.example user=u password=*** (changed) [servers are recycled]",
    "user ada: password=*** pool_size=3 -> password=*** (changed) pool_size=3 [at once]",
    "auth_file bob: *** -> *** (changed) [at once]",
    "auth_file old: *** -> undefined [at once]",
    "auth_file fresh: undefined -> *** [at once]",
  ]);
});
