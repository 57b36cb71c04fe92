/**
 * Shows that the simulation finds faults: `deno task sim:planted` plants one fault after the other
 * into a copy of the sources, and tells after how many seeds the simulation has found it.
 * `--only NAME` plants one. It is an error if one is not found.
 */

import { parseArgs } from "@std/flags";
import { join } from "node:path";
import { projectDir } from "./staging.ts";

/** A fault, as a change of one text in one file. */
export interface PlantedFault {
  readonly name: string;
  readonly file: string;
  /** Stands in the file once. */
  readonly before: string;
  readonly after: string;
}

/** Seeds within which a fault has to be found. */
const MAX_SEEDS = 300;

/** Faults of many kinds. */
export const PLANTED_FAULTS: readonly PlantedFault[] = [
  {
    name: "a session's server is not reset",
    file: "src/server/server_session.ts",
    before: "    const isDue = resetsAlways || this.#wasSession;",
    after: "    const isDue = resetsAlways;",
  },
  {
    name: "a server that comes free wakes nobody",
    file: "src/pool/pool.ts",
    before: "return server.discard(EVICTED);\n    this.#serveNext();",
    after: "return server.discard(EVICTED);",
  },
  {
    name: "a server is released before it is unlinked",
    file: "src/client/relay.ts",
    before: `    const isInDoubt = this.#isInDoubt();
    this.#unlink();
    this.#options.host.enterIdle();
    if (isInDoubt) server.discard("answers out of step with requests");
    else server.release(false);`,
    after: `    const isInDoubt = this.#isInDoubt();
    this.#options.host.enterIdle();
    if (isInDoubt) server.discard("answers out of step with requests");
    else server.release(false);
    this.#unlink();`,
  },
  {
    name: "a server is released while an answer is due",
    file: "src/client/relay.ts",
    before:
      "return server.transactionStatus === TransactionStatus.Idle && this.#intake.requests.isEmpty &&",
    after: "return server.transactionStatus === TransactionStatus.Idle &&",
  },
  {
    name: "a server is released inside a transaction",
    file: "src/client/relay.ts",
    before:
      "return server.transactionStatus === TransactionStatus.Idle && this.#intake.requests.isEmpty &&",
    after: "return this.#intake.requests.isEmpty &&",
  },
  {
    name: "the server of a lost client is given to others as it is",
    file: "src/client/relay.ts",
    before: "      : this.#isAtRest(server) && !this.#isInDoubt();",
    after: "      : server.isBetweenMessages && !this.#isInDoubt();",
  },
  {
    name: "a server that is closed stays in its list",
    file: "src/pool/server_lists.ts",
    before: "    this.#remove(server, before);\n    this.#insert(server);",
    after: '    if (server.state.kind !== "closed") this.#remove(server, before);\n' +
      "    this.#insert(server);",
  },
  {
    name: "a pool opens one server more than it may",
    file: "src/pool/pool.ts",
    before: "if (this.servers.count >= poolSize + reservePoolSize) return;\n    while",
    after: "if (this.servers.count > poolSize + reservePoolSize) return;\n" +
      "    if (this.servers.count === poolSize && this.waiting.size > 1) this.openServer();\n    while",
  },
  {
    name: "a server keeps a session parameter of the client before",
    file: "src/link/parameter_cache.ts",
    before: "        if (!this.#mayDiffer(i, client)) return false;\n        isSame = false;",
    after:
      "        if (i !== 4 && !this.#mayDiffer(i, client)) return false;\n        isSame = false;",
  },
  {
    name: "the first of several queries is counted twice",
    file: "src/client/request_clock.ts",
    before: "    stats.queryCount += 1;",
    after: "    stats.queryCount += isMoreDue ? 2 : 1;",
  },
  {
    name: "bytes of a message in parts are not counted",
    file: "src/client/client_intake.ts",
    before: `  take(buffer: Uint8Array, length: number, hasServer: boolean): void {
    this.#options.stats.bytesReceived += length;`,
    after: `  take(buffer: Uint8Array, length: number, hasServer: boolean): void {
    if (!this.#cursor.isMidMessage) this.#options.stats.bytesReceived += length;`,
  },
  {
    name: "the timer of a cancel request is left",
    file: "src/client/cancel_delivery.ts",
    before: "    timer?.cancel();",
    after: "",
  },
  {
    name: "a cancel request is sent though its client has lost the server",
    file: "src/client/cancel_request.ts",
    before: `      const isSameLink = relay.server === server && relay.linkCount === linkCount;
      if (!isSameLink || !relay.isCancelable || server.cancelKey === undefined) {`,
    after: `      if (linkCount < 0 || server.cancelKey === undefined) {`,
  },
  {
    name: "a server that is being canceled is given to others",
    file: "src/server/server_session.ts",
    before: "    if (this.#cancelsInFlight > 0) {\n      this.#enter(",
    after: "    if (this.#cancelsInFlight > 99) {\n      this.#enter(",
  },
  {
    name: "the place of a cancel request is not forgotten",
    file: "src/client/cancel_places.ts",
    before: "      if (places.activeCount === 0) this.#byOwner.delete(owner);",
    after: "",
  },
  {
    name: "who waits too long is not told",
    file: "src/maintenance/client_expiry.ts",
    before: "  if (isOver(sinceMs, timeouts.queryWaitMs, nowMs)) {",
    after: "  if (isOver(sinceMs, 2 * timeouts.queryWaitMs, nowMs)) {",
  },
  {
    name: "statements that begin alike are taken for the same",
    file: "src/link/statement_book.ts",
    before: "    const key = keyOf(content, reading);",
    after: "    const key = keyOf(content.subarray(0, 10), reading);",
  },
];

