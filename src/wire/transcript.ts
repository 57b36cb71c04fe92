/**
 * Traffic as text, one line a message, in the trace format of libpq (`PQtrace`): direction (F or B),
 * length, message name, fields, with a tab between. For golden tests and for looking at a fault;
 * not for the hot path. Pure.
 *
 * Differences from libpq 18: texts are written so that they can be read back (`\"`, `\\`, and
 * `\xNN` for bytes outside ASCII), and secrets are not shown unless asked for.
 * Source: PostgreSQL, "Message Formats"; the format as libpq 18 prints it.
 */

import { Backend, Frontend } from "./message_type.ts";
import { ProtocolError } from "./pg_error.ts";
import { readStartupPacket, startupPacketBytes } from "./startup_packet.ts";
import {
  ANSWERS,
  AUTHENTICATION,
  BACKEND,
  type Field,
  FRONTEND,
  type Layout,
  UNKNOWN_ANSWER,
} from "./transcript_layout.ts";

/** Who sent it: frontend or backend. */
export type Direction = "F" | "B";

/** What a transcript shows. */
export interface TranscriptOptions {
  /** Passwords, SASL answers and cancel keys too; else `***` stands in their place. */
  readonly showsSecrets?: boolean;
}

/** Type byte and length word. */
const HEADER_BYTES = 5;

/** Prints the messages of one connection, which must be given in order. */
export class Transcript {
  readonly #showsSecrets: boolean;
  #lastAuthentication = -1;

  /** Begins with a connection of which nothing has been seen. */
  constructor(options: TranscriptOptions = {}) {
    this.#showsSecrets = options.showsSecrets ?? false;
  }

  /**
   * The line of one whole message, without a line break.
   * @throws {ProtocolError} If the message is of no known type or its body does not fit the type.
   */
  line(direction: Direction, message: Uint8Array): string {
    const type = message[0] ?? 0;
    const printer = new FieldPrinter(message, HEADER_BYTES);
    const layout = this.#layoutOf(direction, type, printer);
    const isSecret = !this.#showsSecrets &&
      (layout === BACKEND[Backend.BackendKeyData] ||
        direction === "F" && type === Frontend.Password);
    const fields = isSecret ? " ***" : printer.printAll(layout.fields);
    return lineOf(direction, message.length - 1, { name: layout.name, fields });
  }

  /**
   * The line of a packet without a type byte, as a frontend sends it first.
   * @throws {ProtocolError} If it is not such a packet.
   */
  startupLine(packet: Uint8Array): string {
    if (startupPacketBytes(packet) !== packet.length) {
      throw new ProtocolError("a startup packet is of another length than it says");
    }
    const { kind } = readStartupPacket(packet);
    const printer = new FieldPrinter(packet, 4);
    const fields = printer.print(["int16", "int16"]);
    switch (kind) {
      case "ssl_request":
        return lineOf("F", packet.length, { name: "SSLRequest", fields });
      case "gssenc_request":
        return lineOf("F", packet.length, { name: "GSSENCRequest", fields });
      case "cancel_request": {
        const key = this.#showsSecrets ? printer.printAll(["int32", "rest"]) : " ***";
        return lineOf("F", packet.length, { name: "CancelRequest", fields: fields + key });
      }
      case "startup_message":
        return lineOf("F", packet.length, {
          name: "StartupMessage",
          fields: fields + printer.printParameters(),
        });
      case "old_protocol":
        throw new ProtocolError("a startup packet is of an old protocol");
    }
  }

  /** The line of the one byte with which a backend answers SSLRequest or GSSENCRequest. */
  encryptionAnswerLine(request: "SSL" | "GSSENC", answer: number): string {
    const fields = ` ${String.fromCharCode(answer)}`;
    return lineOf("B", 1, { name: `${request}Response`, fields });
  }

