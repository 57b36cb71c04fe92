/** What Sluice does with its command line, what it prints and how it exits. */

import assert from "node:assert/strict";
import process from "node:process";
import { exists } from "../../scripts/cache_dir.ts";
import { freePort } from "../../scripts/postgres_fixture.ts";
import { projectDir } from "../../scripts/staging.ts";
import { tomlConfig } from "../support/toml_config.ts";
import { DatagramReceiver } from "../support/datagram_receiver.ts";
import { eventually } from "../support/eventually.ts";
import { logIn } from "../support/logins.ts";
import { runSluice, type SluiceProcess, startSluice } from "../support/pooler_process.ts";
import { SluiceFolder } from "../support/sluice_command.ts";

const IS_ROOT = Deno.uid() === 0;

/** What the console answers, row by row. */
async function show(sluice: SluiceProcess, what: string): Promise<Record<string, unknown>[]> {
  const client = await logIn({ port: sluice.port, user: "admin", database: "pgbouncer" });
  const { rows } = await client.query<Record<string, unknown>>(`show ${what}`);
  await client.end();
  return rows;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false; // There is no such process; ours may be signalled.
  }
}

Deno.test("--version prints first what SHOW VERSION answers", async () => {
  const { code, stdout, stderr } = await runSluice({ args: ["--version"] });
  assert.deepEqual([code, stderr], [0, ""]);
  const [line] = stdout.split("\n");
  assert.match(line ?? "", /^PgBouncer 1\.26\.0 \(Sluice \d+\.\d+\.\d+\)$/);
  assert.equal((await runSluice({ args: ["-V"] })).stdout, stdout);
  await using sluice = await startSluice({
    config: tomlConfig({
      pooler: { admin_users: "admin" },
      users: { admin: { password: "x" } },
    }),
  });
  assert.deepEqual(await show(sluice, "version"), [{ version: line }]);
});

Deno.test("--help prints the options on standard output", async () => {
  const { code, stdout, stderr } = await runSluice({ args: ["--help"] });
  assert.deepEqual([code, stderr], [0, ""]);
  for (const option of ["-d", "-q", "-v", "-u", "-V", "-h", "check", "convert"]) {
    assert.ok(stdout.includes(option), option);
  }
  assert.equal((await runSluice({ args: ["-h"] })).stdout, stdout);
});

Deno.test("a command line that makes no sense is refused with the reason, on standard error", async () => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [["--frobnicate", "config.toml"], /--frobnicate/],
    [["-x", "config.toml"], /-x/],
    [[], /configuration file/i],
    [["a.toml", "b.toml"], /configuration file/i],
    [["check"], /check/],
    [["convert", "a.ini", "b.ini"], /convert/],
  ];
  for (const [args, reason] of cases) {
    const { code, stdout, stderr } = await runSluice({ args });
    assert.equal(code, 1, args.join(" "));
    assert.equal(stdout, "");
    assert.match(stderr.split("\n")[0] ?? "", reason);
  }
});

Deno.test("-R is refused with a message that names the rolling restart", async () => {
  for (const option of ["-R", "--reboot"]) {
    const { code, stdout, stderr } = await runSluice({ args: [option], config: tomlConfig({}) });
    assert.equal(code, 1);
    assert.equal(stdout, "");
    assert.match(stderr, /rolling restart/);
  }
});

Deno.test({
  name: "check --diff asks the Sluice that runs what a reload would change",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const config = (lines: string) =>
      `[pooler]\nlisten_addr = ""\nunix_socket_dir = "{dir}"\nlisten_port = 6432\n${lines}\n` +
      '[databases.app]\nhost = "127.0.0.1"\n';
    await using folder = await SluiceFolder.make({ "config.toml": config("") });
    const diff = () => folder.run(["check", "--diff", "config.toml"]);
    await folder.start(["config.toml"]);
    await eventually("it serves", () => folder.read("printed").includes("process up"));
    assert.deepEqual([(await diff()).code, (await diff()).stdout], [0, "nothing would change\n"]);
    await folder.write("config.toml", config("query_timeout = 5\npkt_buf = 8192"));
    const { code, stdout } = await diff();
    assert.equal(code, 0);
    assert.equal(
      stdout,
      "setting pkt_buf: 4096 -> 8192 (needs a restart)\nsetting query_timeout: 0 -> 5 (at once)\n",
    );
    assert.equal((await diff()).stdout, stdout, "and nothing has changed by it");
  },
});

