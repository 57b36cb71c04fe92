/**
 * Which of a client's names its messages under way use, each by its place in the conversation: an
 * error says where it happened, not of which statement. And by which of them the client is told what
 * a result is like: one that is skipped tells it nothing. Pure.
 *
 * HOT PATH. Budget: no allocation, once there is room for as many as are under way at a time.
 */

import type { Registration } from "./statement_book.ts";

/** Room that is kept when nothing is under way. */
const KEPT_USES = 64;

/** Of a message by which the client is not told what its result is like. */
const TELLS_NOTHING = -1;

interface StatementUse {
  segment: number;
  index: number;
  /** Where the answer stands by which the use is over, `index` or the next. */
  lastIndex: number;
  registration: Registration | undefined;
  /** How many `ResultChanges` there were when what tells the client of its result was sent. */
  toldAt: number;
}

/** The uses under way in one link, in order. */
export class StatementUses {
  readonly #uses: StatementUse[] = [];
  /** What the client is told anew in the last segment in which it is, as of how many `ResultChanges`. */
  readonly #telling = new Map<Registration, number>();
  #tellingSegment = 0;
  #head = 0;
  #end = 0;

  /** How many take memory, those answered included. */
  get heldCount(): number {
    return this.#uses.length;
  }

  /** A message that uses a name sets out for a place. HOT. */
  note(
    { index, segment }: { readonly segment: number; readonly index: number },
    registration: Registration,
  ): void {
    const use = this.#uses[this.#end];
    this.#end += 1;
    if (use === undefined) {
      this.#uses.push({ segment, index, lastIndex: index, registration, toldAt: TELLS_NOTHING });
      return;
    }
    use.segment = segment;
    use.index = index;
    use.lastIndex = index;
    use.registration = registration;
    use.toldAt = TELLS_NOTHING;
  }

  /**
   * With the answer to the message that was noted last, or with one so many behind it, the client is
   * told what the result is like, as of so many `ResultChanges`.
   */
  tellWith(answersBehind: 0 | 1, toldAt: number): void {
    const use = this.#uses[this.#end - 1]!;
    const registration = use.registration!;
    use.lastIndex = use.index + answersBehind;
    use.toldAt = toldAt;
    if (toldAt > registration.toldAt) this.#noteTelling(use, registration);
  }

  /**
   * As of how many `ResultChanges` a client knows what the result of a name is like when its next
   * message in a segment is carried out: what fails before has that one skipped.
   */
  toldAtIn(segment: number, registration: Registration): number {
    const telling = segment === this.#tellingSegment ? this.#telling.get(registration) : undefined;
    return Math.max(registration.toldAt, telling ?? TELLS_NOTHING);
  }

  /** Notes what a client is going to know that it does not know yet. */
  #noteTelling({ segment, toldAt }: StatementUse, registration: Registration): void {
    if (segment !== this.#tellingSegment) this.#telling.clear();
    this.#tellingSegment = segment;
    this.#telling.set(registration, toldAt);
  }

  /** The name that is used at a place. */
  at(segment: number, index: number): Registration | undefined {
    for (let i = this.#head; i < this.#end; i++) {
      const use = this.#uses[i]!;
      if (use.segment > segment) break;
      if (use.segment === segment && use.index === index) return use.registration;
    }
    return undefined;
  }

  /** Takes out all names under way, in order. */
  takeAll(): Registration[] {
    const names: Registration[] = [];
    for (let i = this.#head; i < this.#end; i++) names.push(this.#uses[i]!.registration!);
    this.endSegment(Infinity);
    return names;
  }

  /** All up to a place are answered. HOT. */
  endAt(segment: number, index: number): void {
    while (this.#head < this.#end) {
      const use = this.#uses[this.#head]!;
      if (use.segment > segment || use.segment === segment && use.lastIndex > index) break;
      if (use.toldAt !== TELLS_NOTHING) tell(use);
      this.#endFirst(use);
    }
    this.#makeRoom();
  }

  /** A segment is over: what is left of it was not answered. HOT. */
  endSegment(segment: number): void {
    while (this.#head < this.#end) {
      const use = this.#uses[this.#head]!;
      if (use.segment > segment) break;
      this.#endFirst(use);
    }
    if (this.#telling.size > 0 && this.#tellingSegment <= segment) this.#telling.clear();
    this.#makeRoom();
  }

  #endFirst(use: StatementUse): void {
    use.registration = undefined;
    this.#head += 1;
  }

  #makeRoom(): void {
    if (this.#head < this.#end) return this.#compact();
    this.#head = 0;
    this.#end = 0;
    if (this.#uses.length > KEPT_USES) this.#uses.length = KEPT_USES;
  }

  /** A client that never stops asking has always some under way: those answered make room. */
  #compact(): void {
    const head = this.#head;
    const count = this.#end - head;
    if (head < KEPT_USES || head < count) return;
    for (let i = 0; i < count; i++) {
      const free = this.#uses[i]!;
      this.#uses[i] = this.#uses[head + i]!;
      this.#uses[head + i] = free;
    }
    this.#head = 0;
    this.#end = count;
  }
}

function tell({ registration, toldAt }: StatementUse): void {
  if (registration!.toldAt < toldAt) registration!.toldAt = toldAt;
}
