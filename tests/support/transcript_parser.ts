/**
 * Reads a transcript back to bytes. It has a table of messages of its own, so that printer and
 * parser can be held against each other; the length in each line is checked against the bytes.
 */

import { joined } from "./walk.ts";

/** What a line stands for. */
export type LineKind = "message" | "startup packet" | "encryption answer";

/** One line of a transcript. */
export interface TranscriptLine {
  readonly direction: "F" | "B";
  readonly kind: LineKind;
  readonly name: string;
  /** Type byte and length word included, where there are any. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** As it stands in the file. */
  readonly text: string;
}

/**
 * Type letter and fields. c: one byte; h, i: 16 and 32 bits; s: text with a zero byte; v: value
 * with its length; r: the rest as bytes; t: texts up to an empty one; e: fields of an error; in
 * round or square brackets a list with a 16 or 32 bit count before it.
 */
const MESSAGES: Readonly<Record<string, string>> = {
  "F Bind": "B ss(h)(v)(h)",
  "F Close": "C cs",
  "F CopyData": "d r",
  "F CopyDone": "c",
  "F CopyFail": "f s",
  "F Describe": "D cs",
  "F Execute": "E si",
  "F Flush": "H",
  "F FunctionCall": "F i(h)(v)h",
  "F Parse": "P ss(i)",
  "F PasswordMessage": "p s",
  "F Query": "Q s",
  "F SASLInitialResponse": "p sv",
  "F SASLResponse": "p r",
  "F Sync": "S",
  "F Terminate": "X",
  "B BackendKeyData": "K ir",
  "B BindComplete": "2",
  "B CloseComplete": "3",
  "B CommandComplete": "C s",
  "B CopyBothResponse": "W c(h)",
  "B CopyData": "d r",
  "B CopyDone": "c",
  "B CopyInResponse": "G c(h)",
  "B CopyOutResponse": "H c(h)",
  "B DataRow": "D (v)",
  "B EmptyQueryResponse": "I",
  "B ErrorResponse": "E e",
  "B FunctionCallResponse": "V v",
  "B NegotiateProtocolVersion": "v i[s]",
  "B NoData": "n",
  "B NoticeResponse": "N e",
  "B NotificationResponse": "A iss",
  "B ParameterDescription": "t (i)",
  "B ParameterStatus": "S ss",
  "B ParseComplete": "1",
  "B PortalSuspended": "s",
  "B ReadyForQuery": "Z c",
  "B RowDescription": "T (sihihih)",
};

/** Codes of the 'R' messages, which their names stand for. */
const AUTHENTICATION: Readonly<Record<string, readonly [code: number, fields: string]>> = {
  AuthenticationOk: [0, ""],
  AuthenticationCleartextPassword: [3, ""],
  AuthenticationMD5Password: [5, "r"],
  AuthenticationSASL: [10, "t"],
  AuthenticationSASLContinue: [11, "r"],
  AuthenticationSASLFinal: [12, "r"],
};

const STARTUP_PACKETS: Readonly<Record<string, string>> = {
  StartupMessage: "hh",
  SSLRequest: "hh",
  GSSENCRequest: "hh",
  CancelRequest: "hhir",
};

/** Reads a file; lines that begin with # are comments. */
export function parseTranscript(text: string): TranscriptLine[] {
  return text.split("\n").filter((line) => line !== "" && !line.startsWith("#")).map(parseLine);
}

function parseLine(text: string): TranscriptLine {
  const match = /^([FB])\t(\d+)\t(\w+)(?:\t(.*))?$/.exec(text);
  if (match === null) throw new Error(`Cannot read the line ${JSON.stringify(text)}`);
  const [, direction, length, name, fields = ""] = match as unknown as [
    string,
    "F" | "B",
    string,
    string,
    string?,
  ];
  const kind = kindOf(name);
  const bytes = bytesOf(kind, { direction, name, tokens: new Tokens(fields) });
  const counted = kind === "message" ? bytes.length - 1 : bytes.length;
  if (counted !== Number(length)) throw new Error(`The length is ${counted}: ${text}`);
  return { direction, kind, name, bytes, text };
}

function kindOf(name: string): LineKind {
  if (name in STARTUP_PACKETS) return "startup packet";
  return name === "SSLResponse" || name === "GSSENCResponse" ? "encryption answer" : "message";
}

