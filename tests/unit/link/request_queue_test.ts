import assert from "node:assert/strict";
import { MAX_OUTSTANDING_REQUESTS, RequestQueue } from "../../../src/link/request_queue.ts";
import { ProtocolError } from "../../../src/wire/pg_error.ts";

/** Sends what an extended query consists of, without its Sync. */
function sendExtended(queue: RequestQueue): void {
  for (let i = 0; i < 4; i++) queue.noteExtended();
}

function assertClean(queue: RequestQueue): void {
  assert.equal(queue.isEmpty, true);
  assert.equal(queue.isDoubtful, false);
}

Deno.test("RequestQueue begins with nothing outstanding and asks for no ReadyForQuery", () => {
  const queue = new RequestQueue();
  assertClean(queue);
  assert.equal(queue.dueCount, 0);
  assert.equal(queue.onReadyForQuery(), false);
});

Deno.test("Query, FunctionCall and Sync are each answered by one ReadyForQuery", () => {
  for (const send of ["noteQuery", "noteFunctionCall", "noteSync"] as const) {
    const queue = new RequestQueue();
    queue[send]();
    assert.equal(queue.isEmpty, false);
    assert.equal(queue.dueCount, 1);
    assert.equal(queue.onReadyForQuery(), true);
    assertClean(queue);
    assert.equal(queue.onReadyForQuery(), false);
  }
});

Deno.test("several Syncs in flight are counted", () => {
  const queue = new RequestQueue();
  for (let i = 0; i < 3; i++) {
    sendExtended(queue);
    queue.noteSync();
  }
  assert.equal(queue.dueCount, 3);
  for (let left = 2; left >= 0; left--) {
    assert.equal(queue.onReadyForQuery(), true);
    assert.equal(queue.dueCount, left);
    assert.equal(queue.isEmpty, left === 0);
  }
});

Deno.test("extended messages hold the server until their Sync is answered", () => {
  const queue = new RequestQueue();
  sendExtended(queue);
  assert.equal(queue.isUnsynced, true);
  assert.equal(queue.isEmpty, false);
  assert.equal(queue.dueCount, 0);
  queue.noteSync();
  assert.equal(queue.isUnsynced, false);
  queue.onReadyForQuery();
  assertClean(queue);
});

Deno.test("extended messages after a Sync hold the server when that Sync is answered", () => {
  const queue = new RequestQueue();
  sendExtended(queue);
  queue.noteSync();
  sendExtended(queue);
  queue.onReadyForQuery();
  assert.equal(queue.isEmpty, false);
  queue.noteSync();
  queue.onReadyForQuery();
  assertClean(queue);
});

Deno.test("an error changes nothing about what is due: the Sync is still answered", () => {
  const queue = new RequestQueue();
  sendExtended(queue);
  queue.onError();
  assert.equal(queue.isEmpty, false);
  queue.noteSync();
  queue.onReadyForQuery();
  assertClean(queue);
});

/** What may stand in place of a Sync. */
const UNSYNCING = ["noteQuery", "noteFunctionCall"] as const;

Deno.test("a Query or FunctionCall in place of the Sync ends extended messages as well", () => {
  for (const send of UNSYNCING) {
    const queue = new RequestQueue();
    sendExtended(queue);
    queue[send]();
    assert.deepEqual([queue.isUnsynced, queue.dueCount], [false, 1]);
    queue.onReadyForQuery();
    assertClean(queue);
  }
});

Deno.test("an error puts a Query in place of the Sync in doubt: it may have been skipped", () => {
  for (const send of UNSYNCING) {
    for (const hasCopyEnd of [false, true]) {
      const queue = new RequestQueue();
      sendExtended(queue);
      if (hasCopyEnd) queue.noteCopyEnd();
      queue[send]();
      queue.onError();
      assert.equal(queue.isDoubtful, true);
    }
  }
});

Deno.test("a COPY puts a Query in place of the Sync in doubt: it may be of what stands before", () => {
  const queue = new RequestQueue();
  sendExtended(queue);
  queue.noteQuery();
  queue.onCopyIn();
  assert.equal(queue.isDoubtful, true);
});

Deno.test("a transaction that a Query in place of the Sync leaves open was begun if it outlives a Sync", () => {
  for (const wasBegun of [true, false]) {
    const queue = new RequestQueue();
    sendExtended(queue);
    queue.noteQuery();
    queue.onReadyForQuery(false);
    sendExtended(queue);
    queue.noteSync();
    queue.onReadyForQuery(!wasBegun);
    assert.equal(queue.isDoubtful, !wasBegun);
    queue.noteQuery();
    queue.onReadyForQuery();
    assert.equal(queue.isDoubtful, !wasBegun);
  }
});

