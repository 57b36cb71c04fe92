/**
 * Conversations recorded from PostgreSQL, replayed whole, byte by byte and cut at every offset: the
 * cursor must give the messages that the file tells, and the link rules must say when a server is
 * free again. `record.ts` writes the files.
 */

import assert from "node:assert/strict";
import { Parser } from "pg-protocol/dist/parser.js";
import { RequestQueue } from "../../src/link/request_queue.ts";
import { type CursorLimits, MessageCursor } from "../../src/wire/message_cursor.ts";
import { startupPacketBytes } from "../../src/wire/startup_packet.ts";
import { Transcript } from "../../src/wire/transcript.ts";
import { parseTranscript, type TranscriptLine } from "../support/transcript_parser.ts";
import { ALL_INSPECTED, cutAt, cutEvery, joined, NOTHING_INSPECTED } from "../support/walk.ts";

const FOLDER = new URL(".", import.meta.url);

interface Golden {
  readonly name: string;
  readonly lines: readonly TranscriptLine[];
}

/** Successive lines of one direction and kind: what may arrive in one chunk. */
type Turn = readonly [TranscriptLine, ...TranscriptLine[]];

/** How one turn's bytes are cut into chunks. */
type Cut = (bytes: Uint8Array) => readonly Uint8Array[];

const EVERY_BYTE: Cut = (bytes) => cutEvery(bytes, 1);

async function readAll(): Promise<Golden[]> {
  const all: Golden[] = [];
  for await (const { name } of Deno.readDir(FOLDER)) {
    if (!name.endsWith(".transcript")) continue;
    const text = await Deno.readTextFile(new URL(name, FOLDER));
    all.push({ name, lines: parseTranscript(text) });
  }
  return all.sort((a, b) => a.name < b.name ? -1 : 1);
}

function turnsOf(lines: readonly TranscriptLine[]): Turn[] {
  const turns: [TranscriptLine, ...TranscriptLine[]][] = [];
  for (const line of lines) {
    const last = turns.at(-1);
    const [before] = last ?? [];
    const isSame = before?.direction === line.direction && before.kind === line.kind;
    // Behind a startup packet nothing may follow unasked.
    if (isSame && line.kind === "message") last!.push(line);
    else turns.push([line]);
  }
  return turns;
}

/** One connection as the reader of both directions sees it. */
class Replay {
  readonly #transcript = new Transcript({ showsSecrets: true });
  readonly #cursors: Readonly<Record<"F" | "B", MessageCursor>>;

  constructor(limits: CursorLimits) {
    this.#cursors = { F: new MessageCursor(limits), B: new MessageCursor(limits) };
  }

