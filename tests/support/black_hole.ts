/** A port that answers nothing, not even the wish to connect: its queue is full. */

import { eventually } from "./eventually.ts";

/** More than a queue of one takes. */
const FILLER_COUNT = 16;

/** Of 127.0.0.1, until it is disposed of. */
export class BlackHole implements AsyncDisposable {
  /** The port to vanish in. */
  readonly port: number;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 });
  readonly #abort = new AbortController();
  readonly #fillers: Promise<Deno.Conn | void>[] = [];

  private constructor() {
    this.port = this.#listener.addr.port;
  }

  /** Makes one; connections to it stay without an answer from now on. */
  static async make(): Promise<BlackHole> {
    const hole = new BlackHole();
    let settledCount = 0;
    const { signal } = hole.#abort;
    for (let i = 0; i < FILLER_COUNT; i++) {
      const filler = Deno.connect({ hostname: "127.0.0.1", port: hole.port, signal })
        .catch((error) => {
          // Those left over are given up at the end.
          if (error !== signal.reason) throw error;
        })
        .finally(() => settledCount += 1);
      hole.#fillers.push(filler);
    }
    await eventually("the queue is full", () => settledCount > 0);
    if (settledCount === FILLER_COUNT) throw new Error("This system has no black holes");
    return hole;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    for (const filler of this.#fillers) (await filler)?.close();
    this.#listener.close();
  }
}