Deno.test("a transaction that ends by a Query, no Sync being between, may not have been begun", () => {
  const queue = new RequestQueue();
  sendExtended(queue);
  queue.noteQuery();
  queue.onReadyForQuery(false);
  queue.noteQuery();
  queue.onReadyForQuery();
  assert.equal(queue.isDoubtful, true);
});

Deno.test("if everything fails, what stands in place of a Sync is skipped with all up to the next", () => {
  const queue = new RequestQueue();
  queue.noteQuery();
  sendExtended(queue);
  queue.noteQuery();
  assert.deepEqual(queue.ifAllFails(), { dueCount: 1, isSkipping: true });
  queue.noteQuery();
  queue.noteSync();
  assert.deepEqual(queue.ifAllFails(), { dueCount: 2, isSkipping: false });
  sendExtended(queue);
  assert.deepEqual(queue.ifAllFails(), { dueCount: 2, isSkipping: true });
});

Deno.test("Close never fails: an error behind it is of the Query in place of its Sync", () => {
  for (const isAlone of [true, false]) {
    const queue = new RequestQueue();
    queue.noteClose();
    if (!isAlone) queue.noteExtended();
    queue.noteClose();
    queue.noteQuery();
    assert.equal(queue.isUnsynced, false);
    queue.onError();
    assert.equal(queue.isDoubtful, !isAlone);
  }
});

Deno.test("COPY in by Query: one ReadyForQuery, after CopyDone", () => {
  const queue = new RequestQueue();
  queue.noteQuery();
  queue.onCopyIn();
  assert.equal(queue.isEmpty, false);
  queue.noteCopyEnd();
  assert.equal(queue.isEmpty, false, "the ReadyForQuery is still due");
  queue.onReadyForQuery();
  assertClean(queue);
});

Deno.test("COPY in by Query, all of it sent before the server said anything", () => {
  const queue = new RequestQueue();
  queue.noteQuery();
  queue.noteCopyEnd();
  queue.noteQuery();
  assert.equal(queue.dueCount, 2, "the end of a COPY is no request");
  queue.onCopyIn();
  queue.onReadyForQuery();
  assert.equal(queue.isEmpty, false);
  queue.onReadyForQuery();
  assertClean(queue);
});

Deno.test("two COPY in by one Query", () => {
  for (const isPipelined of [false, true]) {
    const queue = new RequestQueue();
    queue.noteQuery();
    for (let i = 0; isPipelined && i < 2; i++) queue.noteCopyEnd();
    for (let i = 0; i < 2; i++) {
      queue.onCopyIn();
      if (!isPipelined) queue.noteCopyEnd();
    }
    assert.equal(queue.isEmpty, false);
    queue.onReadyForQuery();
    assertClean(queue);
  }
});

Deno.test("COPY in by extended query: the Sync before the data is ignored by the server", () => {
  // As libpq does it: Parse Bind Describe Execute Sync, then data, CopyDone and a second Sync.
  const queue = new RequestQueue();
  sendExtended(queue);
  queue.noteSync();
  queue.onCopyIn();
  assert.equal(queue.isEmpty, false);
  queue.noteCopyEnd();
  assert.equal(queue.isEmpty, false, "the Sync that will be answered is still to come");
  queue.noteSync();
  assert.equal(queue.dueCount, 1);
  queue.onReadyForQuery();
  assertClean(queue);
});

Deno.test("COPY in by extended query with several Syncs before the data: all are ignored", () => {
  const queue = new RequestQueue();
  sendExtended(queue);
  for (let i = 0; i < 3; i++) queue.noteSync();
  queue.onCopyIn();
  assert.equal(queue.dueCount, 0);
  queue.noteCopyEnd();
  queue.noteSync();
  queue.onReadyForQuery();
  assertClean(queue);
});

Deno.test("COPY in by extended query, all of it sent before the server said anything", () => {
  const queue = new RequestQueue();
  sendExtended(queue);
  queue.noteSync();
  queue.noteCopyEnd();
  queue.noteSync();
  assert.equal(queue.dueCount, 2);
  queue.onCopyIn();
  assert.equal(queue.dueCount, 1);
  queue.onReadyForQuery();
  assertClean(queue);
});

