/**
 * What goes to a server in the place of what a client sent: each message with its place in the
 * conversation, and with what becomes of its answer where that is not simply the client's. Pure.
 *
 * HOT PATH: `pass()`, `passExtended()` and `rename()`. Budget: no allocation.
 */

import { HEADER_BYTES, type MessageCursor } from "../wire/message_cursor.ts";
import type { RangeTarget, RangeWriter } from "../wire/range_writer.ts";
import type { AnswerFate } from "./answer_plan.ts";
import type { ClientStatements } from "./client_statements.ts";

/** One for all clients of a pooler: between two chunks it holds nothing. */
export class PlannedOutput {
  readonly #header = new Uint8Array(HEADER_BYTES);
  #client!: ClientStatements;
  #out!: RangeWriter;
  #segment = 0;
  #index = 0;

  /** The segment in which the next message will stand. */
  get segment(): number {
    return this.#segment;
  }

  /** Its place among the messages there that are answered. */
  get index(): number {
    return this.#index;
  }

  /** Whose plan it is, and what gathers what is to be sent. */
  between(client: ClientStatements, out: RangeWriter): void {
    this.#client = client;
    this.#out = out;
  }

  /** Where the next message will stand. */
  beginAt(segment: number, index: number): void {
    this.#segment = segment;
    this.#index = index;
  }

  /** The next message is of another segment. */
  nextSegment(): void {
    this.beginAt(this.#segment + 1, 0);
  }

  /** Says what becomes of the answer to the next message. */
  plan(fate: AnswerFate): void {
    this.#client.plan.add({ ...fate, segment: this.#segment, index: this.#index });
  }

  /** Passes on a message, or a piece of one, that has no answer at a place of its own. */
  pass({ buffer, end, start }: MessageCursor): void {
    this.#out.add(buffer, start, end);
  }

  /** Passes on a message of the extended protocol: it has one answer. */
  passExtended(cursor: MessageCursor): void {
    this.pass(cursor);
    this.#index += 1;
  }

  /** Sends a message with one answer in the place of the client's. */
  sendInstead(message: Uint8Array): void {
    this.#out.append(message, 0, message.length);
    this.#index += 1;
  }

  /** Sends a Query in the place of the client's: it ends the segment. */
  sendQueryInstead(message: Uint8Array): void {
    this.#out.append(message, 0, message.length);
    this.nextSegment();
  }

  /** Sends a message of ours, whose answer the client is not to see. */
  sendOurs(fate: AnswerFate, message: Uint8Array): void {
    this.plan(fate);
    this.sendInstead(message);
    this.#client.noteAdded(this.#segment);
  }

  /** Passes on a message with the name from `start` to `end`, zero byte included, replaced. */
  rename(cursor: MessageCursor, start: number, end: number, name: Uint8Array): void {
    const out = this.#out;
    const { buffer } = cursor;
    const bytes = cursor.end - cursor.start + cursor.restBytes + name.length - (end - start);
    out.append(this.#headerOf(cursor.type, bytes), 0, HEADER_BYTES);
    out.append(buffer, cursor.start + HEADER_BYTES, start);
    out.append(name, 0, name.length);
    out.add(buffer, end, cursor.end);
    this.#index += 1;
  }

  /** Drops what was gathered. */
  clear(): void {
    this.#out.clear();
  }

  /** Sends what was gathered, if there is anything. Answers as `write()` does. */
  flushTo(server: RangeTarget): void | Promise<void> {
    return this.#out.length === 0 ? undefined : this.#out.flushTo(server);
  }

  /** The header of a message of so many bytes, valid until the next one is asked for. */
  #headerOf(type: number, messageBytes: number): Uint8Array {
    const header = this.#header;
    const length = messageBytes - 1;
    header[0] = type;
    header[1] = length >>> 24;
    header[2] = length >>> 16;
    header[3] = length >>> 8;
    header[4] = length;
    return header;
  }
}
