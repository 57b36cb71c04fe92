/**
 * Recoveries after clients that sent anything in any order, from a model of PostgreSQL that had read
 * any part of it. A recovery may give up, or wait until its time is over; but when it says that it is
 * done, nothing of the client's may be left.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import type { RequestQueue } from "../../../src/link/request_queue.ts";
import {
  backend as say,
  MessageSplitter,
  type RawMessage,
  textOf,
} from "../../support/messages.ts";
import {
  type ModelAnswer,
  type ModelMessage,
  ModelServer,
  type ModelStep,
} from "../link/model_server.ts";
import { MARKED, RecoveryRig, ROLLED_BACK } from "./recovery_rig.ts";

/** What is under way, message by message, and what it is answered with where it runs. */
interface Sent extends ModelStep {
  readonly answer: readonly Uint8Array[];
}

/** The answer to a query of the client's. */
const LEFTOVER = [
  ...[say.rowDescription(["a"]), say.dataRow(["leftover"]), say.complete("SELECT 1"), say.ready()],
];

/** A client that is lost, and the recovery of its server. */
class Loss {
  readonly server = new ModelServer();
  readonly #sent: Sent[] = [];
  readonly #answers: Uint8Array[] = [];
  readonly #heard: ModelAnswer[] = [];

  /** Lets the client send, the server read and the pooler hear, up to the loss. */
  live(requests: RequestQueue, { sends, reads, hears }: Life): void {
    for (const step of sends) {
      note(requests, step.message);
      this.#sent.push({ ...step, answer: LEFTOVER });
    }
    for (let i = 0; i < reads; i++) this.#read();
    for (let i = 0; i < hears; i++) {
      const heard = this.#heard.shift();
      if (heard === undefined) return;
      this.#answers.splice(0, this.#answers.findIndex((each) => isSaid(each, heard)) + 1);
      hear(requests, heard);
    }
  }

  /** Recovers as far as it goes. Returns whether it says that it is done. */
  recover(rig: RecoveryRig): boolean {
    let steps = rig.begin();
    for (;;) {
      if (rig.isOver) return steps.includes("done");
      for (const message of rig.sent.splice(0)) this.#send(message);
      while (this.#sent.length > 0) this.#read();
      const next = this.#answers.splice(0, 1);
      if (next.length === 0) return false;
      steps = rig.receive(next);
    }
  }

  /** Whether nothing is left. */
  get isClean(): boolean {
    return this.server.isAtRest && this.#answers.length === 0 && this.#sent.length === 0;
  }

  #send(bytes: Uint8Array): void {
    const splitter = new MessageSplitter();
    splitter.add(bytes);
    for (let next = splitter.next(); next !== undefined; next = splitter.next()) {
      const isRollback = textOf(next.body).startsWith("ROLLBACK");
      const answer = isRollback ? ROLLED_BACK : MARKED;
      this.#sent.push({ message: nameOf(next), fate: "works", answer });
    }
  }

  #read(): void {
    const step = this.#sent.shift();
    if (step === undefined) return;
    const answers = this.server.read(step);
    this.#heard.push(...answers);
    const isRun = step.message === "Query" && answers.length === 1 &&
      answers[0] === "ReadyForQuery";
    if (isRun) this.#answers.push(...step.answer);
    else this.#answers.push(...answers.map(bytesOf));
  }
}

/** What a client sends, how much of it the server reads, and how many answers come, before the loss. */
interface Life {
  readonly sends: readonly ModelStep[];
  readonly reads: number;
  readonly hears: number;
}

function note(requests: RequestQueue, message: ModelMessage): void {
  switch (message) {
    case "Query":
      return requests.noteQuery();
    case "FunctionCall":
      return requests.noteFunctionCall();
    case "Sync":
      return requests.noteSync();
    case "Parse":
    case "Execute":
      return requests.noteExtended();
    case "CopyDone":
    case "CopyFail":
      return requests.noteCopyEnd();
  }
}

function hear(requests: RequestQueue, answer: ModelAnswer): void {
  if (answer === "CopyInResponse") requests.onCopyIn();
  else if (answer === "ErrorResponse") requests.onError();
  else requests.onReadyForQuery();
}

function bytesOf(answer: ModelAnswer): Uint8Array {
  if (answer === "CopyInResponse") return say.copyIn();
  return answer === "ErrorResponse" ? say.error("57014", "COPY failed") : say.ready();
}

function isSaid(bytes: Uint8Array, answer: ModelAnswer): boolean {
  return bytes[0] === bytesOf(answer)[0];
}

function nameOf({ type }: RawMessage): ModelMessage {
  const names: Readonly<Record<string, ModelMessage>> = {
    ...{ Q: "Query", P: "Parse", B: "Parse", E: "Execute", S: "Sync", f: "CopyFail" },
  };
  const name = names[type];
  assert.ok(name, `A recovery sends ${type}`);
  return name;
}

/** Lives a life to its loss and recovers. */
function recoverAfter(life: Life): { isDone: boolean; loss: Loss } {
  const loss = new Loss();
  const rig = new RecoveryRig((requests) => loss.live(requests, life));
  return { isDone: loss.recover(rig), loss };
}

function lives(messages: readonly ModelMessage[], fates: readonly ModelStep["fate"][]) {
  const step: fc.Arbitrary<ModelStep> = fc.record({
    message: fc.constantFrom(...messages),
    fate: fc.constantFrom(...fates),
  });
  return fc.record({
    sends: fc.array(step, { maxLength: 12, size: "max" }),
    reads: fc.nat(12),
    hears: fc.nat(20),
  });
}

Deno.test("a recovery is never done while something of the client is left", () => {
  const messages: readonly ModelMessage[] = [
    ...["Query", "Query", "Parse", "Execute", "Execute", "Flush", "Sync", "Sync"] as const,
    ...["FunctionCall", "CopyData", "CopyDone", "CopyFail"] as const,
  ];
  let doneCount = 0;
  fc.assert(
    fc.property(lives(messages, ["works", "works", "copies", "copies", "fails"]), (life) => {
      const { isDone, loss } = recoverAfter(life);
      if (!isDone) return;
      doneCount += 1;
      assert.ok(loss.isClean);
    }),
    { numRuns: 5_000 },
  );
  assert.ok(doneCount > 500, `only ${doneCount} are done`);
});

Deno.test("a recovery gets done after whatever Queries, and after Queries that copy", () => {
  fc.assert(
    fc.property(
      lives(["Query", "FunctionCall", "Flush", "CopyData"], ["works", "fails"]),
      (life) => {
        const { isDone, loss } = recoverAfter(life);
        assert.ok(isDone && loss.isClean);
      },
    ),
    { numRuns: 2_000 },
  );
  for (const reads of [0, 1, 2]) {
    for (const hears of [0, 1]) {
      const copy: readonly ModelStep[] = [
        { message: "Query", fate: "copies" },
        { message: "CopyData", fate: "works" },
      ];
      const { isDone, loss } = recoverAfter({ sends: copy, reads, hears });
      assert.ok(isDone && loss.isClean, `${reads} read, ${hears} heard`);
    }
  }
});

Deno.test("a recovery gets done after whatever extended messages", () => {
  fc.assert(
    fc.property(lives(["Parse", "Execute", "Flush", "Sync"], ["works", "fails"]), (life) => {
      const { isDone, loss } = recoverAfter(life);
      assert.ok(isDone && loss.isClean);
    }),
    { numRuns: 2_000 },
  );
});
