/** What holds for one database, and what of it is refused. */

import assert from "node:assert/strict";
import {
  allServerTls,
  channelBindingOf,
  serverTlsOf,
} from "../../../src/config/effective_settings.ts";
import { needsTls, usesTls } from "../../../src/config/tls_needs.ts";
import { errorsOf, loadIni, loadToml } from "./memory_files.ts";

Deno.test("loadConfig() says what is missing for TLS with servers, of all or of one database", async () => {
  const problems = async (lines: string) => await errorsOf(loadToml(`[pooler]\n${lines}`));
  const own = '\n[databases.own]\nserver_tls_ca_file = "ca"';
  const noAuthority =
    'config.toml: "server_tls_sslmode" is "verify-full", and "server_tls_ca_file" is not set';
  assert.deepEqual(await problems('server_tls_sslmode = "verify-full"'), [noAuthority]);
  assert.deepEqual(await problems(`server_tls_sslmode = "verify-full"${own}\n[databases.b]`), [
    noAuthority,
  ]);
  await loadToml(`[pooler]\nserver_tls_sslmode = "verify-full"${own}`);
  assert.deepEqual(await problems('server_tls_cert_file = "a"'), [
    'config.toml: "server_tls_cert_file" and "server_tls_key_file" go together: one is not set',
  ]);
  for (const mode of ["allow", "prefer"]) {
    assert.deepEqual(
      await problems(`[databases.a]
server_tls_negotiation = "direct"
server_tls_sslmode = "${mode}"
[databases.b]
server_tls_sslmode = "${mode}"`),
      [
        'config.toml:2: "server_tls_negotiation" is "direct", which needs "server_tls_sslmode" to be ' +
        `require, verify-ca or verify-full, not "${mode}", for database "a"`,
      ],
    );
  }
  assert.deepEqual(
    await problems(
      'server_channel_binding = "require"\n[databases.a]\nserver_tls_sslmode = "disable"',
    ),
    [
      'config.toml:3: "server_channel_binding" is "require", which "server_tls_sslmode" "disable" ' +
      'makes impossible, for database "a"',
    ],
  );
  assert.match((await problems('[databases.a]\nserver_tls_protocols = "x"'))[0]!, /found "x"$/);
});

Deno.test("a database's own words on TLS go before those that hold for all", async () => {
  const config = await loadToml(`[pooler]
server_tls_sslmode = "verify-ca"
server_tls_ca_file = "ca"
server_tls_protocols = "tlsv1.2"
[databases.a]
host = "a.example"
server_tls_sslmode = "verify-full"
server_tls_crl_file = "crl"
server_channel_binding = "require"
[databases.b]
host = "b.example,/tmp"
[databases.c]
host = "/tmp"`);
  const { serverTlsCaFile, serverTlsCrlFile, serverTlsProtocols, serverTlsSslmode } = serverTlsOf(
    config,
    "a",
  );
  assert.deepEqual(
    [serverTlsCaFile, serverTlsCrlFile, serverTlsProtocols, serverTlsSslmode],
    ["ca", "crl", "tlsv1.2", "verify-full"],
  );
  assert.equal(serverTlsOf(config, "b").serverTlsSslmode, "verify-ca");
  assert.equal(channelBindingOf(config, "a"), "require");
  assert.equal(channelBindingOf(config, "b"), "prefer");
  // A unix socket has no TLS.
  assert.deepEqual(allServerTls(config), [serverTlsOf(config, "a"), serverTlsOf(config, "b")]);
});

Deno.test("TLS is needed where a database demands it, and used where one may have it", async () => {
  const database = (mode: string, host = "a") =>
    `[databases.a]\nhost = "${host}"\nserver_tls_sslmode = "${mode}"\n`;
  const cases = [
    ["[pooler]", false, false],
    [database("disable"), false, false],
    [database("prefer"), false, true],
    [database("require"), true, true],
    [database("require", "/tmp"), false, false],
    [`[pooler]\nserver_tls_sslmode = "require"\n${database("disable")}`, false, false],
  ] as const;
  for (const [text, isNeeded, isUsed] of cases) {
    const config = await loadToml(text);
    assert.deepEqual([needsTls(config), usesTls(config)], [isNeeded, isUsed], text);
  }
});

Deno.test("in an INI, a database's words on TLS stand in its connection string", async () => {
  const config = await loadIni(`[databases]
a = host=db.example server_tls_sslmode=verify-full server_tls_ca_file='/etc/my ca.crt'
[pgbouncer]
listen_addr = 127.0.0.1
`);
  const { serverTlsCaFile, serverTlsSslmode } = serverTlsOf(config, "a");
  assert.deepEqual([serverTlsSslmode, serverTlsCaFile], ["verify-full", "/etc/my ca.crt"]);
});