Deno.test("check says what it would do, and touches nothing", async () => {
  using busy = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using folder = await SluiceFolder.make({
    "config.toml": tomlConfig({
      pooler: {
        listen_port: busy.addr.port,
        unix_socket_dir: "{dir}",
        logfile: "{dir}/sluice.log",
        pidfile: "{dir}/sluice.pid",
        auth_file: "{dir}/users.txt",
      },
      databases: { app: { host: "192.0.2.1", port: 5433, pool_size: 7, password: "hush-1" } },
      users: { alice: { password: "hush-2" } },
    }),
    "users.txt": '"bob" "hush-3"\n',
  });
  const before = folder.names();
  const { code, stdout, stderr } = await folder.run(["check", "config.toml"]);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /config\.toml.*good/);
  assert.ok(stdout.includes(`127.0.0.1:${busy.addr.port}`));
  assert.ok(stdout.includes(`${folder.path}/.s.PGSQL.${busy.addr.port}`));
  assert.match(stdout, /database "app" would connect to 192\.0\.2\.1:5433/);
  assert.doesNotMatch(stdout, /hush/);
  assert.deepEqual(folder.names(), before);
});

/** Runs a command line of the README, which has its permissions in it, from the sources. */
async function runFromSources(args: readonly string[]): Promise<[number, string, string]> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--cached-only", ...args],
    cwd: projectDir(),
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return [code, decoder.decode(stdout), decoder.decode(stderr)];
}

Deno.test("check needs no more permissions than the README gives it", async () => {
  const [code, stdout, stderr] = await runFromSources(
    ["-R", "-E", "mod.ts", "check", "config.toml"],
  );
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /^config\.toml: the configuration is good\n/);
});

Deno.test("a permission that is missing is said in a line, not with a stack", async () => {
  await using folder = await SluiceFolder.make({
    "config.toml": tomlConfig({
      pooler: { user: "daemon", server_tls_sslmode: "prefer" },
      databases: { app: { host: "x" } },
    }),
  });
  const [code, stdout, stderr] = await runFromSources(
    ["-R", "-E", "mod.ts", "check", folder.file("config.toml")],
  );
  assert.deepEqual([code, stdout], [1, ""]);
  assert.match(stderr, /^Requires sys access to "uid", run again with the --allow-sys flag\n$/);
});

Deno.test({
  name: "root that may not call the C library is told that it cannot become another user",
  ignore: !IS_ROOT,
  async fn() {
    const allowed = ["-R", "-E", "--allow-sys", "mod.ts"];
    const [code, stdout, stderr] = await runFromSources([
      ...allowed,
      "-u",
      "daemon",
      "config.toml",
    ]);
    assert.deepEqual([code, stdout], [1, ""]);
    assert.equal(stderr, 'Cannot become user "daemon": the permission --allow-ffi is missing\n');
  },
});

/** Three mistakes on lines known; the first is of the kind that shows its value, a secret is not. */
const BAD_TOML = `[pooler]
listen_addr = "127.0.0.1"
listen_prot = 6432
pool_mode = "transation"

[users.alice]
password = "hush"
passwort = "hush"
`;

Deno.test("a bad file is refused with all its errors at once, and exit status 2", async () => {
  for (const args of [["check"], []]) {
    const { code, stdout, stderr } = await runSluice({ args, config: BAD_TOML });
    assert.deepEqual([code, stdout], [2, ""]);
    const lines = stderr.trimEnd().split("\n");
    assert.equal(lines.length, 3, stderr);
    assert.match(lines[0]!, /config\.toml:3: .*listen_prot.*listen_port/);
    assert.match(lines[1]!, /config\.toml:4: .*transaction.*transation/);
    assert.match(lines[2]!, /config\.toml:8: .*passwort.*password/);
    assert.doesNotMatch(stderr, /hush/);
  }
});

Deno.test("a syntax error, a missing file and a bad auth_file end with exit status 2 too", async () => {
  const syntax = await runSluice({ config: "[pooler\nlisten_prot = 1\n" });
  assert.equal(syntax.code, 2);
  assert.match(syntax.stderr, /config\.toml:1: /);
  assert.equal(syntax.stderr.trimEnd().split("\n").length, 1);
  await using folder = await SluiceFolder.make({
    "config.toml": tomlConfig({ pooler: { auth_file: "{dir}/users.txt" } }),
    "users.txt": '"bob" "hush"\nbob hush\n"eve\n',
  });
  const missing = await folder.run(["nowhere.toml"]);
  assert.equal(missing.code, 2);
  assert.match(missing.stderr, /^nowhere\.toml: .*read/);
  const users = await folder.run(["config.toml"]);
  assert.equal(users.code, 2);
  assert.match(users.stderr, /users\.txt:2: .*\n.*users\.txt:3: /);
  assert.doesNotMatch(users.stderr, /hush/);
});

