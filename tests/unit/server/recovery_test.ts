import assert from "node:assert/strict";
import type { RequestQueue } from "../../../src/link/request_queue.ts";
import { MAX_DROPPED_BYTES } from "../../../src/server/recovery.ts";
import { ProtocolError } from "../../../src/wire/pg_error.ts";
import { backend as say, message } from "../../support/messages.ts";
import { MARK, MARKED, RecoveryRig, ROLLED_BACK } from "./recovery_rig.ts";

const CHECK = `Q SELECT '${MARK}'`;

const ABORT_TO_SYNC = ["P ROLLBACK", "B", "E", "S"];

const ROW = [say.rowDescription(["a"]), say.dataRow(["1"]), say.complete("SELECT 1")];

const CANCELED = say.error("57014", "canceling statement due to user request");

function nothing(): void {}

function oneQuery(requests: RequestQueue): void {
  requests.noteQuery();
}

/** A Query whose COPY has begun. */
function copying(requests: RequestQueue): void {
  requests.noteQuery();
  requests.onCopyIn();
}

// --- what is due ---

Deno.test("Recovery checks at once a server that owes nothing", () => {
  const rig = new RecoveryRig(nothing);
  assert.deepEqual(rig.begin(), [CHECK]);
  assert.deepEqual(rig.receive(MARKED), ["done"]);
});

Deno.test("Recovery rolls back at once where a transaction is open and nothing is due", () => {
  for (const status of ["T", "E"] as const) {
    const rig = new RecoveryRig(nothing, status);
    assert.deepEqual(rig.begin(), ["Q ROLLBACK"]);
    assert.equal(rig.recovery.isDraining, false, "there is nothing to cancel");
    assert.deepEqual(rig.receive(ROLLED_BACK), [CHECK]);
    assert.deepEqual(rig.receive(MARKED), ["done"]);
    assert.equal(String.fromCharCode(rig.recovery.status), "I");
  }
});

Deno.test("Recovery reads to the ReadyForQuery that is due before it asks anything", () => {
  const rig = new RecoveryRig(oneQuery);
  assert.deepEqual(rig.begin(), []);
  assert.deepEqual(rig.receive([...ROW, say.notice("by the way")]), []);
  assert.equal(rig.recovery.isDraining, true);
  assert.deepEqual(rig.receive([say.ready()]), [CHECK]);
});

Deno.test("Recovery rolls back a transaction that the last answer left open", () => {
  const rig = new RecoveryRig(oneQuery);
  rig.begin();
  assert.deepEqual(rig.receive([...ROW, say.ready("T")]), ["Q ROLLBACK"]);
});

Deno.test("Recovery goes by the last ReadyForQuery, not by the one before the loss", () => {
  const rig = new RecoveryRig(oneQuery, "T");
  rig.begin();
  assert.deepEqual(rig.receive([say.complete("COMMIT"), say.ready()]), [CHECK]);
});

Deno.test("Recovery waits for every request of a pipeline", () => {
  const rig = new RecoveryRig((requests) => {
    for (let i = 0; i < 100; i++) {
      requests.noteExtended();
      requests.noteSync();
    }
  });
  rig.begin();
  for (let i = 0; i < 99; i++) assert.deepEqual(rig.receive([...ROW, say.ready()]), []);
  assert.deepEqual(rig.receive([...ROW, say.ready()]), [CHECK]);
});

Deno.test("Recovery takes the rest of a message of which the client had the beginning", () => {
  const row = say.dataRow(["x".repeat(5_000)]);
  for (const chunkBytes of [1, 7, 100_000]) {
    const rig = new RecoveryRig(oneQuery);
    rig.receive([row.subarray(0, 900)]);
    rig.begin();
    assert.deepEqual(rig.receive([row.subarray(900), say.ready()], chunkBytes), [CHECK]);
    assert.deepEqual(rig.receive(MARKED, chunkBytes), ["done"]);
  }
});

Deno.test("Recovery drops a COPY to the client", () => {
  const rig = new RecoveryRig(oneQuery);
  rig.begin();
  const copy = [say.copyOut(), say.copyData("1"), say.copyData("2")];
  assert.deepEqual(rig.receive([...copy, CANCELED, say.ready()]), [CHECK]);
});

// --- what was only begun ---

Deno.test("Recovery undoes what was executed without a Sync, then syncs", () => {
  const rig = new RecoveryRig((requests) => requests.noteExtended());
  assert.deepEqual(rig.begin(), ABORT_TO_SYNC);
  assert.deepEqual(rig.receive([say.parseComplete(), say.bindComplete()]), []);
  assert.deepEqual(rig.receive(ROLLED_BACK), [CHECK]);
});

