/** How a backend of the fake PostgreSQL breaks the rules when it is told to. */

import { BackendEnd, type FakeLine } from "./fake_line.ts";
import type { Misbehaviour } from "./fake_sql.ts";
import { backend as say, join } from "./messages.ts";

/** Breaks the rules on the line; silence is not the line's to keep. @throws {BackendEnd} If the backend ends by that. */
export async function misbehave(
  line: FakeLine,
  how: Exclude<Misbehaviour, "silence">,
): Promise<void> {
  switch (how) {
    case "close":
      await line.flush();
      throw new BackendEnd();
    case "reset":
      if ("reset" in line.stream && typeof line.stream.reset === "function") line.stream.reset();
      throw new BackendEnd();
    case "fatal":
      line.put(say.error("57P01", "terminating connection", "FATAL"));
      await line.flush();
      throw new BackendEnd();
    case "garbage":
      line.put(new Uint8Array([0x00, 0xff, 0xff, 0xff, 0xff, 0x00]));
      return await line.flush();
    case "cut":
      line.put(say.dataRow(["cut short"]).subarray(0, 9));
      await line.flush();
      throw new BackendEnd();
    case "second_ready":
      return line.put(say.complete("MISBEHAVE"), say.ready());
    case "bad_ready":
      line.put(join(say.ready().subarray(0, 5), new Uint8Array([0x58])));
      return await line.flush();
    case "huge":
      line.put(new Uint8Array([0x44, 0x7f, 0xff, 0xff, 0xff, 0x00, 0x01]));
      await line.flush();
      throw new BackendEnd();
  }
}
