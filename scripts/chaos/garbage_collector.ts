/**
 * Has a process of the runtime collect its garbage, over the protocol of its debugger: when it does so by
 * itself is its own affair, and until then nobody can tell what is in use from what is not.
 */

/** One page of the debugger's list. */
interface Target {
  readonly webSocketDebuggerUrl: string;
}

/** Asks a process that was started with `--inspect` and this address, `host:port`. */
export async function collectGarbage(inspectAddress: string): Promise<void> {
  const answer = await fetch(`http://${inspectAddress}/json/list`);
  const [target] = await answer.json() as Target[];
  if (target === undefined) throw new Error("Cannot collect garbage: there is nothing to inspect");
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  try {
    await once(socket, "open");
    socket.send(JSON.stringify({ id: 1, method: "HeapProfiler.collectGarbage" }));
    await once(socket, "message");
  } finally {
    socket.close();
    await once(socket, "close");
  }
}

async function once(socket: WebSocket, event: "open" | "message" | "close"): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener(event, () => resolve(), { once: true });
    socket.addEventListener("error", () => reject(new Error("Cannot reach the debugger")), {
      once: true,
    });
  });
}