const INI = `
; a pgbouncer.ini with what people have in theirs
[databases]
app = host=127.0.0.1 port=5433 dbname=app_production user=app password='it''s' pool_size = 7
"odd ""name""" = host=10.0.0.1,10.0.0.2 connect_query='select 1' load_balance_hosts=disable
* = host=127.0.0.1 reserve_pool=2
[pgbouncer]
  listen_addr = 127.0.0.1
listen_port = 0
unix_socket_dir =
auth_type = trust
admin_users = admin, root
pool_mode = session
server_tls_sslmode = disable
%include more.ini
[users]
alice = pool_mode=statement pool_size=3
[pgbouncer]
pool_mode = transaction
query_wait_timeout = 1.5
`;

Deno.test("convert prints a pgbouncer.ini as TOML that runs the same", async () => {
  await using folder = await SluiceFolder.make({
    "pgbouncer.ini": INI,
    "more.ini": "[pgbouncer]\nauth_file = {dir}/users.txt\n",
    "users.txt": '"admin" "x"\n',
  });
  const { code, stdout, stderr } = await folder.run(["convert", "pgbouncer.ini"]);
  assert.deepEqual([code, stderr], [0, ""]);
  const files = { "users.txt": '"admin" "x"\n' };
  await using fromToml = await startSluice({ config: stdout, files });
  const flat = INI.replace("%include more.ini", "auth_file = {dir}/users.txt");
  await using fromIni = await startSluice({ config: flat, configName: "pgbouncer.ini", files });
  for (const what of ["config", "databases", "users"]) {
    const own = ["conffile", "auth_file"]; // They name the folder.
    const rowsOf = async (sluice: SluiceProcess) =>
      (await show(sluice, what)).filter(({ key }) => !own.includes(String(key)));
    const expected = await rowsOf(fromIni);
    assert.ok(expected.length > 0);
    assert.deepEqual(await rowsOf(fromToml), expected, what);
  }
});

Deno.test("convert refuses what is no pgbouncer.ini, with exit status 2", async () => {
  const { code, stdout, stderr } = await runSluice({
    args: ["convert"],
    config: "[pgbouncer]\nlisten_prot = 1\n[databases]\napp = host\n",
    configName: "pgbouncer.ini",
  });
  assert.deepEqual([code, stdout], [2, ""]);
  assert.match(stderr, /pgbouncer\.ini:2: .*\n.*pgbouncer\.ini:4: /);
});

Deno.test("-q keeps the log off standard error, not out of the file", async () => {
  await using folder = await SluiceFolder.make({
    "config.toml": tomlConfig({ pooler: { logfile: "{dir}/sluice.log" } }),
  });
  for (const option of ["-q", "--quiet"]) {
    const started = await folder.start([option, "config.toml"]);
    await eventually("it is up", () => folder.read("sluice.log").includes("process up"));
    await started.stop("SIGQUIT");
    assert.equal(folder.read("printed"), "");
    assert.match(folder.read("sluice.log"), /process down\n$/);
    await Deno.remove(folder.file("sluice.log"));
  }
});

Deno.test("without -q the log goes to standard error as well as to the file", async () => {
  await using folder = await SluiceFolder.make({
    "config.toml": tomlConfig({ pooler: { logfile: "{dir}/sluice.log" } }),
  });
  const started = await folder.start(["config.toml"]);
  await eventually("it is up", () => folder.read("sluice.log").includes("process up"));
  await started.stop("SIGQUIT");
  assert.equal(folder.read("printed"), folder.read("sluice.log"));
});

Deno.test("-v says more when it comes twice, in one word or two", async () => {
  const config = tomlConfig({
    databases: { app: { host: "127.0.0.1", port: freePort(), user: "a", min_pool_size: 1 } },
  });
  for (const args of [["-vv"], ["-v", "--verbose"]]) {
    await using loud = await startSluice({ config, args });
    await loud.waitForLog(/ NOISE S-0x/);
  }
  for (const args of [[], ["-v"]]) {
    await using plain = await startSluice({ config, args });
    await plain.waitForLog(/closing because: connect failed/);
    assert.doesNotMatch(plain.log(), / NOISE /);
  }
});

Deno.test({
  name: "root is refused, with the setting that helps",
  ignore: !IS_ROOT,
  async fn() {
    for (const pooler of [{}, { user: "root" }]) {
      const { code, stderr } = await runSluice({ config: tomlConfig({ pooler }), uid: 0 });
      assert.equal(code, 1);
      assert.match(stderr, /^[^\n]*root[^\n]*user[^\n]*\n$/);
    }
  },
});