  /** Receives a turn in chunks and answers the lines it makes. */
  receive([first, ...others]: Turn, cut: Cut): string[] {
    const chunks = cut(joined(first.bytes, ...others.map(({ bytes }) => bytes)));
    switch (first.kind) {
      case "startup packet":
        return [this.#transcript.startupLine(wholePacket(chunks))];
      case "encryption answer": {
        const request = first.name === "SSLResponse" ? "SSL" : "GSSENC";
        return [this.#transcript.encryptionAnswerLine(request, joined(...chunks)[0]!)];
      }
      case "message":
        return this.#messages(first.direction, chunks);
    }
  }

  /** Whether both directions stand between two messages. */
  get isAtBoundary(): boolean {
    return this.#cursors.F.isAtBoundary && this.#cursors.B.isAtBoundary;
  }

  #messages(direction: "F" | "B", chunks: readonly Uint8Array[]): string[] {
    const cursor = this.#cursors[direction];
    const messages: Uint8Array[] = [];
    for (const chunk of chunks) {
      cursor.feed(chunk, chunk.length);
      while (cursor.next()) {
        const piece = cursor.buffer.slice(cursor.start, cursor.end);
        if (cursor.isContinuation) messages.push(joined(messages.pop()!, piece));
        else messages.push(piece);
      }
    }
    return messages.map((one) => this.#transcript.line(direction, one));
  }
}

/** Gathers a startup packet from chunks, as whoever reads it has to. */
function wholePacket(chunks: readonly Uint8Array[]): Uint8Array {
  let bytes = new Uint8Array(0);
  for (const chunk of chunks) {
    bytes = joined(bytes, chunk);
    const length = startupPacketBytes(bytes);
    if (length !== undefined && bytes.length >= length) return bytes.subarray(0, length);
  }
  throw new Error("The startup packet is not whole");
}

function replay(lines: readonly TranscriptLine[], limits: CursorLimits, cut: Cut): string[] {
  const replay = new Replay(limits);
  const printed = turnsOf(lines).flatMap((turn) => replay.receive(turn, cut));
  assert.equal(replay.isAtBoundary, true);
  return printed;
}

/** What a server session looks into, roughly: reports and the ends of answers. */
function someInspected(): CursorLimits {
  const inspected = new Uint8Array(256);
  for (const letter of "ZESRKNCG") inspected[letter.charCodeAt(0)] = 1;
  return { inspected, maxInspectedBytes: 4_096, maxMessageBytes: 0x7fffffff };
}

const goldens = await readAll();

Deno.test("there are transcripts of every kind of conversation", () => {
  const names = new Set(goldens.flatMap(({ lines }) => lines.map(({ name }) => name)));
  for (const name of ["StartupMessage", "CancelRequest", "FunctionCall", "CopyInResponse"]) {
    assert.ok(names.has(name), name);
  }
  assert.ok(goldens.length >= 25);
});

for (const { name, lines } of goldens) {
  const expected = lines.map(({ text }) => text);

  Deno.test(`${name} is the same whole and byte by byte`, () => {
    for (const limits of [ALL_INSPECTED, NOTHING_INSPECTED, someInspected()]) {
      assert.deepEqual(replay(lines, limits, (bytes) => [bytes]), expected);
      assert.deepEqual(replay(lines, limits, EVERY_BYTE), expected);
    }
  });

  Deno.test(`${name} is the same cut at every offset`, () => {
    const limits = someInspected();
    const length = lines.reduce((sum, { bytes }) => sum + bytes.length, 0);
    for (let offset = 0; offset <= length; offset++) {
      let at = 0;
      const cut: Cut = (bytes) => {
        const chunks = cutAt(bytes, Math.min(bytes.length, Math.max(0, offset - at)));
        at += bytes.length;
        return chunks;
      };
      assert.deepEqual(replay(lines, limits, cut), expected, `cut at ${offset}`);
    }
  });

  Deno.test(`${name} is read alike by pg-protocol`, () => {
    const messages = lines.filter(({ direction, kind }) => direction === "B" && kind === "message");
    const known = messages.filter(({ name }) => !UNKNOWN_TO_PG_PROTOCOL.includes(name));
    const names: string[] = [];
    const parser = new Parser();
    for (const chunk of cutEvery(joined(...known.map(({ bytes }) => bytes)), 11)) {
      parser.parse(Buffer.from(chunk), (one) => names.push(one.name));
    }
    assert.deepEqual(names, known.map(({ name }) => nameInPgProtocol(name)));
  });

  Deno.test(`${name} leaves its server as the link rules say`, () => {
    const { queue, unaskedCount } = follow(lines);
    if (UNCERTAIN.includes(name)) {
      assert.ok(queue.isDoubtful || unaskedCount > 0, "nobody else may have such a server");
    } else {
      assert.equal(unaskedCount, 0);
      assert.equal(queue.isEmpty, true);
      assert.equal(queue.isDoubtful, false);
    }
  });
}

const UNKNOWN_TO_PG_PROTOCOL: readonly string[] = [
  "NegotiateProtocolVersion",
  "FunctionCallResponse",
];

function nameInPgProtocol(name: string): string {
  const odd: Readonly<Record<string, string>> = {
    CopyBothResponse: "replicationStart",
    EmptyQueryResponse: "emptyQuery",
    ErrorResponse: "error",
    NoticeResponse: "notice",
    NotificationResponse: "notification",
  };
  return odd[name] ?? name[0]!.toLowerCase() + name.slice(1);
}

/** Whose count of answers cannot be known. */
const UNCERTAIN: readonly string[] = ["copy_in_extended_refused.transcript"];

/** Tells a request queue of a session's messages, in the order recorded. */
function follow(lines: readonly TranscriptLine[]): { queue: RequestQueue; unaskedCount: number } {
  const queue = new RequestQueue();
  let unaskedCount = 0;
  let isLoggedIn = !lines.some(({ kind }) => kind === "startup packet");
  for (const [i, { direction, name }] of lines.entries()) {
    const isFree = isLoggedIn && queue.isEmpty && !queue.isDoubtful && unaskedCount === 0;
    assert.ok(!isFree || direction === "F", `line ${i + 1} comes from a server taken for free`);
    if (!isLoggedIn) isLoggedIn = name === "ReadyForQuery";
    else if (direction === "F") noteRequest(queue, name);
    else if (name === "CopyInResponse") queue.onCopyIn();
    else if (name === "ErrorResponse") queue.onError();
    else if (name === "ReadyForQuery" && !queue.onReadyForQuery()) unaskedCount += 1;
  }
  return { queue, unaskedCount };
}

function noteRequest(queue: RequestQueue, name: string): void {
  switch (name) {
    case "Query":
      return queue.noteQuery();
    case "FunctionCall":
      return queue.noteFunctionCall();
    case "Sync":
      return queue.noteSync();
    case "CopyDone":
    case "CopyFail":
      return queue.noteCopyEnd();
    case "Parse":
    case "Bind":
    case "Describe":
    case "Execute":
    case "Close":
      return queue.noteExtended();
  }
}