Deno.test("COPY in by extended query whose last Sync is not sent yet holds the server", () => {
  const queue = new RequestQueue();
  sendExtended(queue);
  queue.noteSync();
  queue.noteCopyEnd();
  queue.onCopyIn();
  assert.equal(queue.isEmpty, false);
  queue.noteSync();
  queue.onReadyForQuery();
  assertClean(queue);
});

Deno.test("COPY in by extended query behind other requests takes back only its own Sync", () => {
  const queue = new RequestQueue();
  queue.noteQuery();
  sendExtended(queue);
  queue.noteCopyEnd();
  queue.noteSync();
  assert.equal(queue.onReadyForQuery(), true);
  queue.onCopyIn();
  assert.equal(queue.dueCount, 1);
  assert.equal(queue.onReadyForQuery(), true);
  assertClean(queue);
});

Deno.test("Syncs sent into a running COPY are ignored", () => {
  const queue = new RequestQueue();
  queue.noteQuery();
  queue.onCopyIn();
  queue.noteSync();
  queue.noteSync();
  assert.equal(queue.dueCount, 1);
  queue.noteCopyEnd();
  queue.onReadyForQuery();
  assertClean(queue);
});

Deno.test("an error ends a COPY in by Query: its data is over, one ReadyForQuery comes", () => {
  const queue = new RequestQueue();
  queue.noteQuery();
  queue.onCopyIn();
  queue.onError();
  assert.equal(queue.isEmpty, false);
  queue.onReadyForQuery();
  assertClean(queue);
  // The client learns of it later, and ends what has ended already.
  queue.noteCopyEnd();
  assertClean(queue);
});

Deno.test("a CopyDone after the error but before ReadyForQuery is forgotten with it", () => {
  const queue = new RequestQueue();
  queue.noteQuery();
  queue.onCopyIn();
  queue.onError();
  queue.noteCopyEnd();
  queue.noteQuery();
  queue.onReadyForQuery();
  queue.onReadyForQuery();
  assertClean(queue);
});

Deno.test("a pipelined COPY that fails before it begins leaves nothing behind", () => {
  const queue = new RequestQueue();
  queue.noteQuery();
  queue.noteCopyEnd();
  queue.onError();
  queue.onReadyForQuery();
  assertClean(queue);
  sendExtended(queue);
  queue.noteCopyEnd();
  queue.noteSync();
  queue.onError();
  queue.onReadyForQuery();
  assertClean(queue);
});

Deno.test("an error in a COPY puts a Sync sent before its end in doubt: it may have been read or not", () => {
  const before = new RequestQueue();
  sendExtended(before);
  before.noteSync();
  before.onCopyIn();
  before.onError();
  assert.equal(before.isDoubtful, true);

  const during = new RequestQueue();
  during.noteQuery();
  during.onCopyIn();
  during.noteSync();
  during.onError();
  assert.equal(during.isDoubtful, true);

  const ended = new RequestQueue();
  sendExtended(ended);
  ended.noteSync();
  ended.onCopyIn();
  ended.noteCopyEnd();
  ended.noteSync();
  ended.onError();
  assert.equal(ended.isDoubtful, true, "CopyDone does not tell which Sync was read");
});

Deno.test("an error after a COPY that ended well puts nothing in doubt", () => {
  const queue = new RequestQueue();
  sendExtended(queue);
  queue.noteSync();
  queue.onCopyIn();
  queue.noteCopyEnd();
  queue.noteSync();
  queue.onReadyForQuery();
  queue.noteQuery();
  queue.onError();
  queue.onReadyForQuery();
  assertClean(queue);
});

Deno.test("a request in a running COPY puts the count in doubt", () => {
  for (const send of ["noteQuery", "noteFunctionCall", "noteExtended"] as const) {
    const queue = new RequestQueue();
    queue.noteQuery();
    queue.onCopyIn();
    queue[send]();
    assert.equal(queue.isDoubtful, true, send);
  }
});

Deno.test("extended messages sent into the COPY of a Query, before it is known to be one, too", () => {
  for (const hasEnd of [false, true]) {
    const queue = new RequestQueue();
    queue.noteQuery();
    sendExtended(queue);
    if (hasEnd) queue.noteCopyEnd();
    queue.onCopyIn();
    assert.equal(queue.isDoubtful, true);
  }
});

