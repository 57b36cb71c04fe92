/**
 * A server on a real port that does what a test's script says, connection by connection: what a
 * PostgreSQL never does, or does only in moments that are hard to meet.
 */

import { PATIENCE_MS } from "./eventually.ts";
import { waitUntil } from "../../scripts/guarded_process.ts";
import { backend, join, MessageSplitter, type RawMessage, utf8 } from "./messages.ts";

/** What is done with the connection of number `index`, counted from 0; it is closed afterwards. */
export type BackendScript = (conn: BackendConn, index: number) => Promise<void>;

/** Listens until it is disposed of. */
export class TcpBackend implements AsyncDisposable {
  /** Of 127.0.0.1, unless it was told another address. */
  readonly port: number;
  /** What each connection is answered with; may be changed between two of them. */
  script: BackendScript;
  /** When each connection came, on `performance.now()`'s clock. */
  readonly acceptedAtMs: number[] = [];
  readonly #listener: Deno.TcpListener;
  readonly #open = new Set<BackendConn>();
  readonly #tasks = new Set<Promise<void>>();
  readonly #faults: unknown[] = [];
  readonly #accepting: Promise<void>;

  constructor(
    script: BackendScript,
    { hostname = "127.0.0.1", port = 0 }: { hostname?: string; port?: number } = {},
  ) {
    this.script = script;
    this.#listener = Deno.listen({ hostname, port });
    this.port = this.#listener.addr.port;
    this.#accepting = this.#accept();
  }

  /** Connections so far. */
  get count(): number {
    return this.acceptedAtMs.length;
  }

  /** Connections whose script has not ended. */
  get openCount(): number {
    return this.#open.size;
  }

  /** Waits until there have been so many connections. */
  async waitForCount(count: number): Promise<void> {
    if (await waitUntil(() => this.count >= count, PATIENCE_MS)) return;
    throw new Error(`${this.count} connections came, not ${count}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener[Symbol.dispose](); // May be called twice.
    await this.#accepting;
    for (const conn of this.#open) conn.close();
    await Promise.all(this.#tasks);
    if (this.#faults.length > 0) throw this.#faults[0];
  }

  async #accept(): Promise<void> {
    for await (const accepted of this.#listener) {
      const index = this.acceptedAtMs.length;
      this.acceptedAtMs.push(performance.now());
      const conn = new BackendConn(accepted);
      this.#open.add(conn);
      const task: Promise<void> = this.script(conn, index)
        .catch((error: unknown) => {
          if (!(error instanceof PeerGone)) this.#faults.push(error);
        })
        .finally(() => {
          conn.close();
          this.#open.delete(conn);
          this.#tasks.delete(task);
        });
      this.#tasks.add(task);
    }
  }
}

/** The pooler has hung up in the middle of a script, which ends the script. */
class PeerGone extends Error {
  override readonly name = "PeerGone";
}

/** One connection, as the server sees it. */
export class BackendConn {
  readonly #conn: Deno.Conn;
  readonly #splitter = new MessageSplitter();
  #isClosed = false;

  constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  /** Sends bytes as they are. */
  async send(...pieces: readonly Uint8Array[]): Promise<void> {
    let rest: Uint8Array = join(...pieces);
    while (rest.length > 0) rest = rest.subarray(await this.#io(() => this.#conn.write(rest)));
  }

  /** Reads the startup packet, its length left out. */
  async startup(): Promise<Uint8Array> {
    for (;;) {
      const packet = this.#splitter.nextUntyped();
      if (packet !== undefined) return packet;
      if (!await this.#fill()) throw new PeerGone();
    }
  }

  /** The next message. */
  async receive(): Promise<RawMessage> {
    for (;;) {
      const message = this.#splitter.next();
      if (message !== undefined) return message;
      if (!await this.#fill()) throw new PeerGone();
    }
  }

  /** Reads until the pooler hangs up. */
  async untilGone(): Promise<void> {
    while (await this.#fill());
  }

  /** Lets the pooler in without asking for a password. */
  async logIn(parameters: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.startup();
    await this.send(
      backend.authentication(0),
      ...Object.entries({ server_version: "18.0", client_encoding: "UTF8", ...parameters }).map(
        ([name, value]) => backend.parameterStatus(name, value),
      ),
      backend.keyData(4711, 815),
      backend.ready(),
    );
  }

  /** Answers each Query with one row, one column, `value`, until the pooler leaves. */
  async serve(value = "1"): Promise<void> {
    for (;;) {
      const { type } = await this.receive();
      if (type === "X") return;
      if (type !== "Q") throw new Error(`This fake server does not know message ${type}`);
      await this.send(
        backend.rowDescription(["x"]),
        backend.dataRow([value]),
        backend.complete("SELECT 1"),
        backend.ready(),
      );
    }
  }

  /** Hangs up. */
  close(): void {
    this.#isClosed = true;
    this.#conn[Symbol.dispose]();
  }

  async #fill(): Promise<boolean> {
    const buffer = new Uint8Array(65_536);
    const count = await this.#io(async () => await this.#conn.read(buffer) ?? 0);
    this.#splitter.add(buffer.subarray(0, count));
    return count > 0;
  }

  async #io(action: () => Promise<number>): Promise<number> {
    try {
      return await action();
    } catch (error) {
      const isEnd = this.#isClosed || error instanceof Deno.errors.ConnectionReset ||
        error instanceof Deno.errors.BrokenPipe;
      if (isEnd) throw new PeerGone();
      throw error;
    }
  }
}

/** Bytes that are no message of the protocol: a length below 4. */
export const GARBAGE: Uint8Array = utf8("\x00\x00\x00\x00\x01garbage");
