/** HBA rules and peer as an operator meets them: start, RELOAD, `sluice check`, `sluice hba`. */

import assert from "node:assert/strict";
import { freePort } from "../../scripts/postgres_fixture.ts";
import { ProcessLibc } from "../../src/net/native/process_libc.ts";
import { eventually } from "../support/eventually.ts";
import { outcome } from "../support/logins.ts";
import { runSluice, startSluice } from "../support/pooler_process.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { SluiceFolder } from "../support/sluice_command.ts";
import { configFor, tomlConfig } from "../support/toml_config.ts";

const shared = sharedPostgres();

const POOLER = { auth_type: "hba", auth_hba_file: "{dir}/hba.conf" };

Deno.test("a bad line of auth_hba_file keeps Sluice from starting, and each is named", async () => {
  const files = {
    "hba.conf": "local all all trust\nlocal all all radius\nhost all +x all trust\n",
  };
  const { code, stderr } = await runSluice({ config: tomlConfig({ pooler: POOLER }), files });
  assert.equal(code, 2);
  assert.match(
    stderr,
    /^[^\n]*hba\.conf:2: Method "radius" [^\n]*\n[^\n]*hba\.conf:3: "\+x" [^\n]*\n$/,
  );
});

Deno.test("RELOAD takes new HBA rules over, and with a bad line changes nothing", async () => {
  const postgres = shared.get();
  await using sluice = await startSluice({
    config: configFor(postgres, { pooler: POOLER }),
    files: { "hba.conf": "host all postgres 127.0.0.1/32 trust\n" },
  });
  const path = `${sluice.dir}/hba.conf`;
  const login = () => outcome({ port: sluice.port, user: postgres.superuser });
  const reload = async (text: string, logged: RegExp) => {
    await Deno.writeTextFile(path, text);
    sluice.signal("SIGHUP");
    await eventually(String(logged), () => logged.test(sluice.log()));
  };
  assert.equal(await login(), "in");
  await reload("host all all all rejekt\n", /reload failed, nothing has been changed/);
  assert.match(sluice.log(), /ERROR [^\n]*hba\.conf:1: Invalid authentication method "rejekt"/);
  assert.equal(await login(), "in");
  await reload("host all all all reject\n", /configuration reloaded/);
  assert.equal(await login(), "28000 login rejected");
  assert.match(sluice.log(), /hba: rejected by line 1 of [^\n]*hba\.conf/);
});

Deno.test("sluice hba says which line decides, and by its status whether anybody is asked", async () => {
  await using folder = await SluiceFolder.make({
    "c.toml": tomlConfig({ pooler: POOLER }),
    "hba.conf": "local all all trust\nhost app all 10.0.0.0/8 md5\nhost all all all reject\n",
    "none.toml": tomlConfig({}),
    "other.toml": tomlConfig({ pooler: { ...POOLER, auth_type: "md5" } }),
  });
  const ask = (config: string, ...more: string[]) =>
    folder.run(["hba", config, "--user=ada", "--database=app", ...more]);
  const asked = await ask("c.toml", "--address=10.9.9.9");
  assert.deepEqual([asked.code, asked.stderr], [0, ""]);
  assert.match(asked.stdout, /hba\.conf:1: local all all trust\n {2}does not match: /);
  assert.match(asked.stdout, /\nmethod md5, by [^\n]*hba\.conf:2\n$/);
  const rejected = await ask("c.toml", "--address=11.9.9.9");
  assert.deepEqual([rejected.code, rejected.stderr], [1, ""]);
  assert.match(rejected.stdout, /\nrejected, by [^\n]*hba\.conf:3\n$/);
  const replicating = await ask("c.toml", "--replication");
  assert.deepEqual([replicating.code, replicating.stdout.endsWith("no line matches\n")], [1, true]);
  assert.match((await ask("none.toml")).stderr, /auth_hba_file is not set/);
  assert.match((await ask("other.toml")).stdout, /auth_type is md5: these rules are not in force/);
});

Deno.test("auth_type peer lets in whom the system says is behind the unix socket", async () => {
  using libc = ProcessLibc.open();
  const me = await libc.userName(Deno.uid()!);
  assert.ok(me);
  const postgres = shared.get();
  const port = freePort();
  await using sluice = await startSluice({
    config: configFor(postgres, {
      pooler: { auth_type: "peer", unix_socket_dir: "{dir}", listen_port: port },
      databases: {
        "*": {
          host: postgres.host,
          port: postgres.port,
          dbname: "postgres",
          user: postgres.superuser,
          password: postgres.password,
        },
      },
      users: { [me]: { password: "x" }, other: { password: "x" } },
    }),
  });
  const login = (user: string, host: string) => outcome({ host, port, user, password: "x" });
  const rejected = "28000 unix socket login rejected";
  assert.equal(await login(me, sluice.dir), "in");
  assert.equal(await login("other", sluice.dir), rejected);
  assert.equal(await login(me, "127.0.0.1"), rejected);
});

Deno.test("ProcessLibc names the users of the system, and nobody for a number without one", async () => {
  using libc = ProcessLibc.open();
  assert.equal(await libc.userName(0), "root");
  assert.equal(await libc.userName(4_000_000_123), undefined);
});
