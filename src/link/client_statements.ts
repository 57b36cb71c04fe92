/**
 * What one client has prepared, as if it had a server to itself: its names, and the text of its
 * unnamed statement. Made when a client first uses the extended protocol. Pure.
 */

import { copyBytes, isSameBytes } from "../base/bytes.ts";
import type { MessageWriter } from "../wire/message_writer.ts";
import { ProtocolError } from "../wire/pg_error.ts";
import { AnswerPlan } from "./answer_plan.ts";
import { BytesMap } from "./bytes_map.ts";
import type { ALL } from "./deallocation.ts";
import type { Registration, StatementBook } from "./statement_book.ts";
import { StatementUses } from "./statement_uses.ts";

/** What PostgreSQL cuts names of statements to. Source: NAMEDATALEN in pg_config_manual.h. */
export const MAX_NAME_BYTES = 63;

/** Names of one client; a program that makes new ones for ever would take all memory. */
const MAX_NAMES = 65_536;

/** Of these, given back while given anew, in one link; beyond that what is given back is lost. */
const MAX_DISPLACED = 64;

/** Longest unnamed statement that is kept for another server, in bytes. */
const MAX_UNNAMED_BYTES = 65_536;

/** A longer buffer is not kept when a shorter unnamed statement follows. */
const KEPT_UNNAMED_BYTES = 4_096;

/** Of so many names, those deallocated are looked for at once; of more, when the link is over. */
const FEW_NAMES = 256;

const NO_BYTES = new Uint8Array(0);

/** The statements of one client. */
export class ClientStatements {
  /** Where its answers differ from the server's. */
  readonly plan = new AnswerPlan();
  /** Which names are used by what is under way. */
  readonly uses = new StatementUses();
  /** Which link this is; names outlive links. */
  link = 0;
  /** The segment in which the unnamed statement was sent to the present server; -1 if it was not. */
  unnamedSegment: number = -1;
  /** Its place in that segment. */
  unnamedIndex = 0;
  /** The name that running the unnamed statement takes away, or that it takes all. */
  unnamedDeallocates: Uint8Array | typeof ALL | undefined;
  /** The portal that runs a DEALLOCATE, and what it takes away. */
  deallocatingPortal:
    | { readonly portal: Uint8Array; readonly what: Uint8Array | typeof ALL }
    | undefined;
  /** A named Parse that comes in parts. */
  parseInParts: MessageWriter | undefined;

  readonly #book: StatementBook;
  readonly #names = new BytesMap<Registration>();
  /** Of the names taken away, the last of each that is neither let go of nor given back yet. */
  readonly #takenAway = new BytesMap<Registration>();
  /** Given back in this link while the name was given anew: they have it if that is skipped, too. */
  #displaced: Registration[] = [];
  /** Where in this link the client's own Parse of it stands, whatever we have sent since; -1 if nowhere. */
  #ownSegment = -1;
  #ownIndex = 0;
  /** Where in this link the client has deallocated all, if what that took away may still be among its names. */
  #forgottenAt: { readonly segment: number; readonly index: number } | undefined;
  #unnamed: Uint8Array = NO_BYTES;
  #unnamedCount = 0;
  /** Bytes of it that are still to come. */
  #unnamedRest = 0;
  #addedSegment = -1;
  #addedCount = 0;

  constructor(book: StatementBook) {
    this.#book = book;
  }

  /** How many names there are. */
  get count(): number {
    return this.#names.size;
  }

  /**
   * The statement of a name, of which only so much counts as in PostgreSQL. HOT: asked at every
   * Bind.
   */
  find(buffer: Uint8Array, start: number, end: number): Registration | undefined {
    return this.#known(buffer, start, Math.min(end, start + MAX_NAME_BYTES));
  }

  #known(buffer: Uint8Array, start: number, end: number): Registration | undefined {
    const known = this.#names.get(buffer, start, end);
    if (known === undefined || this.#forgottenAt === undefined) return known;
    return this.#isLater(known, this.#forgottenAt) ? known : this.#drop(known);
  }