/** A line of /proc/PID/status. */
function statusLine(pid: number, name: string): string[] {
  const text = Deno.readTextFileSync(`/proc/${pid}/status`);
  const line = text.split("\n").find((each) => each.startsWith(`${name}:`));
  return (line ?? "").split(/\s+/).slice(1).filter((word) => word !== "");
}

Deno.test({
  name: "root becomes the user that the configuration or -u names, groups included",
  ignore: !IS_ROOT || Deno.build.os !== "linux",
  async fn() {
    const nobody = await new Deno.Command("id", { args: ["-u", "nobody"] }).output();
    const uid = new TextDecoder().decode(nobody.stdout).trim();
    for (const [args, pooler] of [[["-u", "nobody"], {}], [[], { user: "nobody" }]] as const) {
      await using sluice = await startSluice({ config: tomlConfig({ pooler }), args, uid: 0 });
      assert.deepEqual(statusLine(sluice.pid, "Uid"), [uid, uid, uid, uid]);
      assert.equal(new Set(statusLine(sluice.pid, "Gid")).size, 1);
      assert.ok(!statusLine(sluice.pid, "Gid").includes("0"));
      assert.ok(!statusLine(sluice.pid, "Groups").includes("0"));
    }
  },
});

Deno.test({
  name: "a user that does not exist is said plainly",
  ignore: !IS_ROOT,
  async fn() {
    const config = tomlConfig({});
    const { code, stderr } = await runSluice({ config, args: ["-u", "no such"], uid: 0 });
    assert.equal(code, 1);
    assert.match(stderr, /^[^\n]*no such[^\n]*\n$/);
  },
});

