/**
 * A thread of its own that asks the console again and again and posts how long each answer took, in ms:
 * a loop that is held up answers late. In a thread, so that the load, which is in the same process, does
 * not hold up the clock. The first message to it says where the console is.
 */

// @ts-types="@types/pg"
import pg from "pg";
import type { ConsoleTarget } from "../chaos/idle_state.ts";

/** Between an answer and the next question. */
const PAUSE_MS = 50;

/** The thread's own end of the line. */
const scope = self as unknown as {
  onmessage: ((event: MessageEvent<ConsoleTarget>) => void) | null;
  postMessage(tookMs: number): void;
};

async function ping(target: ConsoleTarget): Promise<never> {
  const client = new pg.Client({ ...target, database: "pgbouncer" });
  await client.connect();
  for (;;) {
    const beganAtMs = performance.now();
    await client.query("show version");
    scope.postMessage(performance.now() - beganAtMs);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

scope.onmessage = ({ data }) => void ping(data);
