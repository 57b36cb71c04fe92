/** SHUTDOWN, at once or when servers or clients are done. */

import { commandComplete } from "../wire/backend_messages.ts";
import type { ConsoleContext, ShutdownMode } from "./console_context.ts";

/** What there is to say, and what is to be done once it has been said. */
export interface Farewell {
  /** Undefined: nothing is answered. */
  readonly answer: Uint8Array | undefined;
  /** Begins the shutdown, which may end the console with the rest. */
  readonly afterwards: () => void;
}

/** Answers SHUTDOWN; to an immediate one there is no answer. */
export function shutdown(context: ConsoleContext, mode: ShutdownMode): Farewell {
  return {
    answer: mode === "immediate" ? undefined : commandComplete("SHUTDOWN"),
    afterwards: () => context.shutdown(mode),
  };
}