Deno.test("Recovery syncs behind requests that are due", () => {
  const rig = new RecoveryRig((requests) => {
    requests.noteQuery();
    requests.noteExtended();
  });
  assert.deepEqual(rig.begin(), ABORT_TO_SYNC);
  assert.deepEqual(rig.receive([...ROW, say.ready("T")]), []);
  assert.deepEqual(rig.receive([CANCELED, say.ready("E")]), ["Q ROLLBACK"]);
});

Deno.test("Recovery ends a COPY from the client", () => {
  const rig = new RecoveryRig(copying);
  assert.deepEqual(rig.begin(), ["f client disconnected"]);
  assert.deepEqual(rig.receive([CANCELED, say.ready()]), [CHECK]);
});

Deno.test("Recovery ends a COPY from the client that begins only now, and a second one of its Query", () => {
  const rig = new RecoveryRig(oneQuery, "T");
  assert.deepEqual(rig.begin(), []);
  assert.deepEqual(rig.receive([say.copyIn()]), ["f client disconnected"]);
  assert.deepEqual(rig.receive([say.copyIn()]), ["f client disconnected"]);
  assert.deepEqual(rig.receive([CANCELED, say.ready("E")]), ["Q ROLLBACK"]);
});

Deno.test("Recovery leaves alone a COPY that the client has ended itself", () => {
  const rig = new RecoveryRig((requests) => {
    requests.noteQuery();
    requests.noteCopyEnd();
  });
  assert.deepEqual(rig.begin(), []);
  assert.deepEqual(rig.receive([say.copyIn(), say.complete("COPY 0"), say.ready()]), [CHECK]);
});

Deno.test("Recovery ends an extended COPY without a Sync, and syncs", () => {
  const rig = new RecoveryRig((requests) => {
    requests.noteExtended();
    requests.onCopyIn();
  });
  assert.deepEqual(rig.begin(), ["f client disconnected", ...ABORT_TO_SYNC]);
  assert.deepEqual(rig.receive([CANCELED, say.ready()]), [CHECK]);
});

const OUT_OF_STEP = ["failed: answers out of step with requests"];

Deno.test("Recovery gives up where a COPY leaves open how many answers will come", () => {
  // The Sync is ignored, unless the COPY has failed before it is read.
  const synced = new RecoveryRig((requests) => {
    requests.noteExtended();
    requests.noteSync();
    requests.onCopyIn();
  });
  assert.deepEqual(synced.begin(), OUT_OF_STEP);
  const later = new RecoveryRig((requests) => {
    requests.noteExtended();
    requests.noteSync();
  });
  assert.deepEqual(later.begin(), []);
  assert.deepEqual(later.receive([say.copyIn()]), OUT_OF_STEP);
  const behind = new RecoveryRig((requests) => {
    requests.noteQuery();
    requests.noteQuery();
  });
  behind.begin();
  assert.deepEqual(behind.receive([say.copyIn()]), OUT_OF_STEP);
});

Deno.test("Recovery gives up where a Query in place of a Sync may be skipped, or end nothing", () => {
  const unsynced = (requests: RequestQueue) => {
    requests.noteExtended();
    requests.noteQuery();
    requests.noteSync();
  };
  const failing = new RecoveryRig(unsynced);
  assert.deepEqual(failing.begin(), []);
  assert.deepEqual(failing.receive([say.error("42601", "syntax error")]), OUT_OF_STEP);
  const implicit = new RecoveryRig(unsynced);
  assert.deepEqual(implicit.begin(), []);
  assert.deepEqual(implicit.receive([say.ready("T"), say.ready()]), OUT_OF_STEP);
});

Deno.test("Recovery gives up on a server that replicates", () => {
  const rig = new RecoveryRig(oneQuery);
  rig.begin();
  assert.deepEqual(rig.receive([message("W", new Uint8Array(3))]), ["failed: it replicates"]);
});

// --- cancel requests ---

Deno.test("Recovery asks nothing while a cancel request is on its way", () => {
  const rig = new RecoveryRig(oneQuery, "T");
  rig.isCanceling = true;
  assert.deepEqual(rig.begin(), []);
  assert.deepEqual(rig.receive([CANCELED, say.ready("E")]), []);
  assert.equal(rig.recovery.isDraining, false, "there is nothing to cancel any more");
  const harmless = [say.parameterStatus("a", "b"), say.notice("c"), say.notification("d", "e")];
  assert.deepEqual(rig.receive(harmless), []);
  assert.deepEqual(rig.endCancel(), ["Q ROLLBACK"]);
});

Deno.test("Recovery gives up on a server that speaks on while a cancel request is on its way", () => {
  for (const unasked of [say.ready(), say.dataRow(["1"]), CANCELED]) {
    const rig = new RecoveryRig(oneQuery);
    rig.isCanceling = true;
    rig.begin();
    rig.receive([say.ready()]);
    assert.deepEqual(rig.receive([unasked]), ["failed: idle server got dirty"]);
  }
});

