/** What connections of a run carried, as text: the last messages of each that a fault is about. */

import { Transcript } from "../../src/wire/transcript.ts";
import { join, readInt32, textOf } from "../support/messages.ts";
import type { Recording } from "../support/sim_net.ts";

/** Lines that are shown of one connection. */
const SHOWN_LINES = 40;

/** Connections that are shown. */
const MAX_SHOWN = 6;

/** Bytes that are shown of what is no message. */
const SHOWN_BYTES = 60;

/**
 * The connections that `text`, of what failed, is about: those that carried what a client named in
 * it sent or was sent, the last ones of each; if it names nobody, the last ones there were.
 */
export function concernedTranscripts(text: string, recordings: readonly Recording[]): string {
  const names = new Set(Array.from(text.matchAll(/\bc\d+\b/g), ([name]) => name));
  const isConcerned = ({ pieces }: Recording) => {
    if (names.size === 0) return true;
    const carried = textOf(join(...pieces.map(({ bytes }) => bytes)));
    return [...names].some((name) => new RegExp(`\\b${name}\\b`).test(carried));
  };
  return recordings.map((recording, at) => ({ recording, at }))
    .filter(({ recording }) => isConcerned(recording)).slice(-MAX_SHOWN)
    .map(({ at, recording }) => `connection ${at} to ${recording.address}\n${linesOf(recording)}`)
    .join("\n\n");
}

function linesOf({ pieces }: Recording): string {
  const transcript = new Transcript({ showsSecrets: true });
  const sides = { dialer: new SideReader("F"), acceptor: new SideReader("B") };
  const lines: string[] = [];
  for (const { bytes, from } of pieces) lines.push(...sides[from].read(bytes, transcript));
  lines.push(...sides.dialer.rest(), ...sides.acceptor.rest());
  const left = lines.length - SHOWN_LINES;
  return [...left > 0 ? [`(${left} lines before)`] : [], ...lines.slice(-SHOWN_LINES)].join("\n");
}

/** Reads one direction. */
class SideReader {
  readonly #direction: "F" | "B";
  #held: Uint8Array = new Uint8Array(0);
  /** Bytes before the length: until its StartupMessage, a client's packets have no type. */
  #typeBytes: 0 | 1;

  constructor(direction: "F" | "B") {
    this.#direction = direction;
    this.#typeBytes = direction === "F" ? 0 : 1;
  }

  *read(bytes: Uint8Array, transcript: Transcript): Generator<string, void, void> {
    // What is answered to SSLRequest.
    if (this.#direction === "B" && bytes.length === 1 && this.#held.length === 0) {
      return yield `B\t${textOf(bytes)}`;
    }
    this.#held = join(this.#held, bytes);
    while (this.#held.length >= this.#typeBytes + 4) {
      const length = readInt32(this.#held, this.#typeBytes);
      if (length < 4 || this.#held.length < this.#typeBytes + length) return;
      const message = this.#held.subarray(0, this.#typeBytes + length);
      this.#held = this.#held.subarray(message.length);
      yield this.#typeBytes === 0 ? this.#packet(message) : this.#message(message, transcript);
    }
  }

  #packet(packet: Uint8Array): string {
    if (packet.length >= 8 && readInt32(packet, 4) >> 16 === 3) this.#typeBytes = 1;
    return `F\t${packet.length}\tpacket ${textOf(packet).replaceAll(/[^ -~]+/g, " ")}`;
  }

  #message(message: Uint8Array, transcript: Transcript): string {
    try {
      return transcript.line(this.#direction, message);
    } catch (error) {
      return `${this.#direction}\t${message.subarray(0, SHOWN_BYTES).toHex()} (${error})`;
    }
  }

  /** What has come of a message that has no end, or is none. */
  *rest(): Generator<string, void, void> {
    const { length } = this.#held;
    if (length === 0) return;
    yield `${this.#direction}\t${length} bytes: ${this.#held.subarray(0, SHOWN_BYTES).toHex()}`;
  }
}