function bytesOf(
  kind: LineKind,
  { direction, name, tokens }: { direction: string; name: string; tokens: Tokens },
): Uint8Array<ArrayBuffer> {
  switch (kind) {
    case "encryption answer":
      return Uint8Array.of(tokens.byte());
    case "startup packet": {
      const version = tokens.fields(STARTUP_PACKETS[name]!);
      return withLength(joined(version, name === "StartupMessage" ? tokens.parameters() : EMPTY));
    }
    case "message": {
      const authentication = AUTHENTICATION[name];
      if (authentication !== undefined) {
        const [code, fields] = authentication;
        return joined(bytesOfText("R"), withLength(joined(int32(code), tokens.fields(fields))));
      }
      const layout = MESSAGES[`${direction} ${name}`];
      if (layout === undefined) throw new Error(`No message ${direction} ${name} is known`);
      const [letter, fields = ""] = layout.split(" ");
      return joined(bytesOfText(letter!), withLength(tokens.fields(fields)));
    }
  }
}

const EMPTY = new Uint8Array(0);

/** The fields of one line, read one by one. */
class Tokens {
  #rest: string;

  constructor(fields: string) {
    this.#rest = fields;
  }

  /** The bytes of all fields of a layout. */
  fields(layout: string): Uint8Array {
    const parts: Uint8Array[] = [];
    for (let i = 0; i < layout.length; i++) {
      const open = layout[i]!;
      if (open !== "(" && open !== "[") {
        parts.push(this.#field(open));
        continue;
      }
      const end = layout.indexOf(open === "(" ? ")" : "]", i);
      const count = this.#number();
      parts.push(open === "(" ? int16(count) : int32(count));
      for (let n = 0; n < count; n++) parts.push(this.fields(layout.slice(i + 1, end)));
      i = end;
    }
    return joined(...parts);
  }

  /** The pairs of a StartupMessage and the zero byte at its end. */
  parameters(): Uint8Array {
    const parts: Uint8Array[] = [];
    while (this.#rest !== "") parts.push(this.#field("s"));
    return joined(...parts, Uint8Array.of(0));
  }

  /** A letter, or `\xNN`. */
  byte(): number {
    return unescaped(this.#match(/^ (\\x[0-9a-f]{2}|\S)/))[0]!;
  }

  #field(kind: string): Uint8Array {
    switch (kind) {
      case "c":
        return Uint8Array.of(this.byte());
      case "h":
        return int16(this.#number());
      case "i":
        return int32(this.#number());
      case "s":
        return joined(this.#quoted('"'), Uint8Array.of(0));
      case "r":
        return this.#quoted("'");
      case "v": {
        const length = this.#number();
        return joined(int32(length), length === -1 ? EMPTY : this.#quoted("'"));
      }
      case "t":
        return this.#until(() => this.#field("s"), (part) => part.length === 1);
      case "e":
        return this.#until(
          () => {
            const code = this.byte();
            return joined(Uint8Array.of(code), code === 0 ? EMPTY : this.#field("s"));
          },
          (part) => part[0] === 0,
        );
      default:
        throw new Error(`No field of kind ${kind} is known`);
    }
  }

  #until(next: () => Uint8Array, isLast: (part: Uint8Array) => boolean): Uint8Array {
    const parts: Uint8Array[] = [];
    do parts.push(next()); while (!isLast(parts.at(-1)!));
    return joined(...parts);
  }

  #number(): number {
    return Number(this.#match(/^ (-?\d+)/));
  }

  #quoted(quote: "'" | '"'): Uint8Array {
    return unescaped(
      this.#match(quote === "'" ? /^ '((?:[^'\\]|\\.)*)'/ : /^ "((?:[^"\\]|\\.)*)"/),
    );
  }

  #match(pattern: RegExp): string {
    const match = pattern.exec(this.#rest);
    if (match === null) throw new Error(`Expected ${pattern} in ${JSON.stringify(this.#rest)}`);
    this.#rest = this.#rest.slice(match[0].length);
    return match[1]!;
  }
}

function unescaped(text: string): Uint8Array {
  const plain = text.replaceAll(
    /\\x([0-9a-f]{2})|\\(.)/g,
    (_, hex?: string, character?: string) =>
      hex === undefined ? character! : String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return bytesOfText(plain);
}

/** One byte a character. */
function bytesOfText(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

function withLength(body: Uint8Array): Uint8Array<ArrayBuffer> {
  return joined(int32(body.length + 4), body);
}

function int16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8 & 0xff, value & 0xff);
}

function int32(value: number): Uint8Array {
  return joined(int16(value >> 16), int16(value));
}
