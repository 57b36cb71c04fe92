/** COPY as a backend of the fake PostgreSQL does it. */

import { BackendEnd, type FakeLine } from "./fake_line.ts";
import { StatementError } from "./fake_statements.ts";
import { backend as say, textOf } from "./messages.ts";

/**
 * Takes rows until CopyDone. Returns how many there were.
 * @throws {StatementError} When the client gives up or breaks in, and before the row after `failAfter`.
 */
export async function copyIn(
  line: FakeLine,
  { failAfter, onData }: { failAfter: number | undefined; onData: (text: string) => void },
): Promise<number> {
  line.put(say.copyIn());
  await line.flush();
  let count = 0;
  for (;;) {
    if (count === failAfter) throw new StatementError("22P04", "bad COPY data");
    const received = await line.next();
    if (received === undefined) throw new BackendEnd();
    switch (received.type) {
      case "d":
        onData(textOf(received.body));
        count += 1;
        break;
      case "c":
        return count;
      case "f":
        throw new StatementError("57014", `COPY from stdin failed: ${textOf(received.body)}`);
      case "H":
      case "S":
        break;
      default:
        throw new StatementError("08P01", "unexpected message type during COPY from stdin");
    }
  }
}

/** Sends so many rows. */
export function copyOut(line: FakeLine, { count, text }: { count: number; text: string }): void {
  line.put(say.copyOut());
  for (let i = 0; i < count; i++) line.put(say.copyData(text));
  line.put(say.copyDone());
}

/** Takes what a standby says until it ends the stream, or says goodbye. */
export async function copyBoth(
  line: FakeLine,
  onData: (text: string) => void,
): Promise<"done" | "goodbye"> {
  line.put(say.copyBoth());
  await line.flush();
  for (;;) {
    const received = await line.next();
    if (received === undefined) throw new BackendEnd();
    switch (received.type) {
      case "d":
        onData(textOf(received.body));
        break;
      case "c":
        line.put(say.copyDone(), say.complete("START_REPLICATION"));
        return "done";
      case "X":
        return "goodbye";
      default:
        line.put(say.error("08P01", `invalid standby message type ${received.type}`, "FATAL"));
        await line.flush();
        throw new BackendEnd();
    }
  }
}
