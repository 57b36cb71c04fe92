/**
 * What a client has asked of its server and not yet been told: the half of "may the link end?" that
 * the transaction status does not answer. Pure.
 *
 * Query, Sync and FunctionCall are each answered by one ReadyForQuery, in order. Extended-protocol
 * messages without a Sync behind them hold the server too, though no answer is due. COPY from the
 * client is the odd one: while it runs the server ignores Syncs, so those already counted on are
 * taken back. Should it then fail, nobody can tell which of them the server had read by then: the
 * count is in doubt, and stays so.
 *
 * JDBC drivers send extended messages with a Query in place of their Sync: BEGIN before a SAVEPOINT,
 * and Close, which never fails, before anything. If one of them fails, the Query is skipped up to
 * the next Sync. If none does, they may have left a transaction open that nobody began; the next
 * Sync does not end it in some versions of PostgreSQL, which say that they are idle all the same.
 *
 * What lies between two ReadyForQuery is a *segment*: an error makes the server skip the rest of
 * one, never more. Each message of the extended protocol has one answer, so a message is known by
 * its segment and by its place among the messages there; `AnswerPlan` relies on it.
 *
 * HOT PATH. Budget: no allocation.
 * Source: PostgreSQL, "Message Flow"; the ignored Sync in src/backend/commands/copyfromparse.c.
 */

import { ProtocolError } from "../wire/pg_error.ts";

const SyncReadyDue = 1;
const QueryReadyDue = 2;
/** Of a Query or FunctionCall behind messages without a Sync, which is skipped if one of them fails. */
const SkippableReadyDue = 3;
/** CopyDone or CopyFail to a COPY that a request before it may have begun. */
const CopyEndAfter = 4;
/** The same among extended messages whose Sync is still to come. */
const CopyEndBefore = 5;

/** Requests in flight before a client is refused; drivers pipeline hundreds, this bounds memory. */
export const MAX_OUTSTANDING_REQUESTS = 1_048_576;

/** Requests of one client on its present server. */
export class RequestQueue {
  /** A ring of the kinds above; a plain array, since every idle client has one. */
  #ring: number[] = [0, 0, 0, 0];
  #head = 0;
  #count = 0;
  /** Extended messages that no Sync follows yet: none, only Close, or others as well. */
  #unsynced: "none" | "closes" | "some" = "none";
  /** Whether the server awaits CopyData from the client. */
  #isCopyingIn = false;
  /** Requests the server ignores because of a COPY, unless the COPY fails before it reads them. */
  #ignoredCount = 0;
  #isDoubtful = false;
  /** Whether a transaction that nobody began may be open. */
  #mayBeImplicit = false;
  /** Entries of the ring that ReadyForQuery answers. */
  #readyCount = 0;
  /** Segments that were begun and ended by what the client sent. */
  #askedSegments = 0;
  /** Extended messages sent since the last request that ReadyForQuery answers. */
  #askedInSegment = 0;
  /** Answers to those that came since the last ReadyForQuery. */
  #answeredInSegment = 0;

  /** The segment to which the next message of the client will belong. */
  get askingSegment(): number {
    return this.#askedSegments;
  }

  /** Extended messages that the client has sent in that segment. */
  get askedInSegment(): number {
    return this.#askedInSegment;
  }

  /** The segment to which the next message of the server belongs. */
  get answeringSegment(): number {
    return this.#askedSegments - this.#readyCount;
  }

  /** Answers that the server has completed in that segment. */
  get answeredInSegment(): number {
    return this.#answeredInSegment;
  }

  /** Whether nothing at all is outstanding. */
  get isEmpty(): boolean {
    return this.#count === 0 && !this.isUnsynced && !this.#isCopyingIn;
  }

  /** How many ReadyForQuery are due. */
  get dueCount(): number {
    return this.#readyCount;
  }

