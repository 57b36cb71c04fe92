/** What is said of a process's own entry among its peers. */

import assert from "node:assert/strict";
import { loadToml } from "./memory_files.ts";

const UNREACHED = "with so_reuseport, peers may not reach it while it waits for its last clients";

/** The warnings where the others are peers 1 and 2, and this process is 2 unless said. */
async function warningsOf(pooler: string, own = ""): Promise<readonly string[]> {
  const text = `[pooler]\npeer_id = 2\nlisten_addr = "127.0.0.2, *"\n${pooler}\n` +
    `[peers.1]\nhost = "10.0.0.1"\n${own}`;
  return (await loadToml(text)).warnings;
}

Deno.test("peerWarnings() takes a process for one that need not be among its peers, as PgBouncer does", async () => {
  assert.deepEqual(await warningsOf(""), []);
  for (const host of ["127.0.0.2", "10.0.0.2", "sluice-2.example"]) {
    assert.deepEqual(await warningsOf("", `[peers.2]\nhost = "${host}"\nport = 7432`), [], host);
  }
});

Deno.test("peerWarnings() says that a process without an entry is out of reach while it ends", async () => {
  const warning =
    `config.toml: [peers] has no entry for 2, the "peer_id" of this process: ${UNREACHED}`;
  assert.deepEqual(await warningsOf("so_reuseport = true"), [warning]);
  const { warnings } = await loadToml("[pooler]\npeer_id = 2\nso_reuseport = true");
  assert.deepEqual(warnings, [], "who has no peers");
});

Deno.test("peerWarnings() says that an own address that is not listened on is out of reach", async () => {
  const shared = "so_reuseport = true";
  assert.deepEqual(await warningsOf(shared, '[peers.2]\nhost = "127.0.0.2"'), []);
  for (const [host, port] of [["127.0.0.3", 6432], ["127.0.0.2", 6433]]) {
    assert.deepEqual(await warningsOf(shared, `[peers.2]\nhost = "${host}"\nport = ${port}`), [
      `config.toml: Peer "2" is this process, but ${host} with port ${port} is none of its ` +
      `"listen_addr" with "listen_port": ${UNREACHED}`,
    ]);
  }
});

Deno.test("peerWarnings() says that an own unix socket is not there, whether or not the port is shared", async () => {
  for (const shared of ["", "so_reuseport = true\n"]) {
    const pooler = `${shared}unix_socket_dir = "/run/sluice/2"`;
    for (const host of ["/run/sluice/2", "/run/sluice/2/"]) {
      assert.deepEqual(await warningsOf(pooler, `[peers.2]\nhost = "${host}"`), [], host);
    }
    for (const [host, port] of [["/run/sluice/1", 6432], ["@sluice", 6432], ["/run/sluice/2", 1]]) {
      assert.deepEqual(await warningsOf(pooler, `[peers.2]\nhost = "${host}"\nport = ${port}`), [
        `config.toml: Peer "2" is this process, but ${host} with port ${port} is not its ` +
        '"unix_socket_dir" with "listen_port": peers do not reach it there',
      ]);
    }
  }
});
