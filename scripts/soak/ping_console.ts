/** Asks the console again and again, from a thread of its own. */

import type { ConsoleTarget } from "../chaos/idle_state.ts";

/** Has it asked until disposed; `note` is told how long each answer took, in ms. */
export function pingConsole(target: ConsoleTarget, note: (tookMs: number) => void): Disposable {
  const worker = new Worker(new URL("console_ping.ts", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }: MessageEvent<number>) => note(data);
  worker.postMessage(target);
  return { [Symbol.dispose]: () => worker.terminate() };
}
