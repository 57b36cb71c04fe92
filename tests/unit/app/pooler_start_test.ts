/** A pooler before it serves, and one whose configuration cannot be read: made by hand. */

import assert from "node:assert/strict";
import type { LoadedConfig } from "../../../src/app/live_config.ts";
import { Pooler, type PoolerOptions } from "../../../src/app/pooler.ts";
import { Logger } from "../../../src/log/logger.ts";
import { formatAddress, type ListenAddress, ListenError } from "../../../src/net/network.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { SimNetwork } from "../../support/sim_net.ts";
import { loadToml } from "../config/memory_files.ts";
import { OWN_NAMES } from "../../support/own_names.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";

const TWO_LISTENERS = `[pooler]\nlisten_addr = "127.0.0.1"\nunix_socket_dir = "/run/sluice"
[databases."*"]\nhost = "127.0.0.1"\n`;

interface Made {
  readonly pooler: Pooler;
  readonly log: string[];
  readonly loaded: LoadedConfig;
}

async function make(network: SimNetwork, options: Partial<PoolerOptions> = {}): Promise<Made> {
  const clock = new FakeClock();
  const log: string[] = [];
  const loaded = { config: await loadToml(TWO_LISTENERS), userList: new Map() };
  const sink = { write: (line: string) => log.push(line.trimEnd()) };
  const pooler = new Pooler({
    clock,
    random: new SeededRandom(1),
    log: new Logger({ clock, processId: 1, sink, verbosity: 0 }),
    network,
    resolver: OWN_NAMES,
    engine: "simulated",
    loaded,
    load: () => Promise.resolve(loaded),
    ownUid: 1000,
    memory: () => Deno.memoryUsage(),
    ...options,
  });
  return { pooler, log, loaded };
}

function simulated(): SimNetwork {
  return new SimNetwork({
    random: new SeededRandom(1),
    clock: new FakeClock(),
    isAutomatic: true,
  });
}

async function stop(pooler: Pooler): Promise<void> {
  pooler.shutdown("immediate");
  await pooler.stopped;
}

/** What was logged, from the level on. */
function said(log: readonly string[]): string[] {
  return log.map((line) => line.replace(/^.*\] /, ""));
}

Deno.test("Pooler.start() listens on all addresses, says so, and gives them back", async () => {
  const { log, pooler } = await make(simulated());
  const addresses = await pooler.start();
  const names = ["127.0.0.1:6432", "unix:/run/sluice/.s.PGSQL.6432"];
  assert.deepEqual(addresses.map(formatAddress), names);
  assert.deepEqual(said(log), names.map((name) => `LOG listening on ${name}`));
  await stop(pooler);
});

Deno.test("Pooler.start() listens nowhere when one address is taken", async () => {
  const network = simulated();
  const [first, second] = [await make(network), await make(network)];
  const path = "/run/sluice/.s.PGSQL.6432";
  const options = () => ({ receiveBytes: 1, maxBusyReads: 0, tcp: SYSTEM_TCP });
  const taken = await network.listen(
    { kind: "unix", path, port: 6432, mode: 0o777, group: undefined },
    options,
  );
  await assert.rejects(first.pooler.start(), ListenError);
  taken.close();
  await second.pooler.start();
  await stop(second.pooler);
});

Deno.test("Pooler.start() makes do with one of several addresses of TCP, warns, and fails without any", async () => {
  const network = simulated();
  const options = () => ({ receiveBytes: 1, maxBusyReads: 0, tcp: SYSTEM_TCP });
  const tcp = (host: string): ListenAddress => ({ kind: "tcp", host, port: 6432, backlog: 1 });
  const listenOn = [tcp("127.0.0.1"), tcp("10.9.9.9")];
  const taken = await network.listen(tcp("127.0.0.1"), options);
  const { log, pooler } = await make(network, { listenOn });
  assert.deepEqual((await pooler.start()).map(formatAddress), ["10.9.9.9:6432"]);
  assert.match(said(log)[1] ?? "", /^WARNING .*127\.0\.0\.1:6432/);
  const { pooler: late } = await make(network, { listenOn });
  await assert.rejects(late.start(), ListenError);
  taken.close();
  await stop(pooler);
});

Deno.test("Pooler.reload() that fails changes nothing, and says why line by line", async () => {
  const { log, loaded, pooler } = await make(simulated(), {
    load: () => Promise.reject(new Error("config.toml:1: one\nconfig.toml:2: two")),
  });
  assert.equal(await pooler.reload(), false);
  assert.equal(pooler.live.config, loaded.config);
  assert.deepEqual(said(log), [
    "ERROR config.toml:1: one",
    "ERROR config.toml:2: two",
    "ERROR reload failed, nothing has been changed",
  ]);
});

Deno.test("Pooler.reload() takes nothing over when the process cannot follow", async () => {
  const next = { config: await loadToml(TWO_LISTENERS), userList: new Map() };
  const { loaded, log, pooler } = await make(simulated(), {
    load: () => Promise.resolve(next),
    onReloaded: () => {
      throw new Error("Cannot open the log file");
    },
  });
  assert.equal(await pooler.reload(), false);
  assert.equal(pooler.live.config, loaded.config);
  assert.equal(said(log)[0], "ERROR Cannot open the log file");
});

Deno.test("Pooler.reload() tells the process what it took over, and the log about warnings", async () => {
  const config = await loadToml(TWO_LISTENERS);
  const next = { config: { ...config, warnings: ["config.toml:9: odd"] }, userList: new Map() };
  const told: LoadedConfig[] = [];
  const { log, pooler } = await make(simulated(), {
    load: () => Promise.resolve(next),
    onReloaded: (loaded) => told.push(loaded),
  });
  assert.equal(await pooler.reload(), true);
  assert.deepEqual(told, [next]);
  assert.deepEqual(said(log), ["WARNING config.toml:9: odd", "LOG configuration reloaded"]);
});
