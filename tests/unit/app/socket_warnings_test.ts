import assert from "node:assert/strict";
import { socketWarnings } from "../../../src/app/socket_warnings.ts";
import { loadToml } from "../config/memory_files.ts";

async function warnings(
  lines: string,
  engine: "native" | "portable" = "native",
  maxBacklog: number | undefined = 4_096,
): Promise<string[]> {
  const { settings } = await loadToml(`[pooler]\n${lines}`);
  return socketWarnings(settings, { engine, maxBacklog });
}

const ALL_OF_TCP = `tcp_defer_accept = 5
tcp_keepcnt = 4
tcp_keepidle = 61
tcp_keepintvl = 17
tcp_socket_buffer = 40000
tcp_user_timeout = 12345
`;

Deno.test("socketWarnings() names on the portable engine each setting that it cannot set", async () => {
  const found = await warnings(ALL_OF_TCP, "portable");
  const end = " has no effect: only the native I/O engine can set it";
  assert.deepEqual(found.map((line) => line.replace(end, "")), [
    "tcp_defer_accept",
    "tcp_keepcnt",
    "tcp_keepidle",
    "tcp_keepintvl",
    "tcp_socket_buffer",
    "tcp_user_timeout",
  ]);
});

Deno.test("socketWarnings() has nothing to say of the defaults, nor of TCP on the native engine", async () => {
  for (const engine of ["native", "portable"] as const) {
    assert.deepEqual(await warnings("tcp_keepalive = false", engine), []);
  }
  assert.deepEqual(await warnings(ALL_OF_TCP), []);
});

Deno.test("socketWarnings() tells of a queue that is longer than the kernel makes it", async () => {
  const tcp = 'listen_addr = "*"\nunix_socket_dir = ""\nlisten_backlog = ';
  assert.deepEqual(await warnings(`${tcp}4096`), []);
  assert.deepEqual(await warnings(`${tcp}4097`), [
    "listen_backlog = 4097 has less effect than it says: the kernel queues 4096 at most " +
    "(net.core.somaxconn)",
  ]);
  const { settings } = await loadToml(`[pooler]\n${tcp}4097`);
  assert.deepEqual(socketWarnings(settings, { engine: "native", maxBacklog: undefined }), []);
  assert.deepEqual(await warnings('unix_socket_dir = "/tmp"\nlisten_backlog = 1025'), [
    "listen_backlog = 1025 has less effect than it says: the unix socket queues 1024",
  ]);
});

Deno.test("socketWarnings() tells that an abstract socket has neither group nor mode", async () => {
  const lines = 'unix_socket_group = "staff"\nunix_socket_mode = "0700"\nunix_socket_dir = ';
  assert.deepEqual(await warnings(`${lines}"/run"`), []);
  const end = " has no effect: an abstract socket is open to everybody";
  assert.deepEqual(
    await warnings(`${lines}"@run"`),
    [`unix_socket_group${end}`, `unix_socket_mode${end}`],
  );
});