  #drop(known: Registration): undefined {
    this.#names.delete(known.name);
    this.release(known);
  }

  /** The same of a name that is being taken away, and is given back if that is skipped. */
  findTakenAway(buffer: Uint8Array, start: number, end: number): Registration | undefined {
    return this.#takenAway.get(buffer, start, Math.min(end, start + MAX_NAME_BYTES));
  }

  /** @throws {ProtocolError} If the client has as many names as it may have. */
  checkRoom(): void {
    if (this.#names.size >= MAX_NAMES) this.#dropForgotten();
    if (this.#names.size >= MAX_NAMES) throw new ProtocolError("too many prepared statements");
  }

  /** Gives a name to a statement, which the caller holds already. */
  register(registration: Registration): Registration {
    this.#names.set(registration.name, registration);
    return registration;
  }

  /** Takes a name away; its statement is held until `release()`, or given the name again. */
  unregister(registration: Registration): void {
    this.#names.delete(registration.name);
    this.#takenAway.set(registration.name, registration);
  }

  /** Takes all names away, as `unregister()` does. */
  unregisterAll(): Registration[] {
    this.#dropForgotten();
    const all = [...this.#names.values()];
    for (const registration of all) this.unregister(registration);
    return all;
  }

  /** Gives a name back that was taken away, unless it has been given anew, or is void by now. */
  restore(registration: Registration): void {
    const { isHolding, name } = registration;
    if (!isHolding) return;
    this.#forgetTakenAway(registration);
    const known = this.#known(name, 0, name.length);
    if (known === undefined) this.#names.set(name, registration);
    else if (known !== registration) this.#displace(registration);
  }

  #displace(registration: Registration): void {
    if (this.#displaced.length < MAX_DISPLACED) this.#displaced.push(registration);
    else this.release(registration);
  }

  #releaseDisplaced(name: Uint8Array): void {
    for (const one of this.#takeDisplaced(name)) this.release(one);
  }

  /** Those of a name, in the order in which they were given back. */
  #takeDisplaced(name: Uint8Array): Registration[] {
    const isOfName = (one: Registration) => isSameBytes(one.name, name, 0, name.length);
    const taken = this.#displaced.filter(isOfName);
    if (taken.length > 0) this.#displaced = this.#displaced.filter((one) => !isOfName(one));
    return taken;
  }

  /** Lets go of a statement whose name was taken away, unless that was done already. */
  release(registration: Registration): void {
    if (!registration.isHolding) return;
    registration.isHolding = false;
    this.#forgetTakenAway(registration);
    this.#book.release(registration.statement);
  }

  #forgetTakenAway(registration: Registration): void {
    const { name } = registration;
    if (this.#takenAway.get(name, 0, name.length) === registration) this.#takenAway.delete(name);
  }

  /**
   * The server has closed a name that was taken away, at the given place in this link: not even what
   * was given back since, because of an error further ahead, has it any more.
   */
  close(
    taken: Registration,
    place: { readonly segment: number; readonly index: number },
  ): void {
    this.release(taken);
    const { name } = taken;
    this.#releaseDisplaced(name);
    const known = this.#names.get(name, 0, name.length);
    if (known !== undefined && !this.#isLater(known, place)) this.withdraw(known);
  }

  /** Takes a name back whose Parse failed. */
  withdraw(registration: Registration): void {
    const { name } = registration;
    this.release(registration);
    if (this.#names.get(name, 0, name.length) !== registration) return;
    this.#names.delete(name);
    for (const one of this.#takeDisplaced(name)) this.restore(one);
  }

  /** The client has deallocated all, at the given place in this link, which is behind all before. */
  forgetAll(place: { readonly segment: number; readonly index: number }): void {
    this.#letGoOfDisplaced();
    this.#forgottenAt = place;
    // Thousands of names may have been given since, and all deallocated as often.
    if (this.#names.size <= FEW_NAMES) this.#dropForgotten();
  }

  #dropForgotten(): void {
    const place = this.#forgottenAt;
    if (place === undefined) return;
    this.#forgottenAt = undefined;
    for (const one of this.#names.values()) if (!this.#isLater(one, place)) this.#drop(one);
  }

  #letGoOfDisplaced(): void {
    for (const one of this.#displaced) this.release(one);
    this.#displaced = [];
  }

  /** Whether a name was given in this link, and behind a place in it. */
  #isLater(
    { index: at, link, segment: made }: Registration,
    { index, segment }: { readonly segment: number; readonly index: number },
  ): boolean {
    return link === this.link && (made > segment || made === segment && at > index);
  }

  /** The link is over: only names and the text of the unnamed statement outlive it. */
  leaveServer(): void {
    this.#dropForgotten();
    this.link += 1;
    this.#letGoOfDisplaced();
    this.unnamedSegment = -1;
    this.#ownSegment = -1;
    this.deallocatingPortal = undefined;
    this.parseInParts = undefined;
    if (this.isUnnamedInParts) this.forgetUnnamed();
    this.#addedSegment = -1;
  }

  /** The client is gone. */
  end(): void {
    this.forgetAll({ segment: Infinity, index: 0 });
    this.#dropForgotten();
  }

  /** Its Parse goes to the server at a place; `isRepeated` if it is not the client that sends it. */
  noteUnnamed(
    place: { readonly segment: number; readonly index: number },
    isRepeated: boolean,
  ): void {
    this.unnamedSegment = place.segment;
    this.unnamedIndex = place.index;
    if (isRepeated) return;
    this.#ownSegment = place.segment;
    this.#ownIndex = place.index;
  }

  /** The unnamed statement is too long to be kept: it stays where it is. */
  forgetUnnamed(): void {
    this.#unnamedCount = 0;
    this.#unnamedRest = 0;
  }

  /**
   * Keeps the Parse of the unnamed statement, the bytes from `start` to `end`; `restBytes` are still
   * to come. HOT.
   */
  keepUnnamed(
    buffer: Uint8Array,
    { end, restBytes, start }: { start: number; end: number; restBytes: number },
  ): void {
    this.forgetUnnamed();
    const total = end - start + restBytes;
    if (total > MAX_UNNAMED_BYTES) return;
    const isTooLong = this.#unnamed.length > KEPT_UNNAMED_BYTES && total <= KEPT_UNNAMED_BYTES;
    if (total > this.#unnamed.length || isTooLong) this.#unnamed = new Uint8Array(total);
    this.#unnamedRest = total;
    this.keepMoreOfUnnamed(buffer, start, end);
  }

  /** Whether the unnamed statement to be kept comes in parts, of which some are to come. */
  get isUnnamedInParts(): boolean {
    return this.#unnamedRest > 0;
  }

  /** Keeps a part of it. */
  keepMoreOfUnnamed(buffer: Uint8Array, start: number, end: number): void {
    copyBytes(buffer, start, end, this.#unnamed, this.#unnamedCount);
    this.#unnamedCount += end - start;
    this.#unnamedRest -= end - start;
  }

  /** The client takes its unnamed statement away. */
  dropUnnamed(): void {
    this.forgetUnnamed();
    this.unnamedSegment = -1;
  }

  /** Whether its Parse is among what stands from a place on to the end of a segment. HOT. */
  isUnnamedFrom(segment: number, index: number): boolean {
    return this.unnamedSegment === segment && this.unnamedIndex >= index ||
      this.#isOwnFrom(segment, index);
  }

  /**
   * All from a place on to the end of a segment failed or was skipped. If the client's own Parse was
   * among that, one from before may still be there: not to have it is safer than to take the one for
   * the other, which may be under way once more.
   */
  loseUnnamedFrom(segment: number, index: number): void {
    if (!this.isUnnamedFrom(segment, index)) return;
    if (this.#isOwnFrom(segment, index)) this.forgetUnnamed();
    this.unnamedSegment = -1;
  }

  #isOwnFrom(segment: number, index: number): boolean {
    return this.#ownSegment === segment && this.#ownIndex >= index;
  }

  /** The Parse of the unnamed statement; empty if there is none. */
  get unnamedParse(): Uint8Array {
    return this.#unnamed.subarray(0, this.#unnamedCount);
  }

  /** Messages of ours among those of a segment. */
  addedIn(segment: number): number {
    return this.#addedSegment === segment ? this.#addedCount : 0;
  }

  /** Notes a message of ours. */
  noteAdded(segment: number): void {
    this.#addedCount = this.addedIn(segment) + 1;
    this.#addedSegment = segment;
  }
}
