/** A recovery under a test's command: fed with a server's bytes, its steps told as texts. */

import { RequestQueue } from "../../../src/link/request_queue.ts";
import { Recovery, type RecoveryStep } from "../../../src/server/recovery.ts";
import { MessageCursor } from "../../../src/wire/message_cursor.ts";
import { Backend, typeTable } from "../../../src/wire/message_type.ts";
import { backend as say, join, MessageSplitter, textOf } from "../../support/messages.ts";

/** What the check asks for. */
export const MARK = "0123456789abcdef";

/** The answer that the check waits for. */
export const MARKED = [
  ...[say.rowDescription(["?column?"]), say.dataRow([MARK])],
  ...[say.complete("SELECT 1"), say.ready()],
];

/** The answer to ROLLBACK. */
export const ROLLED_BACK = [say.complete("ROLLBACK"), say.ready()];

/** One recovery. */
export class RecoveryRig {
  readonly recovery: Recovery;
  /** Whether a cancel request is on its way. */
  isCanceling = false;
  /** Every message that was to be sent. */
  readonly sent: Uint8Array[] = [];
  readonly #cursor = new MessageCursor({
    inspected: typeTable([Backend.ReadyForQuery, Backend.ParameterStatus, Backend.ErrorResponse]),
    maxInspectedBytes: 65_536,
    maxMessageBytes: 1_000_000_000,
  });
  #steps: string[] = [];
  #isOver = false;

  /** `ask` notes what the client had sent and the server answered. */
  constructor(ask: (requests: RequestQueue) => void, status: "I" | "T" | "E" = "I") {
    const requests = new RequestQueue();
    ask(requests);
    this.recovery = new Recovery({ requests, status: status.charCodeAt(0), mark: MARK });
  }

  /** Whether it has come to an end. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** The first steps. */
  begin(): string[] {
    return this.#tell(() => this.#take(this.recovery.begin()));
  }

  /** The cancel request has ended. */
  endCancel(): string[] {
    this.isCanceling = false;
    return this.#tell(() => this.#take(undefined));
  }

  /** The steps that follow from what the server says, received in chunks of a size. */
  receive(messages: readonly Uint8Array[], chunkBytes = 1_000_000_000): string[] {
    return this.#tell(() => {
      const bytes = join(...messages);
      for (let at = 0; at < bytes.length && !this.#isOver; at += chunkBytes) {
        const chunk = bytes.slice(at, at + chunkBytes);
        this.#cursor.feed(chunk, chunk.length);
        while (!this.#isOver && this.#cursor.next()) {
          this.#take(this.recovery.receive(this.#cursor));
        }
      }
    });
  }

  #tell(act: () => void): string[] {
    act();
    const steps = this.#steps;
    this.#steps = [];
    return steps;
  }

  #take(step: RecoveryStep | undefined): void {
    if (step?.kind === "send") {
      this.sent.push(step.message);
      this.#steps.push(...textsOf(step.message));
    } else if (step !== undefined) {
      this.#isOver = true;
      this.#steps.push(step.kind === "done" ? "done" : `failed: ${step.reason}`);
    }
    if (this.recovery.isDrained && !this.isCanceling) this.#take(this.recovery.goOn());
  }
}

/** Messages as type and text. */
function textsOf(bytes: Uint8Array): string[] {
  const splitter = new MessageSplitter();
  splitter.add(bytes);
  const texts: string[] = [];
  for (let next = splitter.next(); next !== undefined; next = splitter.next()) {
    const printable = textOf(next.body).replaceAll(/[^ -~]/g, "");
    texts.push(`${next.type} ${printable}`.trim());
  }
  return texts;
}
