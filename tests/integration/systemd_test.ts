/** A real process as systemd has it: what it tells, and the sockets it is given. */

import assert from "node:assert/strict";
import { exists } from "../../scripts/cache_dir.ts";
import { prepareLaunch } from "../../scripts/staging.ts";
import { eventually, within } from "../support/eventually.ts";
import { SluiceFolder } from "../support/sluice_command.ts";
import { TestClient } from "../support/test_client.ts";
import { DatagramReceiver } from "../support/datagram_receiver.ts";
import { startSluice } from "../support/pooler_process.ts";
import { tomlConfig } from "../support/toml_config.ts";

const IS_LINUX = Deno.build.os === "linux";

for (const kind of ["atPath", "abstract"] as const) {
  Deno.test({
    name: `a service tells of its start, its reloads and its end (${kind})`,
    ignore: !IS_LINUX,
    async fn() {
      using systemd = DatagramReceiver[kind]();
      await using sluice = await startSluice({
        config: tomlConfig({}),
        env: { NOTIFY_SOCKET: systemd.path },
      });
      await systemd.waitFor(/^READY=1/);
      sluice.signal("SIGHUP");
      await systemd.waitFor(/^READY=1\nSTATUS=serving$/);
      await sluice.rewriteConfig("[pooler]\nlisten_prot = 1\n");
      sluice.signal("SIGHUP");
      await systemd.waitFor(/^READY=1\nSTATUS=serving; the last reload failed/);
      sluice.signal("SIGTERM");
      await systemd.waitFor(/^STOPPING=1/);
      assert.equal((await within("the end", sluice.exited)).code, 0);
      const [ready, reloading, , again] = systemd.received;
      assert.equal(ready, `READY=1\nMAINPID=${sluice.pid}\nSTATUS=serving`);
      const momentOf = (text = "") => Number(/^RELOADING=1\nMONOTONIC_USEC=(\d+)$/.exec(text)?.[1]);
      assert.ok(momentOf(reloading) > 0);
      assert.ok(momentOf(again) > momentOf(reloading));
      assert.equal(systemd.received.length, 6);
    },
  });
}

Deno.test({
  name: "a service that is watched gives signs of life",
  ignore: !IS_LINUX,
  async fn() {
    using systemd = DatagramReceiver.abstract();
    const env = { NOTIFY_SOCKET: systemd.path, WATCHDOG_USEC: "200000" };
    await using _sluice = await startSluice({ config: tomlConfig({}), env });
    await systemd.waitFor(/^WATCHDOG=1$/);
    assert.match(systemd.received[0] ?? "", /^READY=1/);
  },
});

Deno.test("a service whose systemd cannot be reached serves all the same", async () => {
  const env = { NOTIFY_SOCKET: "/nowhere/notify" };
  await using sluice = await startSluice({ config: tomlConfig({}), env });
  sluice.signal("SIGTERM");
  assert.equal((await within("the end", sluice.exited)).code, 0);
  assert.doesNotMatch(sluice.log(), /internal error/);
});

/** Starts a program with a socket as descriptor 3, as systemd does. */
const HAND_OVER = `
use POSIX ();
use Socket;
my ($path, $fds, @command) = @ARGV;
my $s;
socket($s, PF_UNIX, SOCK_STREAM, 0) and bind($s, pack_sockaddr_un($path)) and listen($s, 8)
  or die "socket: $!";
chmod 0777, $path;
POSIX::dup2(fileno($s), 3) if fileno($s) != 3;
fcntl($s, 2, 0);
$ENV{LISTEN_FDS} = $fds;
$ENV{LISTEN_PID} = $$;
exec @command or die "exec: $!";
`;

/** What a start with a handed socket needs. */
interface HandedStart extends AsyncDisposable {
  readonly path: string;
  readonly command: Deno.Command;
}

async function handOver(
  pooler: Readonly<Record<string, string>>,
  { args = [], socketCount = 1 }: { args?: readonly string[]; socketCount?: number } = {},
): Promise<HandedStart> {
  const folder = await SluiceFolder.make({
    "config.toml": tomlConfig({ pooler: { admin_users: "admin", ...pooler }, users: ADMIN }),
  });
  const { command, env, ids, args: launchArgs } = await prepareLaunch();
  const path = folder.file(".s.PGSQL.7001");
  return {
    path,
    command: new Deno.Command("perl", {
      args: [
        ...["-e", HAND_OVER, path, String(socketCount), command, ...launchArgs],
        ...[...args, "config.toml"],
      ],
      env: { HOME: folder.path, ...env },
      cwd: folder.path,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
      ...(ids ?? {}),
    }),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

const ADMIN = { admin: { password: "x" } };

/** Between its making and its listening, a socket's file is there already. */
async function tryToConnect(path: string): Promise<TestClient | undefined> {
  try {
    return new TestClient(await Deno.connect({ transport: "unix", path }));
  } catch (error) {
    const { ConnectionRefused, NotFound } = Deno.errors;
    if (error instanceof ConnectionRefused || error instanceof NotFound) return undefined;
    throw error;
  }
}

Deno.test({
  name: "a socket that was handed over is served in place of listen_addr, and its file stays",
  ignore: !IS_LINUX,
  async fn() {
    await using handed = await handOver({ io_engine: "native" });
    const child = handed.command.spawn();
    const output = child.output();
    // The socket listens before Sluice does: who connects early waits, as is the use of it.
    let client: TestClient | undefined;
    await eventually("the socket takes connections", async () => {
      client = await tryToConnect(handed.path);
      return client !== undefined;
    });
    assert.ok(client);
    await within("the login", client.login({ user: "admin", database: "pgbouncer" }));
    client.close();
    child.kill("SIGTERM");
    const { code, stderr } = await within("the end", output);
    const log = new TextDecoder().decode(stderr);
    assert.equal(code, 0, log);
    assert.match(log, /using sockets of LISTEN_FDS .*: unix:\S+\.s\.PGSQL\.7001\n/);
    assert.deepEqual(log.match(/ listening on \S+/g)?.length, 1);
    assert.equal(await exists(handed.path), true, "the file is systemd's");
  },
});

Deno.test({
  name: "handed sockets that cannot be used end the start, with the reason",
  ignore: !IS_LINUX,
  async fn() {
    const cases = [
      [{ io_engine: "portable" }, {}, /only the native I\/O engine .*LISTEN_FDS/],
      [{ io_engine: "native" }, { socketCount: 99 }, /Descriptor \d+ of LISTEN_FDS is no stream/],
      [{ logfile: "log" }, { args: ["-d"] }, /-d does not go with socket activation/],
    ] as const;
    for (const [pooler, options, reason] of cases) {
      await using handed = await handOver(pooler, options);
      const { code, stderr } = await handed.command.output();
      assert.equal(code, 1);
      assert.match(new TextDecoder().decode(stderr), reason);
    }
  },
});
