/**
 * A request queue between a client that sends anything in any order and a model of PostgreSQL that
 * reads later and answers later still. Whatever happens, a queue that says that nothing is
 * outstanding must be right: else a server would be handed on with an answer on its way.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { RequestQueue } from "../../../src/link/request_queue.ts";
import {
  type ModelAnswer,
  type ModelMessage,
  ModelServer,
  type ModelStep,
} from "./model_server.ts";

/** One step of the conversation: the client sends, the server reads, or an answer arrives. */
type Event = ModelStep | "read" | "arrive";

const MESSAGES: readonly ModelMessage[] = [
  ...["Query", "Query", "Parse", "Execute", "Execute", "Flush", "Sync", "Sync", "Sync"] as const,
  ...["Close", "Close", "FunctionCall", "CopyData", "CopyDone", "CopyDone", "CopyFail"] as const,
];

const step: fc.Arbitrary<ModelStep> = fc.record({
  message: fc.constantFrom(...MESSAGES),
  fate: fc.constantFrom("works", "works", "copies", "copies", "fails", "copy fails at once"),
});

const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 3, arbitrary: step },
  { weight: 2, arbitrary: fc.constant<Event>("read") },
  { weight: 2, arbitrary: fc.constant<Event>("arrive") },
);

/** The queue, the model and what is on its way between them. */
class Conversation {
  readonly queue = new RequestQueue();
  readonly server = new ModelServer();
  hasUnaskedReady = false;
  readonly #sent: ModelStep[] = [];
  readonly #answers: ModelAnswer[] = [];
  readonly #log: string[] = [];

  perform(one: Event): void {
    if (one === "read") this.#read();
    else if (one === "arrive") this.#arrive();
    else this.#send(one);
  }

  /** Lets everything that was sent be read and everything answered arrive. */
  drain(): void {
    while (this.#sent.length > 0) this.#read();
    while (this.#answers.length > 0) this.#arrive();
  }

  /** What a relay takes for leave to hand the server on. */
  get seemsClean(): boolean {
    return this.queue.isEmpty && !this.queue.isDoubtful && !this.hasUnaskedReady;
  }

  /** The queue must never say more than is true. */
  check(): void {
    if (!this.seemsClean) return;
    const isClean = this.server.isAtRest && this.#answers.length === 0 &&
      this.#sent.every(({ message }) => message.startsWith("Copy") || message === "Flush");
    assert.ok(isClean, `taken for clean too early: ${this.#log.join(", ")}`);
  }

  #send(one: ModelStep): void {
    const { queue } = this;
    switch (one.message) {
      case "Query":
        queue.noteQuery();
        break;
      case "FunctionCall":
        queue.noteFunctionCall();
        break;
      case "Sync":
        queue.noteSync();
        break;
      case "Parse":
      case "Execute":
        queue.noteExtended();
        break;
      case "Close":
        queue.noteClose();
        break;
      case "Flush":
      case "CopyData":
        break;
      case "CopyDone":
      case "CopyFail":
        queue.noteCopyEnd();
    }
    this.#log.push(`${one.message} (${one.fate})`);
    this.#sent.push(one);
  }

  #read(): void {
    const one = this.#sent.shift();
    if (one === undefined) return;
    const answers = this.server.read(one);
    this.#log.push(`[reads ${one.message}: ${answers.join(" ") || "nothing"}]`);
    this.#answers.push(...answers);
  }

  #arrive(): void {
    const answer = this.#answers.shift();
    if (answer === undefined) return;
    this.#log.push(`[${answer} arrives]`);
    if (answer === "CopyInResponse") this.queue.onCopyIn();
    else if (answer === "ErrorResponse") this.queue.onError();
    else if (!this.queue.onReadyForQuery()) this.hasUnaskedReady = true;
  }
}

Deno.test("RequestQueue never says that nothing is outstanding while something is", () => {
  const events = fc.array(event, { minLength: 4, maxLength: 40, size: "max" });
  fc.assert(
    fc.property(events, (sequence) => {
      const conversation = new Conversation();
      for (const one of sequence) {
        conversation.perform(one);
        conversation.check();
      }
      conversation.drain();
      conversation.check();
    }),
    { numRuns: 5_000 },
  );
});

/** What a well-behaved client sends, one request after the other or all at once. */
const request: fc.Arbitrary<readonly ModelStep[]> = fc.oneof(
  fc.constantFrom<readonly ModelStep[]>(
    [{ message: "Query", fate: "works" }],
    [{ message: "Query", fate: "fails" }],
    [{ message: "FunctionCall", fate: "works" }],
    [{ message: "Close", fate: "works" }, { message: "Query", fate: "works" }],
    [{ message: "Close", fate: "works" }, { message: "Query", fate: "fails" }],
    [{ message: "Sync", fate: "works" }],
  ),
  // Extended, with a COPY that ends before the Sync.
  fc.array(
    fc.constantFrom<readonly ModelStep[]>(
      [{ message: "Parse", fate: "works" }],
      [{ message: "Execute", fate: "works" }],
      [{ message: "Execute", fate: "fails" }],
      [{ message: "Flush", fate: "works" }],
      copyOf("Execute", "CopyDone", "works"),
      copyOf("Execute", "CopyFail", "works"),
      copyOf("Execute", "CopyDone", "fails"),
    ),
    { maxLength: 4 },
  ).map((parts): readonly ModelStep[] => [...parts.flat(), { message: "Sync", fate: "works" }]),
  fc.constantFrom(
    copyOf("Query", "CopyDone", "works"),
    copyOf("Query", "CopyDone", "fails"),
    copyOf("Query", "CopyFail", "works"),
    // Two COPY in one Query.
    [...copyOf("Query", "CopyDone", "copies"), ...copyOf("CopyData", "CopyDone", "works")],
  ),
);

function copyOf(
  start: "Query" | "Execute" | "CopyData",
  end: "CopyDone" | "CopyFail",
  fate: "works" | "fails" | "copies",
): ModelStep[] {
  return [
    { message: start, fate: start === "CopyData" ? "works" : "copies" },
    { message: "CopyData", fate: "works" },
    { message: end, fate },
  ];
}

Deno.test("RequestQueue is empty and sure once a well-behaved client has all its answers", () => {
  const run = fc.tuple(
    fc.array(request, { minLength: 1, maxLength: 8 }),
    fc.array(fc.constantFrom<Event>("read", "arrive"), { maxLength: 60, size: "max" }),
  );
  fc.assert(
    fc.property(run, ([requests, pauses]) => {
      const conversation = new Conversation();
      const waiting = [...pauses];
      for (const one of requests.flat()) {
        conversation.perform(one);
        conversation.check();
        for (const pause of waiting.splice(0, 3)) {
          conversation.perform(pause);
          conversation.check();
        }
      }
      conversation.drain();
      assert.equal(conversation.hasUnaskedReady, false);
      assert.equal(conversation.queue.isDoubtful, false);
      assert.equal(conversation.queue.isEmpty, true);
    }),
    { numRuns: 3_000 },
  );
});
