import assert from "node:assert/strict";
import { listenAddresses } from "../../../src/app/listen_addresses.ts";
import type { ListenAddress } from "../../../src/net/network.ts";
import { loadToml } from "../config/memory_files.ts";

async function addresses(lines: string): Promise<ListenAddress[]> {
  const { settings } = await loadToml(`[pooler]\n${lines}`);
  return listenAddresses(settings);
}

Deno.test("listenAddresses() gives every host with the port, in order, the unix socket last", async () => {
  const found = await addresses(`listen_addr = "127.0.0.1,::1"
listen_port = 7000\nlisten_backlog = 9\nunix_socket_dir = "/run/sluice"`);
  assert.deepEqual(found.map((address) => address.kind === "tcp" ? address.host : address.path), [
    "127.0.0.1",
    "::1",
    "/run/sluice/.s.PGSQL.7000",
  ]);
  assert.deepEqual(found.map(({ port }) => port), [7000, 7000, 7000]);
  assert.deepEqual(found[0], {
    kind: "tcp",
    host: "127.0.0.1",
    port: 7000,
    backlog: 9,
    isShared: false,
  });
});

Deno.test("listenAddresses() takes * for every address of both families", async () => {
  const [any] = await addresses('listen_addr = "*"\nunix_socket_dir = ""');
  assert.equal(any?.kind === "tcp" ? any.host : "", "::");
});

Deno.test("listenAddresses() gives no address that another one takes already", async () => {
  for (
    const [listed, expected] of [
      ["127.0.0.1,::1,127.0.0.1", ["127.0.0.1", "::1"]],
      ["127.0.0.1,*", ["::"]],
      ["0.0.0.0,::", ["::"]],
    ] as const
  ) {
    const found = await addresses(`listen_addr = "${listed}"\nunix_socket_dir = ""`);
    assert.deepEqual(found.map((address) => address.kind === "tcp" && address.host), expected);
  }
  const shared = await addresses(
    'listen_addr = "*,127.0.0.11"\nso_reuseport = true\nunix_socket_dir = ""',
  );
  assert.equal(shared.length, 2, "those that are shared are free for each other");
});

Deno.test("listenAddresses() leaves out what is switched off", async () => {
  const tcpOnly = await addresses('listen_addr = "127.0.0.1"\nunix_socket_dir = ""');
  assert.deepEqual(tcpOnly.map(({ kind }) => kind), ["tcp"]);
  const [socket, ...others] = await addresses(`unix_socket_dir = "/run/sluice"
unix_socket_mode = "0700"\nunix_socket_group = "staff"`);
  assert.deepEqual(others, []);
  assert.deepEqual(socket, {
    kind: "unix",
    path: "/run/sluice/.s.PGSQL.6432",
    port: 6432,
    mode: 0o700,
    group: "staff",
    isShared: false,
  });
});

Deno.test("listenAddresses() leaves the group of the socket alone where none is set", async () => {
  const [socket] = await addresses('unix_socket_dir = "/run/sluice"');
  assert.equal(socket?.kind === "unix" ? socket.group : "?", undefined);
});
