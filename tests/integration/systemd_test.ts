/** A real process as systemd has it: what it tells. */

import assert from "node:assert/strict";
import { within } from "../support/eventually.ts";
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
