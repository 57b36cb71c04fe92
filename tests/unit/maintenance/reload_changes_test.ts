import assert from "node:assert/strict";
import { Secret } from "../../../src/base/secret.ts";
import { reloadChanges } from "../../../src/maintenance/reload_changes.ts";
import { loadToml } from "../config/memory_files.ts";

const HOST = 'host = "127.0.0.1"';

/** The changes as lines, from one configuration to another. */
async function changes(
  before: string,
  after: string,
  [oldList, newList]: readonly Record<string, string>[] = [{}, {}],
): Promise<string[]> {
  const contents = async (toml: string, list: Record<string, string> = {}) => ({
    config: await loadToml(toml),
    userList: new Map(Object.entries(list).map(([name, text]) => [name, new Secret(text)])),
  });
  return reloadChanges(await contents(before, oldList), await contents(after, newList))
    .map(({ after, before, effect, kind, name }) =>
      `${kind} ${name}: ${before ?? "-"} -> ${after ?? "-"}: ${effect}`
    );
}

function app(lines: string): string {
  return `[databases.app]\n${lines}\n`;
}

Deno.test("reloadChanges() is empty where nothing has changed", async () => {
  const all = `[pooler]\npidfile = "x"\n${app(HOST)}[users.ada]\npassword = "p"\n`;
  assert.deepEqual(await changes(all, all, [{ bob: "s" }, { bob: "s" }]), []);
});

Deno.test("reloadChanges() looks at nothing that was not read again, such as thousands of databases", async () => {
  const config = await loadToml(app(HOST));
  const [entry] = config.databases.values();
  const unread = new Proxy(entry!, { ownKeys: () => assert.fail("it is described") });
  const [before, after] = ["old", "new"].map((secret) => ({
    config: { ...config, databases: new Map([["app", unread]]) },
    userList: new Map([["bob", new Secret(secret)]]),
  }));
  assert.deepEqual(reloadChanges(before!, after!).map(({ kind, name }) => `${kind} ${name}`), [
    "auth_file bob",
  ]);
});

Deno.test("reloadChanges() has settings as SHOW CONFIG prints them, and when they take effect", async () => {
  assert.deepEqual(
    await changes(
      "[pooler]\nquery_timeout = 7\nlisten_port = 6432\n",
      '[pooler]\nlisten_port = 7000\nlogfile = "a.log"\nserver_check_query = ""\n',
    ),
    [
      "setting listen_port: 6432 -> 7000: needs a restart",
      "setting logfile:  -> a.log: at once",
      "setting query_timeout: 7 -> 0: at once",
      "setting server_check_query: <empty> -> : at once",
    ],
  );
});

Deno.test("reloadChanges() tells that a password inside a setting has changed, and not what it is", async () => {
  const options = (password: string) =>
    `[pooler]\nauth_ldap_options = "ldapserver=x ldapbinddn=y ldapbindpasswd=${password}"\n`;
  const shown = "ldapserver=x ldapbinddn=y ldapbindpasswd=***";
  assert.deepEqual(
    await changes(options("one"), options("two")),
    [`setting auth_ldap_options: ${shown} -> ${shown} (changed): at once`],
  );
  assert.deepEqual(await changes(options("one"), options("one")), []);
});

Deno.test("reloadChanges() says what becomes of the servers and clients of a database", async () => {
  assert.deepEqual(
    await changes(
      `${
        app(HOST)
      }[databases.gone]\n${HOST}\n[databases.same]\n${HOST}\n[databases.user]\n${HOST}\n`,
      `${app(`${HOST}\nport = 5433`)}[databases.new]\n${HOST}\n[databases.same]\n${HOST}
pool_size = 3\n[databases.user]\n${HOST}\nuser = "u"\n`,
    ),
    [
      "database app: host=127.0.0.1 -> host=127.0.0.1 port=5433: servers are recycled",
      "database gone: host=127.0.0.1 -> -: clients are closed",
      "database new: - -> host=127.0.0.1: at once",
      "database same: host=127.0.0.1 -> host=127.0.0.1 pool_size=3: at once",
      "database user: host=127.0.0.1 -> host=127.0.0.1 user=u: clients are closed",
    ],
  );
});

