/** What stands in the log, and what must never stand there. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { eventually } from "../support/eventually.ts";
import { logIn, type LoginTarget, outcome } from "../support/logins.ts";
import { frontend } from "../support/messages.ts";
import { type SluiceProcess, startSluice } from "../support/pooler_process.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { TestClient } from "../support/test_client.ts";
import { configFor, type ConfigSection, serverOf } from "../support/toml_config.ts";

const shared = sharedPostgres({
  async prepare(postgres) {
    await postgres.sql("create role verified login password 'scram-secret'");
  },
});

async function start(pooler: ConfigSection = {}): Promise<SluiceProcess> {
  return await startSluice({ config: configFor(shared.get(), { pooler }) });
}

function target({ port }: SluiceProcess, user = "postgres"): LoginTarget {
  return { port, user };
}

/** One line as it has to be. */
const LINE =
  /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC \[(\d+)\] (FATAL|ERROR|WARNING|LOG|DEBUG|NOISE) \S.*$/;

function lines(log: string): string[] {
  assert.ok(log.endsWith("\n"));
  return log.slice(0, -1).split("\n");
}

Deno.test("every line has time, process id and level", async () => {
  await using sluice = await start({ stats_period: 0.3, verbose: 2, server_idle_timeout: 0.3 });
  assert.equal(await outcome(target(sluice)), "in");
  await outcome(target(sluice, "nobody"));
  sluice.signal("SIGHUP");
  await sluice.waitForLog(/configuration reloaded/);
  await sluice.waitForLog(/S-0x.*closing because/);
  await sluice.waitForLog(/ stats: /);
  await sluice.stop("SIGTERM");
  for (const line of lines(sluice.log())) {
    assert.equal(LINE.exec(line)?.[1], String(sluice.pid), line);
  }
  const [first = "", last = ""] = [lines(sluice.log())[0], lines(sluice.log()).at(-1)];
  const at = (line: string) => Date.parse(`${line.slice(0, 23).replace(" ", "T")}Z`);
  assert.ok(Math.abs(Date.now() - at(last)) < 60_000, "times are UTC");
  assert.ok(at(first) <= at(last));
});

Deno.test("a client's login and end have a line each, with its name, number, reason and age", async () => {
  await using sluice = await start({ client_idle_timeout: 1.1 });
  const { host, port } = { host: "127.0.0.1", port: sluice.port };
  const client = await TestClient.connect({ hostname: host, port });
  await client.login({ user: "postgres", database: "template1" });
  await client.result();
  client.close();
  assert.equal(await outcome(target(sluice)), "in");
  const label = "(C-0x[0-9a-f]{12}): template1/postgres@127\\.0\\.0\\.1:(\\d+)";
  const opened = await sluice.waitForLog(
    new RegExp(` LOG ${label} login attempt: db=template1 user=postgres tls=no replication=no\n`),
  );
  const closed = await sluice.waitForLog(
    new RegExp(` LOG ${label} closing because: client_idle_timeout \\(age=1s\\)\n`),
  );
  assert.deepEqual(closed.slice(1), opened.slice(1), "the same client");
  const warned = await sluice.waitForLog(
    new RegExp(` WARNING ${label} pooler error: client_idle_timeout\n`),
  );
  assert.deepEqual(warned.slice(1), opened.slice(1));
  const other = await sluice.waitForLog(
    / LOG (C-0x[0-9a-f]{12}): postgres\/postgres@127\.0\.0\.1:\d+ closing because: client close request \(age=0s\)\n/,
  );
  assert.notEqual(other[1], opened[1], "each has a number of its own");
});

Deno.test("a client that vanishes, and one that is refused, have their lines too", async () => {
  await using sluice = await start({ auth_type: "scram-sha-256" });
  const client = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
  await client.send(frontend.startup({ user: "postgres" }));
  await client.receive();
  client.close();
  await sluice.waitForLog(
    /postgres\/postgres@\S+ closing because: client unexpected eof \(age=0s\)/,
  );
  await outcome({ ...target(sluice, "eve"), password: "wrong" });
  await sluice.waitForLog(
    / WARNING C-0x.* postgres\/eve@\S+ pooler error: SASL authentication failed/,
  );
  await sluice.waitForLog(
    / LOG C-0x.* postgres\/eve@\S+ closing because: SASL authentication failed/,
  );
});

Deno.test("an attempt to log in is logged, whatever comes of it", async () => {
  await using sluice = await start({ auth_type: "scram-sha-256" });
  await outcome({ ...target(sluice, "eve"), password: "wrong" });
  await sluice.waitForLog(/closing because: SASL authentication failed/);
  assert.match(
    sluice.log(),
    /postgres\/eve@\S+ login attempt: db=postgres user=eve tls=no replication=no\n/,
  );
});