/** The text of a file with the fault in it. @throws {Error} If the file is not as it is known. */
export function plant(text: string, { after, before, file, name }: PlantedFault): string {
  const parts = text.split(before);
  if (parts.length !== 2) {
    throw new Error(`Cannot plant "${name}": ${file} has its text ${parts.length - 1} times`);
  }
  return parts.join(after);
}

/** What the simulation needs. */
const COPIED = ["src", "tests", "scripts", "deno.json", "deno.lock", "mod.ts"] as const;

async function copyTree(from: string, to: string): Promise<void> {
  const { isDirectory } = await Deno.stat(from);
  if (!isDirectory) return await Deno.copyFile(from, to);
  await Deno.mkdir(to, { recursive: true });
  for await (const { name } of Deno.readDir(from)) await copyTree(join(from, name), join(to, name));
}

/** Runs the simulation in a folder. Returns what it printed last. */
async function simulateIn(cwd: string): Promise<string> {
  const { stderr, stdout } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--no-check", "--allow-read", "--allow-env"],
      ...["scripts/simulate.ts", "--seeds", String(MAX_SEEDS)],
    ],
    cwd,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
}

/** What the first assertion that failed says, and after how many seeds. */
function verdictOf(output: string): { found: boolean; text: string } {
  const match = /^seed (\d+) failed, after (\d+) without a fault$/m.exec(output);
  if (match === null) {
    const isClean = /no fault$/m.test(output);
    return { found: false, text: isClean ? `not in ${MAX_SEEDS} seeds` : output.slice(-2_000) };
  }
  const reason = /^\w*(?:Error|Rejection)\b[^:]*: (.*)$/m.exec(output)?.[1] ?? "";
  return { found: true, text: `${Number(match[2]) + 1} seeds (${match[1]}): ${reason}` };
}

async function main(): Promise<number> {
  const { only } = parseArgs(Deno.args, { string: ["only"] });
  const faults = PLANTED_FAULTS.filter(({ name }) => only === undefined || name === only);
  if (faults.length === 0) throw new RangeError(`--only: there is no fault "${only}"`);
  const folder = await Deno.makeTempDir();
  let missed = 0;
  try {
    for (const name of COPIED) await copyTree(join(projectDir(), name), join(folder, name));
    for (const fault of faults) {
      const path = join(folder, fault.file);
      const sound = await Deno.readTextFile(path);
      await Deno.writeTextFile(path, plant(sound, fault));
      const { found, text } = verdictOf(await simulateIn(folder));
      await Deno.writeTextFile(path, sound);
      if (!found) missed += 1;
      console.log(`${fault.name}: ${text}`);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  return missed === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main());
