/**
 * A regular expression of PostgreSQL that names are held against. Pure.
 *
 * The name is chosen by somebody who has not proved anything yet, so matching must never take long:
 * each part of the pattern is tried at each place of the name once, and its ends are kept as a set of
 * bits. That is polynomial whatever the pattern, where a matcher that tries and goes back is not; and
 * it finds what PostgreSQL finds, leftmost and longest, where JavaScript's takes the first that fits.
 */

import { assert } from "../base/assert.ts";
import {
  type ParsedPattern,
  parsePattern,
  PatternError,
  type PatternNode,
} from "./name_pattern_parser.ts";

export { PatternError } from "./name_pattern_parser.ts";

/** Longest name that a pattern is held against, in characters; longer ones match nothing. */
const MAX_NAME_LENGTH = 512;

/** A pattern, read once and held against many names. */
export class NamePattern {
  /** As written, without the slash. */
  readonly source: string;
  readonly #parsed: ParsedPattern;

  /** @throws {PatternError} If the pattern is not supported. */
  constructor(source: string) {
    this.source = source;
    this.#parsed = parsePattern(source);
  }

  /** Whether the pattern matches anywhere in the name. */
  matches(name: string): boolean {
    return this.#match(name) !== undefined;
  }

  /**
   * Makes sure that `firstGroup()` finds what PostgreSQL would.
   * @throws {PatternError} If there is no group, or what it captures depends on finer rules.
   */
  checkFirstGroup(): void {
    if (this.#parsed.groupCount === 0) throw new PatternError('it has no group for "\\1"');
    if (isAnyLazy(this.#parsed.root)) {
      throw new PatternError('with "\\1" no repetition may be a short one ("*?" and its like)');
    }
    if (isGroupRepeated(this.#parsed.root, false)) {
      throw new PatternError('the group for "\\1" cannot be within a repetition');
    }
  }

  /** What the first group captured; undefined if the pattern does not match, or without the group. */
  firstGroup(name: string): string | undefined {
    const match = this.#match(name);
    if (match === undefined) return undefined;
    const { attempt, end, start } = match;
    const span = attempt.groupWithin(this.#parsed.root, start, end);
    if (span === undefined) return undefined;
    return String.fromCodePoint(...attempt.codes.slice(...span));
  }

  /** The leftmost match, and of those the longest. */
  #match(name: string): { attempt: Attempt; start: number; end: number } | undefined {
    const codes = [...name].map((character) => character.codePointAt(0)!);
    if (codes.length > MAX_NAME_LENGTH) return undefined;
    const attempt = new Attempt(codes, this.#parsed.nodeCount);
    for (let start = 0; start <= codes.length; start += 1) {
      const end = attempt.ends(this.#parsed.root, start).last();
      if (end !== undefined) return { attempt, start, end };
    }
    return undefined;
  }
}

function isAnyLazy(node: PatternNode): boolean {
  if (node.kind === "repeat" && node.isLazy) return true;
  return partsOf(node).some(isAnyLazy);
}

function isGroupRepeated(node: PatternNode, isInRepeat: boolean): boolean {
  if (node.kind === "group" && node.index === 1) return isInRepeat;
  return partsOf(node).some((part) => isGroupRepeated(part, isInRepeat || node.kind === "repeat"));
}

function hasFirstGroup(node: PatternNode): boolean {
  return node.kind === "group" && node.index === 1 || partsOf(node).some(hasFirstGroup);
}

function partsOf(node: PatternNode): readonly PatternNode[] {
  switch (node.kind) {
    case "sequence":
    case "choice":
      return node.items;
    case "repeat":
    case "group":
      return [node.item];
    default:
      return [];
  }
}

/** One pattern held against one name. */
class Attempt {
  /** The name's characters. */
  readonly codes: readonly number[];
  /** By part and place. */
  readonly #known: (PlaceSet[] | undefined)[];

  constructor(codes: readonly number[], nodeCount: number) {
    this.codes = codes;
    this.#known = new Array<PlaceSet[] | undefined>(nodeCount);
  }

  /** Where the part may end if it begins at `start`. Not to be changed. */
  ends(node: PatternNode, start: number): PlaceSet {
    const known = this.#known[node.id] ??= [];
    return known[start] ??= this.#findEnds(node, start);
  }

  /** Where the first group is, if the part goes from `start` to `end`; PostgreSQL's preference. */
  groupWithin(node: PatternNode, start: number, end: number): [number, number] | undefined {
    switch (node.kind) {
      case "group":
        return node.index === 1 ? [start, end] : this.groupWithin(node.item, start, end);
      case "choice": {
        // The first alternative that fits, not the longest: the span is settled.
        const taken = node.items.find((item) => this.ends(item, start).has(end));
        return taken && this.groupWithin(taken, start, end);
      }
      case "sequence":
        return this.#groupWithinSequence(node.items, start, end);
      default:
        return undefined;
    }
  }

  #findEnds(node: PatternNode, start: number): PlaceSet {
    const length = this.codes.length;
    switch (node.kind) {
      case "set": {
        const code = this.codes[start];
        return this.#setOf(code !== undefined && node.has(code) ? start + 1 : undefined);
      }
      case "start":
        return this.#setOf(start === 0 ? start : undefined);
      case "end":
        return this.#setOf(start === length ? start : undefined);
      case "group":
        return this.ends(node.item, start);
      case "choice": {
        const all = this.#setOf(undefined);
        for (const item of node.items) all.add(this.ends(item, start));
        return all;
      }
      case "sequence":
        return this.#endsOfSequence(node.items, start);
      case "repeat":
        return this.#endsOfRepeat(node, start);
    }
  }

  #endsOfSequence(items: readonly PatternNode[], start: number): PlaceSet {
    let places = this.#setOf(start);
    for (const item of items) places = this.#step(item, places);
    return places;
  }

  #endsOfRepeat(
    { item, max, min }: Extract<PatternNode, { kind: "repeat" }>,
    start: number,
  ): PlaceSet {
    let places = this.#setOf(start);
    const all = this.#setOf(min === 0 ? start : undefined);
    for (let count = 1; count <= max; count += 1) {
      places = this.#step(item, places);
      if (places.isEmpty()) break;
      // Once there is nothing new, there is nothing new in what follows.
      if (count >= min && !all.add(places)) break;
    }
    return all;
  }

  /** Where `item` may end if it begins at one of `places`. */
  #step(item: PatternNode, places: PlaceSet): PlaceSet {
    const next = this.#setOf(undefined);
    for (let place = 0; place <= this.codes.length; place += 1) {
      if (places.has(place)) next.add(this.ends(item, place));
    }
    return next;
  }

  /** What stands before the group takes as much as it can, then the part with the group does. */
  #groupWithinSequence(
    items: readonly PatternNode[],
    start: number,
    end: number,
  ): [number, number] | undefined {
    const at = items.findIndex(hasFirstGroup);
    const item = items[at];
    if (item === undefined) return undefined;
    const rest = items.slice(at + 1);
    const begins = this.#endsOfSequence(items.slice(0, at), start);
    for (let begin = end; begin >= start; begin -= 1) {
      if (!begins.has(begin)) continue;
      const places = this.ends(item, begin);
      for (let place = end; place >= begin; place -= 1) {
        if (!places.has(place) || !this.#endsOfSequence(rest, place).has(end)) continue;
        return this.groupWithin(item, begin, place);
      }
    }
    return undefined;
  }

  #setOf(place: number | undefined): PlaceSet {
    return new PlaceSet(this.codes.length + 1, place);
  }
}

/** A set of places in a name. */
class PlaceSet {
  readonly #words: Uint32Array;

  constructor(size: number, place: number | undefined) {
    this.#words = new Uint32Array((size + 31) >>> 5);
    if (place !== undefined) this.#words[place >>> 5]! |= 1 << (place & 31);
  }

  has(place: number): boolean {
    return (this.#words[place >>> 5]! & (1 << (place & 31))) !== 0;
  }

  /** Adds those of another set. Returns whether any was new. */
  add(other: PlaceSet): boolean {
    assert(this.#words.length === other.#words.length, "Sets of one name have one size");
    let isNew = false;
    for (let at = 0; at < this.#words.length; at += 1) {
      const before = this.#words[at]!;
      const after = (before | other.#words[at]!) >>> 0;
      if (after !== before) isNew = true;
      this.#words[at] = after;
    }
    return isNew;
  }

  isEmpty(): boolean {
    return this.#words.every((word) => word === 0);
  }

  /** The greatest; undefined if there is none. */
  last(): number | undefined {
    for (let place = this.#words.length * 32 - 1; place >= 0; place -= 1) {
      if (this.has(place)) return place;
    }
    return undefined;
  }
}