  /** Whether what ReadyForQuery answers next is skipped if a message before it fails. */
  get isNextSkippable(): boolean {
    let next = 0;
    while (next < this.#count && this.#isCopyEndAt(next)) next += 1;
    return next < this.#count && this.#kindAt(next) === SkippableReadyDue;
  }

  /**
   * How many ReadyForQuery come if everything fails, and whether all up to the next Sync is skipped
   * behind them.
   */
  ifAllFails(): { readonly dueCount: number; readonly isSkipping: boolean } {
    let dueCount = 0;
    let isSkipping = false;
    for (let i = 0; i < this.#count; i++) {
      const kind = this.#kindAt(i);
      if (kind === SkippableReadyDue) isSkipping = true;
      else if (kind === SyncReadyDue) isSkipping = false;
      if (!isSkipping && !this.#isCopyEndAt(i)) dueCount += 1;
    }
    return { dueCount, isSkipping: isSkipping || this.isUnsynced };
  }

  /** Whether extended messages wait for their Sync. */
  get isUnsynced(): boolean {
    return this.#unsynced !== "none";
  }

  /**
   * Whether the count of answers can no longer be trusted, after messages whose order only a
   * confused or hostile client sends. Such a server must not serve anybody else.
   */
  get isDoubtful(): boolean {
    return this.#isDoubtful;
  }

  /** Whether the server awaits CopyData from the client. */
  get isCopyingIn(): boolean {
    return this.#isCopyingIn;
  }

  /** Whether there are requests of which a COPY that fails leaves open whether they are answered. */
  get hasIgnored(): boolean {
    return this.#ignoredCount > 0;
  }

  /** Gives away what is outstanding, and is empty itself. */
  moveOut(): RequestQueue {
    const moved = new RequestQueue();
    moved.#ring = this.#ring;
    moved.#head = this.#head;
    moved.#count = this.#count;
    moved.#unsynced = this.#unsynced;
    moved.#isCopyingIn = this.#isCopyingIn;
    moved.#ignoredCount = this.#ignoredCount;
    moved.#isDoubtful = this.#isDoubtful;
    moved.#mayBeImplicit = this.#mayBeImplicit;
    moved.#readyCount = this.#readyCount;
    moved.#askedSegments = this.#askedSegments;
    moved.#askedInSegment = this.#askedInSegment;
    moved.#answeredInSegment = this.#answeredInSegment;
    this.#ring = [0, 0, 0, 0];
    this.clear();
    return moved;
  }

  /** The client sent Query. */
  noteQuery(): void {
    this.#noteIntoCopy();
    this.#pushReady(this.#unsynced === "some" ? SkippableReadyDue : QueryReadyDue);
    this.#unsynced = "none";
  }

  /** The client sent FunctionCall. */
  noteFunctionCall(): void {
    this.noteQuery();
  }

  /** The client sent Parse, Bind, Describe or Execute. */
  noteExtended(): void {
    this.#noteIntoCopy();
    this.#unsynced = "some";
    this.#askedInSegment += 1;
  }

  /** The client sent Close. */
  noteClose(): void {
    this.#noteIntoCopy();
    if (this.#unsynced === "none") this.#unsynced = "closes";
    this.#askedInSegment += 1;
  }

  /** The client sent Sync. */
  noteSync(): void {
    if (this.#isCopyingIn) {
      this.#ignoredCount += 1;
    } else {
      this.#unsynced = "none";
      this.#pushReady(SyncReadyDue);
    }
  }

  /** The client sent CopyDone or CopyFail. */
  noteCopyEnd(): void {
    if (this.#isCopyingIn) this.#isCopyingIn = false;
    else if (this.isUnsynced) this.#pushCopyEndBefore();
    else if (this.#count > 0) this.#push(CopyEndAfter);
  }

  /** The server completed the answer to an extended message. */
  onAnswer(): void {
    this.#answeredInSegment += 1;
  }

  /** What lies before the next ReadyForQuery is asked again: all its answers are still to come. */
  restartSegment(): void {
    this.#answeredInSegment = 0;
  }

  /** The server sent CopyInResponse: it ignores Syncs up to the end of the COPY. */
  onCopyIn(): void {
    // The COPY may be of the Query, or of what stands before it.
    if (this.isNextSkippable) this.#isDoubtful = true;
    const kept = this.#count > 0 && this.#kindAt(0) === QueryReadyDue ? 1 : 0;
    let dropped = 0;
    let hasEnded = false;
    while (kept + dropped < this.#count && !hasEnded) {
      hasEnded = this.#isCopyEndAt(kept + dropped);
      // Extended messages sent into the COPY of a Query: whose end this is cannot be told.
      if (kept === 1 && this.#kindAt(1 + dropped) === CopyEndBefore) this.#isDoubtful = true;
      dropped += 1;
    }
    if (kept === 1 && !hasEnded && this.isUnsynced) this.#isDoubtful = true;
    const due = this.#readyCount;
    this.#remove(kept, dropped);
    // What follows an ignored Sync is counted from there: the end of the COPY stands before it.
    if (kept === 0 && this.#readyCount < due) this.#answeredInSegment = -1;
    // Its own Sync may have been ignored; then another one has to come.
    if (this.#count === 0) this.#unsynced = "some";
    this.#isCopyingIn = !hasEnded;
    this.#ignoredCount = hasEnded ? dropped - 1 : dropped;
  }

  /** The server sent ErrorResponse: a COPY from the client is over. */
  onError(): void {
    if (this.#ignoredCount > 0 || this.isNextSkippable) this.#isDoubtful = true;
    this.#isCopyingIn = false;
  }

  /** The server sent ReadyForQuery, and whether it is idle. Returns whether one was due. */
  onReadyForQuery(isIdle = true): boolean {
    this.#ignoredCount = 0;
    this.#answeredInSegment = 0;
    while (this.#count > 0 && this.#isCopyEndAt(0)) this.#remove(0, 1);
    if (this.#count === 0) return false;
    this.#noteTransaction(this.#kindAt(0), isIdle);
    this.#remove(0, 1);
    while (this.#count > 0 && this.#kindAt(0) === CopyEndAfter) this.#remove(0, 1);
    return true;
  }

  /** Forgets everything, when the link is over. */
  clear(): void {
    this.#count = 0;
    this.#head = 0;
    this.#unsynced = "none";
    this.#isCopyingIn = false;
    this.#ignoredCount = 0;
    this.#isDoubtful = false;
    this.#mayBeImplicit = false;
    this.#readyCount = 0;
    this.#askedSegments = 0;
    this.#askedInSegment = 0;
    this.#answeredInSegment = 0;
  }

  /** A request in a COPY makes it fail; whether it comes in time to do so is not known. */
  #noteIntoCopy(): void {
    if (this.#isCopyingIn) this.#isDoubtful = true;
  }

  /** A Sync ends a transaction that nobody began: what is open behind one was begun. */
  #noteTransaction(kind: number, isIdle: boolean): void {
    if (this.#mayBeImplicit && isIdle) this.#isDoubtful = true;
    if (kind === SkippableReadyDue) this.#mayBeImplicit = !isIdle;
    else if (kind === SyncReadyDue) this.#mayBeImplicit = false;
  }

  #kindAt(index: number): number {
    return this.#ring[(this.#head + index) & (this.#ring.length - 1)]!;
  }

  #isCopyEndAt(index: number): boolean {
    return this.#kindAt(index) >= CopyEndAfter;
  }

  #pushReady(kind: number): void {
    this.#push(kind);
    this.#readyCount += 1;
    this.#askedSegments += 1;
    this.#askedInSegment = 0;
  }

  #pushCopyEndBefore(): void {
    this.#unsynced = "some";
    this.#push(CopyEndBefore);
  }

  #push(kind: number): void {
    if (this.#count === this.#ring.length) this.#grow();
    this.#ring[(this.#head + this.#count) & (this.#ring.length - 1)] = kind;
    this.#count += 1;
  }

  /** Removes `count` entries after the first `kept`, of which there is at most one. */
  #remove(kept: 0 | 1, count: number): void {
    if (count === 0) return;
    const first = this.#kindAt(0);
    for (let i = kept; i < kept + count; i++) if (!this.#isCopyEndAt(i)) this.#readyCount -= 1;
    this.#head = (this.#head + count) & (this.#ring.length - 1);
    this.#count -= count;
    if (kept === 1) this.#ring[this.#head] = first;
  }

  #grow(): void {
    if (this.#ring.length >= MAX_OUTSTANDING_REQUESTS) {
      throw new ProtocolError("too many requests in flight");
    }
    const grown = new Array<number>(this.#ring.length * 2).fill(0);
    for (let i = 0; i < this.#count; i++) grown[i] = this.#kindAt(i);
    this.#ring = grown;
    this.#head = 0;
  }
}