Deno.test("Recovery sends again, once, what a late signal hits", () => {
  const rig = new RecoveryRig(nothing, "T");
  assert.deepEqual(rig.begin(), ["Q ROLLBACK"]);
  assert.deepEqual(rig.receive([CANCELED, say.ready("E")]), ["Q ROLLBACK"]);
  assert.deepEqual(rig.receive(ROLLED_BACK), [CHECK]);
  assert.deepEqual(rig.receive([CANCELED, say.ready()]), [
    "failed: canceling statement due to user request",
  ]);
});

Deno.test("Recovery sends the check again when the signal hits that, whatever of it had come", () => {
  for (const part of [[], MARKED.slice(0, 1), MARKED.slice(0, 2)]) {
    const rig = new RecoveryRig(nothing);
    rig.begin();
    assert.deepEqual(rig.receive([...part, CANCELED, say.ready()]), [CHECK]);
    assert.deepEqual(rig.receive(MARKED), ["done"]);
  }
});

// --- what must not be taken for an answer ---

Deno.test("Recovery takes nothing for the answer to its check but the row with the mark", () => {
  const frame = (...rows: readonly Uint8Array[]) => [
    ...[say.rowDescription(["a"]), ...rows, say.complete("SELECT 1"), say.ready()],
  ];
  const mark = say.dataRow([MARK]);
  const answers: readonly (readonly Uint8Array[])[] = [
    frame(),
    frame(say.dataRow(["1"])),
    frame(say.dataRow([MARK.slice(1)])),
    frame(say.dataRow([MARK + "0"])),
    frame(say.dataRow([MARK, MARK])),
    frame(say.dataRow([null])),
    frame(mark, mark),
    frame(say.dataRow(["1"]), mark),
    [say.complete("ROLLBACK"), say.ready()],
    [say.empty(), say.ready()],
  ];
  for (const [at, answer] of answers.entries()) {
    for (const chunkBytes of [1, 1_000]) {
      const rig = new RecoveryRig(nothing);
      rig.begin();
      assert.deepEqual(rig.receive(answer, chunkBytes), OUT_OF_STEP, `answer ${at}`);
    }
  }
});

Deno.test("Recovery finds out that one answer more was due than was counted", () => {
  // Taken for the answer to ROLLBACK; then that one is taken for the answer to the check.
  const inTransaction = new RecoveryRig(oneQuery);
  inTransaction.begin();
  inTransaction.receive([...ROW, say.ready("T")]);
  assert.deepEqual(inTransaction.receive([...ROW, say.ready()]), [CHECK]);
  assert.deepEqual(inTransaction.receive(ROLLED_BACK), OUT_OF_STEP);
  const idle = new RecoveryRig(oneQuery);
  idle.begin();
  idle.receive([...ROW, say.ready()]);
  assert.deepEqual(idle.receive([...ROW, say.ready()]), OUT_OF_STEP);
});

Deno.test("Recovery takes parameters, notices and notifications amid its check for what they are", () => {
  const amid = [say.parameterStatus("a", "b"), say.notice("c"), say.notification("d", "e")];
  const rig = new RecoveryRig(nothing);
  rig.begin();
  assert.deepEqual(rig.receive(MARKED.flatMap((each) => [...amid, each])), ["done"]);
});

Deno.test("Recovery gives up when its own query fails or leaves a transaction", () => {
  const failing = new RecoveryRig(nothing);
  failing.begin();
  assert.deepEqual(failing.receive([say.error("XX000", "out of order"), say.ready()]), [
    "failed: out of order",
  ]);
  const open = new RecoveryRig(nothing, "T");
  open.begin();
  assert.deepEqual(open.receive([say.complete("ROLLBACK"), say.ready("T")]), [
    "failed: it is still in a transaction",
  ]);
});

Deno.test("Recovery throws at what breaks the protocol", () => {
  const bad = [message("Z", new Uint8Array([0x58])), message("Z", new Uint8Array([0x49, 0x49]))];
  for (const ready of bad) {
    const rig = new RecoveryRig(oneQuery);
    rig.begin();
    assert.throws(() => rig.receive([ready]), ProtocolError);
  }
  const checking = new RecoveryRig(nothing);
  checking.begin();
  assert.throws(() => checking.receive([say.copyIn()]), ProtocolError);
});

Deno.test("Recovery gives up when more was still to come than it may drop", () => {
  const rig = new RecoveryRig(oneQuery);
  rig.begin();
  const row = say.dataRow(["x".repeat(1_048_576 - 11)]);
  const rows = MAX_DROPPED_BYTES / row.length;
  for (let i = 0; i < rows; i++) assert.deepEqual(rig.receive([row]), []);
  assert.deepEqual(rig.receive([say.notice("one more")]), ["failed: too much was still to come"]);
});