Deno.test("a server's end has a line with its name, number, reason and age", async () => {
  await using sluice = await start({ server_idle_timeout: 1 });
  const { port } = shared.get();
  assert.equal(await outcome(target(sluice)), "in");
  await sluice.waitForLog(
    new RegExp(
      ` LOG S-0x[0-9a-f]{12}: postgres/postgres@127\\.0\\.0\\.1:${port} ` +
        "closing because: server idle timeout \\(age=1s\\)\n",
    ),
  );
});

Deno.test("a connection that says nothing and leaves is not worth a line", async () => {
  await using sluice = await start();
  for (let i = 0; i < 3; i++) {
    const probe = await Deno.connect({ hostname: "127.0.0.1", port: sluice.port });
    probe.close();
  }
  assert.equal(await outcome(target(sluice)), "in");
  await sluice.waitForLog(/postgres@\S+ closing because: client close request/);
  const ofClients = lines(sluice.log()).filter((line) => line.includes(" C-0x"));
  assert.equal(ofClients.length, 2, ofClients.join("\n"));
});

Deno.test("log_connections, log_disconnections and log_pooler_errors leave their lines out", async () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["log_connections", / login attempt: /],
    ["log_disconnections", / closing because: /],
    ["log_pooler_errors", / pooler error: /],
  ];
  for (const [setting, pattern] of cases) {
    await using sluice = await start({ [setting]: false, server_idle_timeout: 0.3 });
    assert.equal(await outcome(target(sluice)), "in");
    await outcome(target(sluice, "nobody"));
    await eventually("the server is closed", async () => {
      const rows = await shared.get().sql(
        "select 1 from pg_stat_activity where backend_type = 'client backend' " +
          "and pid <> pg_backend_pid()",
      );
      return rows.length === 0;
    });
    await sluice.stop("SIGTERM");
    for (const [other, wanted] of cases) {
      if (other === setting) assert.doesNotMatch(sluice.log(), pattern, setting);
      else assert.match(sluice.log(), wanted, `${other} with ${setting} off`);
    }
  }
});

Deno.test("log_stats gives a line of averages each stats_period, or none", async () => {
  await using sluice = await start({ stats_period: 0.5 });
  const client = await logIn(target(sluice));
  const match = await eventuallyMatch(sluice, client);
  assert.ok(Number(match[1]) > 0 && Number(match[2]) > 0, match[0]);
  await client.end();
  await using quiet = await start({ stats_period: 0.3, log_stats: false });
  // Several periods of the other one are over when this has gone by.
  const fromOffset = sluice.log().length;
  await sluice.waitForLog(/ stats: [^]* stats: /, { fromOffset });
  assert.doesNotMatch(quiet.log(), / stats: /);
});

const STATS = new RegExp(
  " LOG stats: (\\d+) xacts/s, (\\d+) queries/s, \\d+ client parses/s, \\d+ server parses/s, " +
    "\\d+ binds/s, \\d+ client logins/s, in \\d+ B/s, out \\d+ B/s, " +
    "xact \\d+ us, query \\d+ us, wait \\d+ us\n",
);

/** Keeps asking until a period with queries in it has been logged. */
async function eventuallyMatch(
  sluice: SluiceProcess,
  client: Awaited<ReturnType<typeof logIn>>,
): Promise<RegExpExecArray> {
  let found: RegExpExecArray | undefined;
  await eventually("a line of averages that counts queries", async () => {
    await client.query("select 1");
    const all = [...sluice.log().matchAll(new RegExp(STATS, "g"))];
    found = all.find((match) => Number(match[1]) > 0);
    return found !== undefined;
  });
  return found!;
}

Deno.test("no name that a client gives itself can forge a line", async () => {
  await using sluice = await start({ auth_type: "trust" });
  const forged = "2026-01-01 00:00:00.000 UTC [1] FATAL forged";
  for (
    const name of [`eve\n${forged}`, `eve\r${forged}`, `eve\u2028${forged}`, `eve\x85${forged}`]
  ) {
    for (
      const parameters of [
        { user: name },
        { user: "postgres", database: name },
        { user: "postgres", [name]: "x" },
        { user: "postgres", options: `-c ${name.replaceAll(" ", "_")}=1` },
      ]
    ) {
      const client = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
      await client.send(frontend.startup(parameters));
      await client.receiveUntilReady();
      client.close();
    }
  }
  const escape = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
  await escape.send(frontend.startup({ user: "eve\x1b[2J\x07" }));
  await escape.receiveUntilReady();
  escape.close();
  await sluice.waitForLog(/closing because/);
  for (const line of sluice.log().slice(0, -1).split(/[\r\n\u2028\u2029\x85]/)) {
    assert.match(line, LINE);
    assert.doesNotMatch(line, /^\S+ \S+ UTC \[1\]/);
  }
  // deno-lint-ignore no-control-regex
  assert.doesNotMatch(sluice.log(), /[\x00-\x09\x0b-\x1f\x7f]/, "no control characters");
});

