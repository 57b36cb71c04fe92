/** `check --diff` in front of a console that a test scripts. */

import assert from "node:assert/strict";
import { checkDiff } from "../../../src/app/check_diff.ts";
import type { ByteStream } from "../../../src/net/byte_stream.ts";
import { defaultSettings } from "../../../src/config/validate.ts";
import { authenticationOk, authenticationSasl } from "../../../src/wire/authentication_messages.ts";
import {
  commandComplete,
  dataRow,
  parameterStatus,
  readyForQuery,
  rowDescription,
  TransactionStatus,
} from "../../../src/wire/backend_messages.ts";
import { errorResponse } from "../../../src/wire/error_response.ts";
import { PgError } from "../../../src/wire/pg_error.ts";
import { SQLSTATE } from "../../../src/wire/sqlstate.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { join, textOf, utf8 } from "../../support/messages.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { SimNetwork } from "../../support/sim_net.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";

const STREAM_OPTIONS = { receiveBytes: 4_096, maxBusyReads: 0, tcp: SYSTEM_TCP };

const READY = readyForQuery(TransactionStatus.Idle);

const WELCOME = join(authenticationOk(), parameterStatus("server_version", "1"), READY);

const TEXT = 25;

function table(columns: readonly string[], ...rows: readonly (string | null)[][]): Uint8Array {
  const described = rowDescription(columns.map((name) => ({ name, oid: TEXT, sizeBytes: -1 })));
  return join(described, ...rows.map((row) => dataRow(row)), commandComplete("SHOW"), READY);
}

const CONFIG = table(["key", "value"], ["job_name", "x"], ["conffile", "config.toml"]);

const COLUMNS = ["kind", "name", "before", "after", "effect"];

/** What the console says first, and to each query by a word that is in it; nothing: it is silent. */
interface Script {
  readonly welcome?: Uint8Array;
  readonly answers?: Readonly<Record<string, Uint8Array>>;
  /** Whether it ends the connection behind the welcome. */
  readonly hangsUp?: boolean;
}

class World {
  readonly clock = new FakeClock();
  readonly network = new SimNetwork({
    random: new SeededRandom(1),
    clock: this.clock,
    isAutomatic: true,
  });
  readonly asked: string[] = [];

  /** Answers one connection as the script says. */
  async serve({ answers = {}, hangsUp = false, welcome }: Script): Promise<void> {
    const path = "/run/sluice/.s.PGSQL.6432";
    const address = { kind: "unix", path, port: 6432, mode: 0o777, group: undefined } as const;
    const listener = await this.network.listen(address, () => STREAM_OPTIONS);
    for await (const stream of listener.connections()) {
      listener.close();
      await this.#answer(stream, [welcome, ...Object.entries(answers)], hangsUp);
    }
  }

  async #answer(
    stream: ByteStream,
    script: readonly (Uint8Array | undefined | [string, Uint8Array])[],
    hangsUp: boolean,
  ): Promise<void> {
    const answers = [...script];
    for await (const chunk of stream.chunks()) {
      const next = answers.shift();
      this.asked.push(textOf(chunk));
      const bytes = Array.isArray(next) ? next[1] : next;
      if (bytes === undefined) continue;
      if (Array.isArray(next)) assert.ok(textOf(chunk).includes(next[0]), textOf(chunk));
      await stream.write(bytes, 0, bytes.length);
      if (hangsUp) stream.finishWriting();
    }
    stream.close();
  }

  check(directory = "/run/sluice"): Promise<string[]> {
    return checkDiff({
      path: "config.toml",
      settings: defaultSettings({ unixSocketDir: directory }),
      network: this.network,
      clock: this.clock,
      streamOptions: STREAM_OPTIONS,
      limitMs: 10_000,
      isSameFile: (a, b) => Promise.resolve(a === b),
    });
  }
}

/** What `check --diff` says to a console that follows the script. */
async function report(script: Script): Promise<string[]> {
  const world = new World();
  const serving = world.serve(script);
  const lines = await world.check();
  await serving;
  assert.equal(world.clock.timerCount, 0);
  return lines;
}

/** Why it says nothing. */
async function complaint(script: Script): Promise<string> {
  const world = new World();
  const serving = world.serve(script);
  const error = await world.check().catch((error: unknown) => error);
  await serving;
  assert.ok(error instanceof Error && error.name === "ConsoleError", String(error));
  return error.message;
}

Deno.test("checkDiff() logs in as pgbouncer and prints a line for each change", async () => {
  const changes = table(
    COLUMNS,
    ["setting", "query_timeout", "1", "2", "at once"],
    ["setting", "logfile", "", "a.log", "at once"],
    ["database", "näw", null, "host=x", "at once"],
    ["database", "old", "host=y", null, "clients are closed"],
  );
  assert.deepEqual(
    await report({ welcome: WELCOME, answers: { "SHOW CONFIG": CONFIG, "RELOAD DRY": changes } }),
    [
      "setting query_timeout: 1 -> 2 (at once)",
      'setting logfile: "" -> a.log (at once)',
      "database näw: (none) -> host=x (at once)",
      "database old: host=y -> (none) (clients are closed)",
    ],
  );
});

Deno.test("checkDiff() says so when nothing would change", async () => {
  const answers = { "SHOW CONFIG": CONFIG, "RELOAD DRY": table(COLUMNS) };
  assert.deepEqual(await report({ welcome: WELCOME, answers }), ["nothing would change"]);
});

Deno.test("checkDiff() says which file the running process reads if it is another", async () => {
  const config = table(["key", "value"], ["conffile", "/etc/other.toml"]);
  const answers = { "SHOW CONFIG": config, "RELOAD DRY": table(COLUMNS) };
  assert.deepEqual(await report({ welcome: WELCOME, answers }), [
    "the running Sluice reads /etc/other.toml, not config.toml",
    "nothing would change",
  ]);
});

Deno.test("checkDiff() says why it could not ask", async () => {
  const failed = errorResponse(
    new PgError(SQLSTATE.configFileError, "RELOAD failed", { severity: "ERROR" }),
  );
  const cases: readonly (readonly [Script, RegExp])[] = [
    [{ welcome: authenticationSasl(["SCRAM-SHA-256"]) }, /asks for a password: run this as/],
    [
      { welcome: errorResponse(new PgError(SQLSTATE.cannotConnectNow, "no")), hangsUp: true },
      /^no$/,
    ],
    [{ welcome: utf8("HTTP/1.1 400 Bad Request\r\n") }, /^what answers there is no Sluice: /],
    [
      { welcome: WELCOME, answers: { "SHOW CONFIG": CONFIG, "RELOAD DRY": join(failed, READY) } },
      /^RELOAD failed$/,
    ],
  ];
  for (const [script, expected] of cases) assert.match(await complaint(script), expected);
});

Deno.test("checkDiff() says that nobody listens, or that there is no socket to ask at", async () => {
  const message = /^no Sluice at unix:\/run\/sluice\/\.s\.PGSQL\.6432: connect failed$/;
  await assert.rejects(new World().check(), { name: "ConsoleError", message });
  await assert.rejects(new World().check(""), { message: /^unix_socket_dir is empty/ });
});

Deno.test("checkDiff() does not wait for ever for a console that is silent", async () => {
  const world = new World();
  const serving = world.serve({});
  const checking = world.check();
  while (world.asked.length === 0) await world.network.runUntilIdle();
  world.clock.advance(10_000);
  await assert.rejects(checking, { message: "the console does not answer" });
  await serving;
});