Deno.test({
  name: "-d leaves a process of its own behind, which serves until it is told to end",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const port = freePort();
    await using folder = await SluiceFolder.make({
      "config.toml": tomlConfig({
        pooler: {
          listen_port: port,
          admin_users: "admin",
          logfile: "{dir}/sluice.log",
          pidfile: "{dir}/sluice.pid",
        },
        users: { admin: { password: "x" } },
      }),
    });
    const parent = await folder.run(["-d", "config.toml"]);
    assert.deepEqual(parent, { code: 0, stdout: "", stderr: "" });
    await eventually("it is up", () => folder.read("sluice.log").includes("process up"));
    const pid = Number(folder.read("sluice.pid"));
    await folder.watch(pid);
    // Fields of /proc/PID/stat behind the name: state, parent, process group, session, terminal.
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`).replace(/^.*\) /, "").split(" ");
    assert.deepEqual(stat.slice(2, 5), [String(pid), String(pid), "0"]);
    const client = await logIn({ port, user: "admin", database: "pgbouncer" });
    await client.end();
    process.kill(pid, "SIGTERM");
    await eventually("the process has ended", () => !isAlive(pid));
    await folder.watch(undefined);
    assert.equal(await exists(folder.file("sluice.pid")), false);
    assert.match(folder.read("sluice.log"), /process down\n$/);
  },
});

Deno.test({
  name: "-d started by root becomes another user in the background, with files of its own",
  ignore: !IS_ROOT || Deno.build.os !== "linux",
  async fn() {
    await using folder = await SluiceFolder.make({
      "config.toml": tomlConfig({
        pooler: { user: "nobody", logfile: "sluice.log", pidfile: "sluice.pid" },
      }),
    });
    const parent = await folder.run(["-d", "-v", "config.toml"], { uid: 0 });
    assert.deepEqual(parent, { code: 0, stdout: "", stderr: "" });
    await eventually("it is up", () => folder.read("sluice.log").includes("process up"));
    const pid = Number(folder.read("sluice.pid"));
    await folder.watch(pid);
    assert.ok(!statusLine(pid, "Uid").includes("0"));
    process.kill(pid, "SIGQUIT");
    await eventually("the process has ended", () => !isAlive(pid));
    await folder.watch(undefined);
    assert.deepEqual(folder.names(), ["config.toml", "sluice.log"]);
  },
});

Deno.test({
  name: "-d with syslog needs no log file",
  ignore: Deno.build.os !== "linux",
  async fn() {
    using daemon = DatagramReceiver.atPath();
    await using folder = await SluiceFolder.make({
      "config.toml": tomlConfig({ pooler: { syslog: true, pidfile: "{dir}/sluice.pid" } }),
    });
    const parent = await folder.run(["-d", "config.toml"], {
      env: { SLUICE_SYSLOG_SOCKET: daemon.path },
    });
    assert.deepEqual(parent, { code: 0, stdout: "", stderr: "" });
    const pid = Number(folder.read("sluice.pid"));
    await folder.watch(pid);
    await daemon.waitFor(/process up/);
    process.kill(pid, "SIGQUIT");
    await eventually("the process has ended", () => !isAlive(pid));
    await folder.watch(undefined);
  },
});

Deno.test("-d without a log file, or with a bad configuration, is refused at once", async () => {
  const without = await runSluice({ config: tomlConfig({}), args: ["-d"] });
  assert.equal(without.code, 1);
  assert.equal(without.stderr, "-d needs logfile or syslog to be set\n");
  assert.equal((await runSluice({ config: BAD_TOML, args: ["-d"] })).code, 2);
});

Deno.test("-d says in the log file what keeps it from starting", async () => {
  using busy = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using folder = await SluiceFolder.make({
    "config.toml": tomlConfig({
      pooler: { listen_port: busy.addr.port, logfile: "{dir}/sluice.log" },
    }),
  });
  const { stderr } = await folder.run(["-d", "config.toml"]);
  const said = () => stderr + folder.read("sluice.log");
  await eventually("the reason is told", () => /address already in use/.test(said()), 5_000);
});

Deno.test("the pid file is there while the process runs; that of a living process is respected", async () => {
  const gone = new Deno.Command("true").spawn();
  await gone.status;
  await using folder = await SluiceFolder.make({
    "config.toml": tomlConfig({ pooler: { pidfile: "{dir}/sluice.pid" } }),
    "sluice.pid": `${gone.pid}\n`,
  });
  const first = await folder.start(["config.toml"]);
  await eventually("it is up", () => folder.read("printed").includes("process up"));
  assert.equal(folder.read("sluice.pid"), `${first.pid}\n`);
  const second = await folder.run(["config.toml"]);
  assert.equal(second.code, 1);
  assert.match(second.stderr, new RegExp(`^[^\\n]*sluice\\.pid[^\\n]*${first.pid}[^\\n]*\\n$`));
  assert.equal(folder.read("sluice.pid"), `${first.pid}\n`);
  await first.stop("SIGINT");
  assert.equal(await exists(folder.file("sluice.pid")), false);
});

Deno.test("a busy port is said plainly", async () => {
  using busy = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = busy.addr;
  const config = tomlConfig({ pooler: { listen_port: port, pidfile: "{dir}/sluice.pid" } });
  await using folder = await SluiceFolder.make({ "config.toml": config });
  const { code, stderr } = await folder.run(["config.toml"]);
  assert.equal(code, 1);
  assert.match(
    stderr,
    new RegExp(`Cannot listen on 127\\.0\\.0\\.1:${port}: address already in use`),
  );
  assert.doesNotMatch(stderr, /^\s+at /m);
  assert.deepEqual(folder.names(), ["config.toml"]);
});

Deno.test("a file that cannot be written or read is said plainly", async () => {
  for (const setting of ["logfile", "pidfile", "resolv_conf"]) {
    const config = tomlConfig({ pooler: { [setting]: "{dir}/nowhere/file" } });
    const { code, stderr } = await runSluice({ config });
    assert.equal(code, 1, stderr);
    assert.match(stderr, /nowhere\/file/);
    assert.doesNotMatch(stderr, /^\s+at /m);
  }
});

Deno.test("the config.toml of the project starts as it is", async () => {
  const text = await Deno.readTextFile(`${projectDir()}/config.toml`);
  await using folder = await SluiceFolder.make({ "config.toml": text });
  const checked = await folder.run(["check", "config.toml"]);
  assert.equal(checked.code, 0, checked.stderr);
  assert.match(checked.stdout, /would listen on 127\.0\.0\.1:6432\n/);
  assert.doesNotMatch(checked.stdout, /warning/);
  // All but the places, which others may be using at this moment.
  const places = [["# listen_port = 6432", "listen_port = 0"], [
    '# unix_socket_dir = "/tmp"',
    'unix_socket_dir = "{dir}"',
  ]] as const;
  const config = places.reduce((before, [from, to]) => before.replace(from, to), text);
  assert.notEqual(config, text);
  await using sluice = await startSluice({ config });
  assert.match(sluice.log(), /listening on 127\.0\.0\.1:\d+\n[^]*listening on unix:/);
  assert.doesNotMatch(sluice.log(), / (WARNING|ERROR|FATAL) /);
});