Deno.test("no secret is ever logged, however much is", async () => {
  const postgres = shared.get();
  const [row] = await postgres.sql("select rolpassword from pg_authid where rolname = 'verified'");
  const verifier = String(row?.["rolpassword"]);
  const md5 = `md5${createHash("md5").update("md5-secret" + "hashed").digest("hex")}`;
  const secrets = [
    ...["plain-secret", "file-secret", "env-secret", "md5-secret", "scram-secret"],
    ...["forced-secret", "wrong-secret", "query-secret", postgres.password, verifier, md5],
  ];
  const onServer = { ...serverOf(postgres), dbname: "postgres", user: "postgres" };
  const config = configFor(postgres, {
    pooler: {
      auth_file: "{dir}/users.txt",
      auth_type: "scram-sha-256",
      server_login_retry: 0.1,
    },
    databases: {
      app: { ...onServer, password: "forced-secret" },
      good: { ...onServer, password: postgres.password },
      "*": serverOf(postgres),
    },
    users: {
      plain: { password: "plain-secret" },
      secret_of_file: { password: { file: "secret" } },
      secret_of_env: { password: { env: "SECRET" } },
      hashed: { password: md5 },
      verified: { password: verifier },
    },
  });
  await using sluice = await startSluice({
    config,
    args: ["-v", "-v", "-v"],
    env: { SECRET: "env-secret" },
    files: { secret: "file-secret\n", "users.txt": '"listed" "file-secret"\n' },
  });
  const login = async (user: string, password: string, database: string) =>
    await outcome({ ...target(sluice, user), password, database }, "select 'query-secret'");
  assert.equal(await login("plain", "plain-secret", "good"), "query-secret");
  assert.equal(await login("secret_of_file", "file-secret", "good"), "query-secret");
  assert.equal(await login("secret_of_env", "env-secret", "good"), "query-secret");
  assert.equal(await login("listed", "file-secret", "good"), "query-secret");
  assert.equal(await login("verified", "scram-secret", "postgres"), "query-secret");
  for (const user of ["plain", "hashed", "verified", "listed", "nobody"]) {
    for (const database of ["app", "good", "postgres"]) await login(user, "wrong-secret", database);
  }
  // The server refuses these.
  await login("plain", "plain-secret", "app");
  await login("plain", "plain-secret", "postgres");
  // A configuration that is broken right beside its secrets.
  const broken = [
    `${config}passwort = "plain-secret"\n`,
    `${config}\n[users.other]\npassword = "plain-secret\n`,
    `${config}\n[users.other]\npassword = ["plain-secret"]\n`,
    `${config}\n[users.plain]\npassword = "plain-secret"\n`,
  ];
  for (const text of broken) {
    const fromOffset = sluice.log().length;
    await sluice.rewriteConfig(text);
    sluice.signal("SIGHUP");
    await sluice.waitForLog(/reload failed/, { fromOffset });
  }
  await Deno.writeTextFile(
    `${sluice.dir}/users.txt`,
    '"listed" "file-secret\nlisted file-secret\n',
  );
  await sluice.rewriteConfig(config);
  const fromOffset = sluice.log().length;
  sluice.signal("SIGHUP");
  await sluice.waitForLog(/users\.txt:2: [^]*reload failed/, { fromOffset });
  await sluice.stop("SIGTERM");
  assert.match(sluice.log(), /server login failed/);
  for (const secret of secrets) {
    assert.ok(!sluice.log().includes(secret), `"${secret}" in the log:\n${sluice.log()}`);
  }
});

Deno.test("the log file is there at once, and has each line as soon as it is written", async () => {
  await using sluice = await start({ logfile: "{dir}/file.log" });
  const read = () => Deno.readTextFileSync(`${sluice.dir}/file.log`);
  assert.match(read(), / process up: /);
  const client = await logIn(target(sluice));
  assert.match(read(), / login attempt: /, "the line is older than the login's answer");
  await client.end();
  const { mode } = await Deno.stat(`${sluice.dir}/file.log`);
  assert.equal((mode ?? 0) & 0o022, 0, "nobody else may write it");
});

Deno.test("with log_format = json every line is an object of the same fields, and a reload changes the form", async () => {
  await using sluice = await start({ log_format: "json", job_name: "east-1", stats_period: 0.3 });
  assert.equal(await outcome(target(sluice)), "in");
  await sluice.waitForLog(/ stats: |"stats: /);
  await sluice.rewriteConfig(configFor(shared.get(), { pooler: { job_name: "west" } }));
  sluice.signal("SIGHUP");
  await sluice.waitForLog(/UTC \[\d+\] LOG configuration reloaded/);
  const written = lines(sluice.log());
  const plainAt = written.findIndex((line) => LINE.test(line));
  assert.ok(plainAt > 3);
  for (const line of written.slice(0, plainAt)) {
    const entry = JSON.parse(line) as Record<string, unknown>;
    assert.deepEqual(Object.keys(entry), ["time", "level", "job", "pid", "message"], line);
    assert.deepEqual([entry["job"], entry["pid"]], ["east-1", sluice.pid]);
  }
  assert.ok(written.slice(plainAt).every((line) => LINE.test(line)));
});
