/** Where clients come in: addresses, unix sockets, and what happens when descriptors run out. */

import assert from "node:assert/strict";
import { exists } from "../../scripts/cache_dir.ts";
import { freePort } from "../../scripts/postgres_fixture.ts";
import { configFor, type ConfigSection } from "../support/toml_config.ts";
import { psql } from "../support/commands.ts";
import { eventually } from "../support/eventually.ts";
import { logIn, outcome } from "../support/logins.ts";
import { type SluiceProcess, startSluice } from "../support/pooler_process.ts";
import { canListen, isMissing } from "../support/requirements.ts";
import { sharedPostgres } from "../support/shared_postgres.ts";
import { SluiceFolder } from "../support/sluice_command.ts";
import { TestClient } from "../support/test_client.ts";

const shared = sharedPostgres();

const HAS_IPV6 = canListen("::1");

function configWith(pooler: ConfigSection): string {
  return configFor(shared.get(), { pooler });
}

/** Host and port of every TCP listener, as the log tells them. */
function listeners(log: string): { host: string; port: number }[] {
  const lines = log.matchAll(/ listening on \[?([0-9a-f.:]*?)\]?:(\d+)\n/g);
  return [...lines].map(([, host = "", port]) => ({ host, port: Number(port) }));
}

/** The log line of a login at a loopback address; the system takes 127.0.0.1 as its other end. */
function loginFrom(host: string): RegExp {
  return host === "::1" ? /postgres@::1:\d+ login/ : /postgres@127\.0\.0\.1:\d+ login/;
}

Deno.test("every address of listen_addr is listened on, IPv4 and IPv6", async () => {
  const addresses = ["127.0.0.1", "127.0.0.2", ...(HAS_IPV6 ? ["::1"] : [])];
  await using sluice = await startSluice({
    config: configWith({ listen_addr: addresses.join(", ") }),
  });
  const bound = listeners(sluice.log());
  assert.deepEqual(bound.map(({ host }) => host), addresses);
  for (const { host, port } of bound) {
    assert.equal(await outcome({ host, port, user: "postgres" }), "in", host);
    await sluice.waitForLog(loginFrom(host));
  }
});

Deno.test("listen_addr * takes IPv4 and IPv6 at one port, and shows IPv4 as such", async () => {
  await using sluice = await startSluice({ config: configWith({ listen_addr: "*" }) });
  const { port } = sluice;
  for (const host of ["127.0.0.1", "127.0.0.2", ...(HAS_IPV6 ? ["::1"] : [])]) {
    assert.equal(await outcome({ host, port, user: "postgres" }), "in", host);
    await sluice.waitForLog(loginFrom(host));
  }
  assert.doesNotMatch(sluice.log(), /::ffff/);
});

