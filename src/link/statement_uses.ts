/**
 * Which of a client's names its messages under way use, each by its place in the conversation: an
 * error says where it happened, not of which statement. Pure.
 *
 * HOT PATH. Budget: no allocation, once there is room for as many as are under way at a time.
 */

import type { Registration } from "./statement_book.ts";

/** Room that is kept when nothing is under way. */
const KEPT_USES = 64;

interface StatementUse {
  segment: number;
  index: number;
  registration: Registration | undefined;
}

/** The uses under way in one link, in order. */
export class StatementUses {
  readonly #uses: StatementUse[] = [];
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
      this.#uses.push({ segment, index, registration });
      return;
    }
    use.segment = segment;
    use.index = index;
    use.registration = registration;
  }

  /** The name that is used at a place. */
  at(segment: number, index: number): Registration | undefined {
    for (let i = this.#head; i < this.#end; i++) {
      const use = this.#uses[i]!;
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
      if (use.segment > segment || use.segment === segment && use.index > index) break;
      use.registration = undefined;
      this.#head += 1;
    }
    if (this.#head < this.#end) return this.#compact();
    this.#head = 0;
    this.#end = 0;
    if (this.#uses.length > KEPT_USES) this.#uses.length = KEPT_USES;
  }

  /** All up to the end of a segment are answered. HOT. */
  endSegment(segment: number): void {
    this.endAt(segment, Infinity);
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