Deno.test("CopyDone without a COPY counts for nothing", () => {
  const queue = new RequestQueue();
  queue.noteCopyEnd();
  assertClean(queue);
  queue.noteQuery();
  queue.noteCopyEnd();
  queue.noteCopyEnd();
  assert.equal(queue.dueCount, 1);
  queue.onReadyForQuery();
  assertClean(queue);
});

Deno.test("RequestQueue.clear() forgets everything, doubts included", () => {
  const queue = new RequestQueue();
  sendExtended(queue);
  queue.noteQuery();
  queue.onCopyIn();
  queue.noteSync();
  queue.onError();
  assert.equal(queue.isDoubtful, true);
  queue.clear();
  assertClean(queue);
  assert.equal(queue.isUnsynced, false);
  assert.equal(queue.onReadyForQuery(), false);
});

Deno.test("RequestQueue keeps the order of requests when its ring grows and wraps around", () => {
  const queue = new RequestQueue();
  let due = 0;
  // Three in, two out: the head moves on while the ring fills up again and again.
  for (let i = 0; i < 1_000; i++) {
    for (const send of ["noteQuery", "noteSync", "noteFunctionCall"] as const) queue[send]();
    due += 3;
    for (let j = 0; j < 2; j++) assert.equal(queue.onReadyForQuery(), true);
    due -= 2;
    assert.equal(queue.dueCount, due);
  }
  while (due > 0) {
    assert.equal(queue.onReadyForQuery(), true);
    due -= 1;
  }
  assertClean(queue);
});

Deno.test("RequestQueue finds the end of a COPY in a ring that wraps around", () => {
  for (let shift = 0; shift < 20; shift++) {
    const queue = new RequestQueue();
    for (let i = 0; i < shift; i++) {
      queue.noteQuery();
      queue.onReadyForQuery();
    }
    queue.noteQuery();
    queue.noteSync();
    queue.noteSync();
    queue.noteCopyEnd();
    for (let i = 0; i < 5; i++) queue.noteQuery();
    queue.onCopyIn();
    assert.equal(queue.dueCount, 6, "the Query of the COPY and the five after it");
    for (let i = 0; i < 6; i++) assert.equal(queue.onReadyForQuery(), true);
    assertClean(queue);
  }
});

Deno.test("RequestQueue refuses more requests than it has room for", () => {
  const queue = new RequestQueue();
  for (let i = 0; i < MAX_OUTSTANDING_REQUESTS; i++) queue.noteSync();
  assert.throws(() => queue.noteSync(), ProtocolError);
});

Deno.test("RequestQueue.moveOut() gives away everything, and leaves nothing", () => {
  const queue = new RequestQueue();
  for (let i = 0; i < 9; i++) queue.noteQuery();
  for (let i = 0; i < 7; i++) queue.onReadyForQuery();
  queue.noteExtended();
  const moved = queue.moveOut();
  assertClean(queue);
  assert.equal(queue.dueCount, 0);
  assert.deepEqual([moved.dueCount, moved.isUnsynced, moved.isDoubtful], [2, true, false]);
  queue.noteQuery();
  assert.equal(moved.dueCount, 2, "they share nothing");
  for (const left of [1, 0]) {
    assert.equal(moved.onReadyForQuery(), true);
    assert.equal(moved.dueCount, left);
  }
});

Deno.test("RequestQueue.moveOut() takes along a COPY and what it makes doubtful", () => {
  const queue = new RequestQueue();
  queue.noteExtended();
  queue.noteSync();
  queue.onCopyIn();
  const moved = queue.moveOut();
  assert.deepEqual([queue.isCopyingIn, queue.hasIgnored], [false, false]);
  assert.deepEqual([moved.isCopyingIn, moved.hasIgnored, moved.isDoubtful], [true, true, false]);
  moved.onError();
  const doubtful = moved.moveOut();
  assert.deepEqual([doubtful.isCopyingIn, doubtful.isDoubtful], [false, true]);
  assertClean(moved);
});

Deno.test("what follows an ignored Sync is counted from there, the end of its COPY before it", () => {
  const queue = new RequestQueue();
  for (let i = 0; i < 3; i++) queue.noteExtended();
  queue.noteSync();
  for (let i = 0; i < 2; i++) queue.onAnswer();
  queue.onCopyIn();
  queue.noteCopyEnd();
  assert.deepEqual([queue.answeringSegment, queue.askingSegment, queue.askedInSegment], [1, 1, 0]);
  assert.equal(queue.answeredInSegment, -1);
  queue.onAnswer();
  assert.equal(queue.answeredInSegment, queue.askedInSegment);
});
