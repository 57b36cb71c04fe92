/** A real process that logs to syslog. */

import assert from "node:assert/strict";
import { DatagramReceiver } from "../support/datagram_receiver.ts";
import { startSluice } from "../support/pooler_process.ts";
import { tomlConfig } from "../support/toml_config.ts";

const IS_LINUX = Deno.build.os === "linux";

Deno.test({
  name: "the log goes to syslog as well, from the start, under the name that a reload gives it",
  ignore: !IS_LINUX,
  async fn() {
    using daemon = DatagramReceiver.atPath();
    const config = (pooler: Readonly<Record<string, string | boolean>>) => tomlConfig({ pooler });
    await using sluice = await startSluice({
      config: config({ syslog: true, syslog_facility: "local0", syslog_ident: "one" }),
      env: { SLUICE_SYSLOG_SOCKET: daemon.path },
    });
    const line = await daemon.waitFor(/process up/);
    assert.match(line, /^<134>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d one\[\d+\]: process up: /);
    assert.ok(line.includes(` one[${sluice.pid}]: `));
    await sluice.rewriteConfig(config({ syslog: true, syslog_ident: "two" }));
    sluice.signal("SIGHUP");
    await daemon.waitFor(/^<30>.* two\[\d+\]: configuration reloaded$/);
    await sluice.rewriteConfig(config({ syslog: false }));
    sluice.signal("SIGHUP");
    await sluice.waitForLog(/configuration reloaded[^]*configuration reloaded/);
    assert.equal((await sluice.stop("SIGTERM")).code, 0);
    assert.match(sluice.log(), /process down\n$/);
    assert.ok(daemon.poll().every((text) => !text.includes("process down")));
  },
});

Deno.test({
  name: "without a log daemon the other places lose nothing; one that comes is told what it missed",
  ignore: !IS_LINUX,
  async fn() {
    const path = `@sluice-test-${crypto.randomUUID()}`;
    await using sluice = await startSluice({
      config: tomlConfig({ pooler: { syslog: true } }),
      env: { SLUICE_SYSLOG_SOCKET: path },
    });
    assert.match(sluice.log(), / process up: /);
    using daemon = DatagramReceiver.at(path);
    sluice.signal("SIGHUP");
    await daemon.waitFor(/^<28>.* pgbouncer\[\d+\]: \d+ log lines were lost$/);
    await daemon.waitFor(/: configuration reloaded$/);
  },
});