Deno.test("reloadChanges() says that servers go with what is said of TLS", async () => {
  assert.deepEqual(
    await changes(
      app(HOST),
      `[pooler]\nserver_channel_binding = "disable"\nserver_tls_sslmode = "require"\n${app(HOST)}`,
    ),
    [
      "setting server_channel_binding: prefer -> disable: servers are recycled",
      "setting server_tls_sslmode: prefer -> require: servers are recycled",
    ],
  );
  const own = (line: string) => changes(app(HOST), app(`${HOST}\n${line}`));
  assert.match((await own('server_tls_sslmode = "require"'))[0]!, /servers are recycled$/);
  assert.match((await own('server_channel_binding = "require"'))[0]!, /servers are recycled$/);
  assert.match((await own('server_tls_sslmode = "prefer"'))[0]!, /at once$/);
});

Deno.test("reloadChanges() takes * for what a name without an entry has", async () => {
  const star = (port: number) => `[databases."*"]\n${HOST}\nport = ${port}\n`;
  const same = `host=127.0.0.1 -> -`;
  assert.deepEqual(await changes(star(5432) + app(HOST), star(5432)), [
    `database app: ${same}: at once`,
  ]);
  assert.deepEqual(await changes(star(5433) + app(HOST), star(5433)), [
    `database app: ${same}: servers are recycled`,
  ]);
});

Deno.test("reloadChanges() shows that a secret has changed, and no secret", async () => {
  const toml = (password: string) =>
    `${
      app(`${HOST}\nuser = "u"\npassword = "${password}"`)
    }[users.ada]\npassword = "${password}"\n`;
  const lines = await changes(toml("one"), toml("two"), [
    { bob: "one", cy: "one", eve: "one" },
    { bob: "two", cy: "one", dan: "two" },
  ]);
  const database = "host=127.0.0.1 user=u password=***";
  assert.deepEqual(lines, [
    `database app: ${database} -> ${database} (changed): servers are recycled`,
    "user ada: password=*** -> password=*** (changed): at once",
    "auth_file bob: *** -> *** (changed): at once",
    "auth_file dan: - -> ***: at once",
    "auth_file eve: *** -> -: at once",
  ]);
});

Deno.test("reloadChanges() keeps an entry on one line, whatever is in it", async () => {
  assert.deepEqual(
    await changes(app(HOST), app(`${HOST}\nconnect_query = "select 'a'\\nb"\ntimezone = "UTC"`)),
    [
      "database app: host=127.0.0.1 -> host=127.0.0.1 connect_query='select \\'a\\'\\nb' " +
      "timezone=UTC: servers are recycled",
    ],
  );
});

Deno.test("reloadChanges() says that rules have changed, and how many lines there are", async () => {
  const config = await loadToml("[pooler]\n");
  const contents = (hbaTexts: readonly string[], identTexts: readonly string[] = []) => ({
    config,
    userList: new Map<string, Secret>(),
    rules: { hbaTexts, identTexts },
  });
  const before = contents(["local all all trust", "host all all all md5"]);
  assert.deepEqual(reloadChanges(before, contents([...before.rules.hbaTexts])), []);
  const after = contents(["host all all all md5", "local all all trust"], ["m a b"]);
  assert.deepEqual(reloadChanges(before, after), [
    {
      kind: "rules",
      name: "auth_hba_file",
      before: "2 lines",
      after: "2 lines (changed)",
      effect: "at once",
    },
    {
      kind: "rules",
      name: "auth_ident_file",
      before: "0 lines",
      after: "1 line (changed)",
      effect: "at once",
    },
  ]);
});

Deno.test("reloadChanges() has physical servers, whose limits are in force at once", async () => {
  const server = (name: string, lines: string) => `[servers.${name}]\nhost = "db"\n${lines}\n`;
  assert.deepEqual(
    await changes(
      server("main", "max_connections = 9") + server("gone", "port = 1"),
      server("main", "max_connections = 5"),
    ),
    [
      "server gone: host=db port=1 -> -: at once",
      "server main: host=db max_connections=9 -> host=db max_connections=5: at once",
    ],
  );
});
