import assert from "node:assert/strict";
import { AuthFileWatch } from "../../../src/app/auth_file_watch.ts";
import { LiveConfig } from "../../../src/app/live_config.ts";
import { Secret } from "../../../src/base/secret.ts";
import { Logger } from "../../../src/log/logger.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { loadToml } from "../config/memory_files.ts";

/** A file that the test writes. */
class MemoryFile {
  version = 1;
  users: Readonly<Record<string, string>> = { ada: "one" };
  problem: string | undefined;
  loadCount = 0;
  /** What looking at it waits for. */
  slowness: Promise<void> = Promise.resolve();

  async signature(): Promise<string> {
    await this.slowness;
    return String(this.version);
  }

  load(): Promise<ReadonlyMap<string, Secret>> {
    this.loadCount += 1;
    if (this.problem !== undefined) return Promise.reject(new Error(this.problem));
    const entries = Object.entries(this.users).map(([name, text]) =>
      [name, new Secret(text)] as const
    );
    return Promise.resolve(new Map(entries));
  }

  write(users: Readonly<Record<string, string>>): void {
    this.users = users;
    this.version += 1;
  }
}

async function make(toml = '[pooler]\nauth_file = "users.txt"\n') {
  const file = new MemoryFile();
  const log: string[] = [];
  const sink = { write: (line: string) => void log.push(line) };
  const config = await loadToml(toml);
  const live = new LiveConfig({ config, userList: await file.load() });
  const logger = new Logger({ clock: new FakeClock(), processId: 1, sink, verbosity: 0 });
  const watch = new AuthFileWatch({ access: file, live, log: logger });
  const secretOf = (name: string) => live.credentials.get(name)?.hasSecret(new Secret("two"));
  return { file, live, log, watch, secretOf };
}

Deno.test("a changed auth_file is in force after the next look, with a line in the log", async () => {
  const { file, live, log, secretOf, watch } = await make();
  await watch.look();
  assert.deepEqual([secretOf("ada"), log], [false, []], "as it was loaded");
  file.write({ ada: "two", bob: "two" });
  await watch.look();
  assert.deepEqual([secretOf("ada"), secretOf("bob")], [true, true]);
  assert.match(log.join(""), /auth_file has changed, re-read/);
  file.write({});
  await watch.look();
  assert.equal(live.credentials.size, 0);
});

Deno.test("a file that has not changed is looked at and not read", async () => {
  const { file, watch } = await make();
  for (let i = 0; i < 3; i++) await watch.look();
  assert.equal(file.loadCount, 2, "once at the start, and once to be sure");
});

Deno.test("a bad auth_file changes nothing, is told of once, and is taken when it is mended", async () => {
  const { file, log, secretOf, watch } = await make();
  file.write({ ada: "two" });
  file.problem = "users.txt:3: broken\nusers.txt:4: too";
  for (let i = 0; i < 3; i++) await watch.look();
  assert.equal(secretOf("ada"), false);
  const said = log.join("");
  for (const text of ["users.txt:3: broken", "users.txt:4: too", "stay as they were"]) {
    assert.equal(said.split(text).length, 2, text);
  }
  file.problem = undefined;
  file.version += 1;
  await watch.look();
  assert.equal(secretOf("ada"), true);
});

Deno.test("without auth_file nothing is looked at", async () => {
  const { file, watch } = await make("");
  const before = file.loadCount;
  await watch.look();
  assert.equal(file.loadCount, before);
});

Deno.test("what was read of one file is dropped when a reload has named another meanwhile", async () => {
  const { file, live, secretOf, watch } = await make();
  const { promise, resolve } = Promise.withResolvers<void>();
  file.slowness = promise;
  file.write({ ada: "two" });
  const looking = watch.look();
  await watch.look();
  assert.equal(file.loadCount, 1, "never two at once");
  live.replace({ ...live.loaded, config: await loadToml('[pooler]\nauth_file = "other.txt"\n') });
  resolve();
  await looking;
  assert.equal(secretOf("ada"), false);
});
