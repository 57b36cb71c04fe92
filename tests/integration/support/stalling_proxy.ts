/**
 * A way to PostgreSQL on which connecting can be brought to a halt: while the proxy stalls, the kernel
 * has no room for another connection and drops what asks for one, so that it comes about only after
 * the proxy goes on. Connections that exist are not touched. Relies on Linux's listen queue.
 */

import { TaskGroup } from "../../../src/base/task_group.ts";
import { saysItIsOver } from "../../support/connection_end.ts";

/** The kernel takes one connection more than this without anybody accepting it. */
const BACKLOG = 1;

/** A connection on the loopback that takes longer than this is not going to be made. */
const STALLED_AFTER_MS = 150;

/** A listener that passes bytes on to a port of 127.0.0.1. */
export class StallingProxy implements AsyncDisposable {
  readonly port: number;
  readonly #target: number;
  readonly #listener: Deno.TcpListener;
  readonly #tasks = new TaskGroup((error) => {
    throw error;
  });
  readonly #conns = new Set<Deno.Conn>();
  readonly #fillers: Promise<Deno.Conn>[] = [];
  #goingOn = Promise.resolve();
  #goOn = () => {};

  constructor(targetPort: number) {
    this.#target = targetPort;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: BACKLOG });
    this.port = this.#listener.addr.port;
    this.#tasks.spawn(() => this.#accept());
  }

  /** From now on no connection comes about. */
  async stall(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#goingOn = promise;
    this.#goOn = resolve;
    for (let isFull = false; !isFull;) {
      const filler = Deno.connect({ hostname: "127.0.0.1", port: this.port });
      this.#fillers.push(filler);
      isFull = !await isSettledSoon(filler);
    }
  }

  /** Connections come about again; those that asked meanwhile do so within some seconds. */
  resume(): void {
    this.#goOn();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.resume();
    for (const filler of await Promise.all(this.#fillers)) filler.close();
    this.#listener.close();
    for (const conn of this.#conns) conn[Symbol.dispose]();
    await this.#tasks[Symbol.asyncDispose]();
  }

  async #accept(): Promise<void> {
    for (;;) {
      const conn = await unlessClosed(this.#listener.accept());
      if (conn === undefined) return;
      this.#tasks.spawn(() => this.#serve(conn));
      await this.#goingOn;
    }
  }

  async #serve(conn: Deno.Conn): Promise<void> {
    const onward = await Deno.connect({ hostname: "127.0.0.1", port: this.#target });
    for (const each of [conn, onward]) this.#conns.add(each);
    await Promise.all([this.#pass(conn, onward), this.#pass(onward, conn)]);
  }

  /** Passes on what comes from one side; its end is the end of both. */
  async #pass(from: Deno.Conn, to: Deno.Conn): Promise<void> {
    const buffer = new Uint8Array(65_536);
    for (;;) {
      const count = await unlessClosed(from.read(buffer));
      if (count === undefined || count === null) break;
      let rest = buffer.subarray(0, count);
      while (rest.length > 0) {
        const written = await unlessClosed(to.write(rest));
        if (written === undefined) break;
        rest = rest.subarray(written);
      }
    }
    for (const conn of [from, to]) {
      this.#conns.delete(conn);
      conn[Symbol.dispose]();
    }
  }
}

/** The result, or undefined if the connection or listener is closed, by whomever. */
async function unlessClosed<T>(operation: Promise<T>): Promise<T | undefined> {
  try {
    return await operation;
  } catch (error) {
    if (!saysItIsOver(error)) throw error;
    return undefined;
  }
}

async function isSettledSoon(promise: Promise<unknown>): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), STALLED_AFTER_MS);
  });
  const isSettled = await Promise.race([promise.then(() => true), late]);
  clearTimeout(timer);
  return isSettled;
}