Deno.test("an address that this machine does not have is said plainly, and others are listened on", async () => {
  await using folder = await SluiceFolder.make({
    "config.toml": configWith({ listen_addr: "192.0.2.1" }),
  });
  const { code, stderr } = await folder.run(["config.toml"]);
  assert.equal(code, 1);
  assert.match(stderr, /^Cannot listen on 192\.0\.2\.1:0: [^(]+ \(listen_addr\)\n$/);
  assert.doesNotMatch(stderr, /^\s+at /m);
  await using sluice = await startSluice({
    config: configWith({ listen_addr: "192.0.2.1,127.0.0.1" }),
  });
  assert.match(sluice.log(), / WARNING Cannot listen on 192\.0\.2\.1:0: .*\n/);
  assert.equal(await outcome({ host: "127.0.0.1", port: sluice.port, user: "postgres" }), "in");
});

/** A configuration with a unix socket in the process's folder, and nothing else. */
function unixOnly(port: number, pooler: ConfigSection = {}): string {
  return configWith({
    listen_addr: "",
    listen_port: port,
    unix_socket_dir: "{dir}",
    ...pooler,
  });
}

function socketOf({ dir }: SluiceProcess, port: number): string {
  return `${dir}/.s.PGSQL.${port}`;
}

Deno.test("the unix socket takes clients, and has the mode that is set", async () => {
  const port = 6432;
  for (const [pooler, mode] of [[{}, 0o777], [{ unix_socket_mode: "0700" }, 0o700]] as const) {
    await using sluice = await startSluice({ config: unixOnly(port, pooler) });
    assert.equal(await outcome({ host: sluice.dir, port, user: "postgres" }), "in");
    await sluice.waitForLog(/ postgres\/postgres@unix.*:6432 login/);
    const { isSocket, mode: found = 0 } = await Deno.stat(socketOf(sluice, port));
    assert.ok(isSocket);
    assert.equal((found ?? 0) & 0o777, mode);
  }
});

Deno.test({
  name: "the unix socket gets the group that is set",
  ignore: Deno.uid() !== 0,
  async fn() {
    // Everything in the folder belongs to another group, unless it is given to one.
    await using folder = await SluiceFolder.make({
      "config.toml": unixOnly(6432, { unix_socket_group: "nogroup" }),
    });
    await Deno.chown(folder.path, null, 1);
    await Deno.chmod(folder.path, 0o2777);
    const group = new TextDecoder().decode(
      (await new Deno.Command("getent", { args: ["group", "nogroup"] }).output()).stdout,
    );
    await folder.start(["config.toml"]);
    await eventually("it is up", () => folder.read("printed").includes("process up"));
    const { gid } = await Deno.stat(folder.file(".s.PGSQL.6432"));
    assert.equal(gid, Number(group.split(":")[2]));
  },
});

Deno.test("a group that does not exist is said plainly, and no socket is left", async () => {
  await using folder = await SluiceFolder.make({
    "config.toml": unixOnly(6432, { unix_socket_group: "no such group" }),
  });
  const { code, stderr } = await folder.run(["config.toml"]);
  assert.equal(code, 1);
  assert.match(stderr, /no such group/);
  assert.doesNotMatch(stderr, /^\s+at /m);
  assert.deepEqual(folder.names(), ["config.toml"]);
});

Deno.test("the unix socket is removed at the end, by whatever signal", async () => {
  for (const signal of ["SIGTERM", "SIGINT", "SIGQUIT"] as const) {
    await using sluice = await startSluice({ config: unixOnly(6432) });
    assert.equal(await exists(socketOf(sluice, 6432)), true);
    assert.equal((await sluice.stop(signal)).code, 0);
    assert.equal(await exists(socketOf(sluice, 6432)), false, signal);
  }
});

Deno.test("the socket file of a process that was killed is replaced, that of a living one is not", async () => {
  await using folder = await SluiceFolder.make({ "config.toml": unixOnly(6432) });
  const killed = await folder.start(["config.toml"]);
  await eventually("it is up", () => folder.read("printed").includes("process up"));
  await killed.stop("SIGKILL");
  assert.ok(folder.names().includes(".s.PGSQL.6432"), "the file is still there");
  await Deno.remove(folder.file("printed"));
  await folder.start(["config.toml"]);
  await eventually("it is up again", () => folder.read("printed").includes("process up"));
  const to = { host: folder.path, port: 6432, user: "postgres" };
  assert.equal(await outcome(to), "in");
  const second = await folder.run(["config.toml"]);
  assert.equal(second.code, 1);
  assert.match(second.stderr, /Cannot listen on .*\.s\.PGSQL\.6432: another process listens there/);
  assert.equal(await outcome(to), "in", "the first one goes on");
});

Deno.test("a file that is no socket is never removed", async () => {
  await using folder = await SluiceFolder.make({
    "config.toml": unixOnly(6432),
    ".s.PGSQL.6432": "precious",
  });
  const { code, stderr } = await folder.run(["config.toml"]);
  assert.equal(code, 1);
  assert.match(stderr, /Cannot listen on .*: it is not a socket/);
  assert.equal(folder.read(".s.PGSQL.6432"), "precious");
});

Deno.test("a socket folder that does not exist, or whose path is too long, is said plainly", async () => {
  for (const dir of ["{dir}/nowhere", `{dir}/${"x".repeat(100)}`]) {
    await using folder = await SluiceFolder.make({
      "config.toml": unixOnly(6432, { unix_socket_dir: dir }),
    });
    if (dir.endsWith("x")) await Deno.mkdir(folder.file("x".repeat(100)), { mode: 0o777 });
    const { code, stderr } = await folder.run(["config.toml"]);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /^Cannot listen on unix:\S+: [^(]+ \(unix_socket_dir\)\n$/);
    assert.doesNotMatch(stderr, /^\s+at /m);
  }
});

Deno.test({
  name: "an abstract unix socket takes clients, and servers are reached by one",
  ignore: Deno.build.os !== "linux" || isMissing("psql"),
  async fn() {
    const name = `@sluice-test-${Deno.pid}-${freePort()}`;
    await using front = await startSluice({
      config: unixOnly(6432, { unix_socket_dir: name }),
    });
    const direct = await psql({ host: name, port: 6432, user: "postgres" }, "select 'in'");
    assert.deepEqual([direct.stdout, direct.stderr], ["in\n", ""]);
    assert.equal((await Deno.stat(front.dir)).isDirectory, true);
    await using back = await startSluice({
      config: configFor(shared.get(), {
        pooler: { client_login_timeout: 3 },
        databases: { "*": { host: name, port: 6432 } },
      }),
    });
    assert.equal(await outcome({ port: back.port, user: "postgres" }), "in");
  },
});

Deno.test("servers are reached by PostgreSQL's unix socket", async () => {
  const { port, socketDir } = shared.get();
  await using sluice = await startSluice({
    config: configFor(shared.get(), { databases: { "*": { host: socketDir, port } } }),
  });
  const client = await logIn({ port: sluice.port, user: "postgres" });
  const { rows } = await client.query("select inet_server_addr() as x");
  assert.deepEqual(rows, [{ x: null }]);
  await client.end();
});

/** Few enough to run out of, and some more than the process has open by itself. */
const FEW_DESCRIPTORS = 64;

Deno.test("when descriptors run out, those who are in are served, and later others get in again", async () => {
  await using folder = await SluiceFolder.make({
    "config.toml": configWith({
      pool_mode: "transaction",
      default_pool_size: 2,
      server_login_retry: 0.1,
      unix_socket_dir: "{dir}",
      listen_port: 0,
    }),
  });
  await folder.start(["config.toml"], { maxDescriptors: FEW_DESCRIPTORS });
  await eventually("it is up", () => folder.read("printed").includes("process up"));
  const [{ port } = { port: 0 }] = listeners(folder.read("printed"));
  const early = await logIn({ port, user: "postgres" });
  assert.equal((await early.query("select 1")).rowCount, 1);
  const silent: TestClient[] = [];
  for (let i = 0; i < 2 * FEW_DESCRIPTORS; i++) {
    silent.push(await TestClient.connect({ hostname: "127.0.0.1", port }));
  }
  await eventually("it runs out", () => / ERROR accept failed/.test(folder.read("printed")));
  for (let i = 0; i < 20; i++) assert.equal((await early.query("select 1")).rowCount, 1);
  for (const client of silent) client.close();
  assert.equal(await outcome({ port, user: "postgres" }), "in");
  const complaints = folder.read("printed").match(/accept failed/g) ?? [];
  assert.ok(complaints.length < 10, `it complained ${complaints.length} times`);
  assert.doesNotMatch(folder.read("printed"), /internal error|Uncaught/);
  await early.end();
});

/** What `ss` tells of the TCP sockets of a process that match, with timers and memory. */
async function socketsOf(args: readonly string[], pid: number): Promise<string[]> {
  const { stdout } = await new Deno.Command("ss", { args: ["-tnoOHmp", ...args] }).output();
  return new TextDecoder().decode(stdout).split("\n").filter((line) =>
    line.includes(`pid=${pid},`)
  );
}

Deno.test({
  name:
    "sockets of clients and servers have what is set, as the kernel tells; elsewhere it is said",
  ignore: isMissing("ss"),
  async fn() {
    await using sluice = await startSluice({
      config: configWith({ tcp_keepidle: 4321, tcp_socket_buffer: 50_000, listen_backlog: 77 }),
    });
    const client = await logIn({ port: sluice.port, user: "postgres" });
    await client.query("select 1");
    const { port } = shared.get();
    const listening = await socketsOf(["-l", `( sport = :${sluice.port} )`], sluice.pid);
    assert.match(listening.join(), /^LISTEN +\d+ +77 /);
    const isNative = !sluice.log().includes("tcp_keepidle has no effect");
    for (const where of [`( sport = :${sluice.port} )`, `( dport = :${port} )`]) {
      let lines: string[] = [];
      await eventually("only the timer of keepalive runs", async () => {
        lines = await socketsOf([where], sluice.pid);
        return lines[0]?.includes("timer:(keepalive,") === true;
      });
      const [line = "", ...others] = lines;
      assert.deepEqual(others, []);
      assert.equal(/keepalive,7[12]min/.test(line), isNative, line);
      assert.equal(/rb100000,.*tb100000,/.test(line), isNative, line);
    }
    if (!isNative) {
      assert.match(sluice.log(), / WARNING tcp_socket_buffer has no effect: only the native/);
    }
    await client.end();
  },
});

Deno.test("a reload that sets what the portable engine cannot set says so, once", async () => {
  const config = (more: ConfigSection) => configWith({ io_engine: "portable", ...more });
  await using sluice = await startSluice({ config: config({}) });
  assert.doesNotMatch(sluice.log(), /has no effect/);
  for (const count of [3, 4]) {
    await sluice.rewriteConfig(config({ tcp_keepcnt: count }));
    sluice.signal("SIGHUP");
    await sluice.waitForLog(new RegExp(`(configuration reloaded[^]*){${count - 2}}`));
  }
  assert.equal([...sluice.log().matchAll(/WARNING tcp_keepcnt has no effect/g)].length, 1);
});