  #layoutOf(direction: Direction, type: number, printer: FieldPrinter): Layout {
    if (direction === "F" && type === Frontend.Password) {
      return ANSWERS[this.#lastAuthentication] ?? UNKNOWN_ANSWER;
    }
    if (direction === "B" && type === Backend.Authentication) {
      this.#lastAuthentication = printer.int32();
      const known = AUTHENTICATION[this.#lastAuthentication];
      return known ?? { name: `Authentication ${this.#lastAuthentication}`, fields: ["rest"] };
    }
    const layout = (direction === "F" ? FRONTEND : BACKEND)[type];
    if (layout === undefined) throw new ProtocolError(`a message of unknown type ${type}`);
    return layout;
  }
}

function lineOf(
  direction: Direction,
  length: number,
  { name, fields }: { readonly name: string; readonly fields: string },
): string {
  return `${direction}\t${length}\t${name}${fields === "" ? "" : `\t${fields}`}`;
}

/** Prints the fields of one body, a blank before each. */
class FieldPrinter {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #position: number;

  constructor(bytes: Uint8Array, position: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#position = position;
  }

  /** Prints the next fields. */
  print(fields: readonly Field[]): string {
    return fields.map((field) => this.#field(field)).join("");
  }

  /** Prints all that is left, which must be just these fields. */
  printAll(fields: readonly Field[]): string {
    const printed = this.print(fields);
    if (this.#position !== this.#bytes.length) throw misfit();
    return printed;
  }

  /** Prints the pairs of a StartupMessage; the zero byte at its end is not shown. */
  printParameters(): string {
    let printed = "";
    while (this.#position < this.#bytes.length - 1) printed += this.#field("text");
    return printed;
  }

  int32(): number {
    const at = this.#advance(4);
    return this.#view.getInt32(at);
  }

  #field(field: Field): string {
    switch (field) {
      case "byte":
        return ` ${this.#byte()}`;
      case "int16":
        return ` ${this.#int16()}`;
      case "int32":
        return ` ${this.int32()}`;
      case "text":
        return ` "${escaped(this.#untilZero(), '"')}"`;
      case "value":
        return this.#value();
      case "rest":
        return ` '${escaped(this.#take(this.#bytes.length - this.#position), "'")}'`;
      case "texts":
        return this.#texts();
      case "report":
        return this.#report();
      default:
        return this.#list(field.items, field.count);
    }
  }

  #list(items: readonly Field[], count: "int16" | "int32"): string {
    const length = count === "int16" ? this.#int16() : this.int32();
    let printed = ` ${length}`;
    for (let i = 0; i < length; i++) {
      for (const item of items) printed += this.#field(item);
    }
    return printed;
  }

  #value(): string {
    const length = this.int32();
    return length === -1 ? " -1" : ` ${length} '${escaped(this.#take(length), "'")}'`;
  }

  #texts(): string {
    let printed = "";
    for (;;) {
      const text = this.#field("text");
      printed += text;
      if (text === ' ""') return printed;
    }
  }

  #report(): string {
    let printed = "";
    for (;;) {
      const code = this.#byte();
      printed += ` ${code}`;
      if (code === "\\x00") return printed;
      printed += this.#field("text");
    }
  }

  #byte(): string {
    const byte = this.#bytes[this.#advance(1)]!;
    return isPlain(byte) && byte !== 0x20 ? String.fromCharCode(byte) : hex(byte);
  }

  /** Unsigned, as libpq prints it: the size -1 of a type is 65535. */
  #int16(): number {
    return this.#view.getUint16(this.#advance(2));
  }

  #untilZero(): Uint8Array {
    const zero = this.#bytes.indexOf(0, this.#position);
    if (zero < 0) throw misfit();
    const text = this.#take(zero - this.#position);
    this.#position += 1;
    return text;
  }

  #take(count: number): Uint8Array {
    const at = this.#advance(count);
    return this.#bytes.subarray(at, at + count);
  }

  #advance(count: number): number {
    const at = this.#position;
    if (count < 0 || at + count > this.#bytes.length) throw misfit();
    this.#position += count;
    return at;
  }
}

function misfit(): ProtocolError {
  return new ProtocolError("a message's body does not fit its type");
}

function escaped(bytes: Uint8Array, quote: string): string {
  let text = "";
  for (const byte of bytes) {
    const character = String.fromCharCode(byte);
    if (character === quote || character === "\\") text += `\\${character}`;
    else text += isPlain(byte) ? character : hex(byte);
  }
  return text;
}

function isPlain(byte: number): boolean {
  return byte >= 0x20 && byte < 0x7f;
}

function hex(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, "0")}`;
}
