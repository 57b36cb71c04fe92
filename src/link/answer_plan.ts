/**
 * Where a client's answers differ from its server's: a message that we put in has an answer that
 * the client is not to see, one that we changed has an answer to be changed back. Each message has
 * one answer, so each of these is known by its segment (see `RequestQueue`) and its place there.
 * Nothing is ever made up for the client at a moment of our choice: the server's own answers keep
 * the order. Pure.
 */

import type { PgError } from "../wire/pg_error.ts";
import type { ServerStatement } from "./server_statements.ts";
import type { Registration } from "./statement_book.ts";

/** What becomes of one answer. */
export type AnswerFate =
  /** A Parse of ours; `registration` is there if the client's own Parse is what was sent. */
  | {
    readonly kind: "parsed";
    readonly one: ServerStatement;
    /** Of the statement, as it was sent here. */
    readonly sending: number;
    /** Whether the server certainly had none of that name. */
    readonly wasAbsent: boolean;
    readonly registration: Registration | undefined;
  }
  /** The client's Parse of what the server has: a Close of nothing was sent for it. */
  | { readonly kind: "parsed_before"; readonly registration: Registration }
  /** A Close of ours, before or behind a Parse of the same name. */
  | { readonly kind: "cleared" }
  /** A Close of ours, since the server has too many. */
  | { readonly kind: "evicted"; readonly one: ServerStatement; readonly sending: number }
  /** A Parse of the client's unnamed statement, which another server had. */
  | { readonly kind: "unnamed" }
  /** The client's Close: a Close of nothing was sent for it. */
  | { readonly kind: "closed"; readonly registration: Registration }
  /** The client's DEALLOCATE: another command without effect was sent for it. */
  | { readonly kind: "deallocated"; readonly registration: Registration }
  /** The client's DEALLOCATE ALL or DISCARD ALL, and the names that it takes away. */
  | { readonly kind: "all_deallocated"; readonly registrations: readonly Registration[] }
  /** What the server is certain to refuse, for what reason, and the error to be told. */
  | { readonly kind: "refused"; readonly sqlstate: string; readonly error: PgError };

/** The same with the answer's place. */
export type PlannedAnswer = AnswerFate & { readonly segment: number; readonly index: number };

const NONE: readonly PlannedAnswer[] = [];

/** Answers dealt with that are kept before those to come are moved. */
const KEPT_ANSWERS = 256;

/** The planned answers of one link, in order. */
export class AnswerPlan {
  #answers: PlannedAnswer[] = [];
  #head = 0;

  /** HOT: asked at every answer. */
  get isEmpty(): boolean {
    return this.#answers.length === 0;
  }

  /** Whether all that are to come are of Parses of what the server has. */
  get isOfKnownOnly(): boolean {
    for (let i = this.#head; i < this.#answers.length; i++) {
      if (this.#answers[i]!.kind !== "parsed_before") return false;
    }
    return true;
  }

  /** How many take memory, those dealt with included. */
  get heldCount(): number {
    return this.#answers.length;
  }

  add(answer: PlannedAnswer): void {
    this.#answers.push(answer);
  }

  /** Takes the one for an answer that has come. */
  take(segment: number, index: number): PlannedAnswer | undefined {
    const next = this.#answers[this.#head];
    if (next === undefined || next.segment !== segment || next.index !== index) return undefined;
    this.#head += 1;
    this.#compact();
    return next;
  }

  /** Takes all up to the end of a segment, whose answers will not come. HOT: most often there are none. */
  takeSegment(segment: number): readonly PlannedAnswer[] {
    if (this.isEmpty) return NONE;
    const first = this.#head;
    while (this.#head < this.#answers.length && this.#answers[this.#head]!.segment <= segment) {
      this.#head += 1;
    }
    const taken = this.#answers.slice(first, this.#head);
    this.#compact();
    return taken;
  }

  /** A client that never stops asking has always some to come: what is done with must go all the same. */
  #compact(): void {
    const isOver = this.#head === this.#answers.length;
    if (!isOver && (this.#head < KEPT_ANSWERS || this.#head * 2 < this.#answers.length)) return;
    this.#answers = isOver ? [] : this.#answers.slice(this.#head);
    this.#head = 0;
  }
}
