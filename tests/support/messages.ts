/**
 * Protocol messages for tests: built and read here without help from `src/wire`, so that a mistake
 * there does not cancel out. It trusts what it reads; only tests and what they test talk to it.
 * Source: PostgreSQL, "Message Formats".
 */

/** A message as it came: its type as a letter, and its body. */
export interface RawMessage {
  readonly type: string;
  readonly body: Uint8Array;
}

const CANCEL_REQUEST = 80_877_102;
const SSL_REQUEST = 80_877_103;
const GSSENC_REQUEST = 80_877_104;

/** Joins pieces into one. */
export function join(...pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.length;
  }
  return joined;
}

/** The bytes of a text in UTF-8. */
export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** The text of bytes in UTF-8. */
export function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** A message of any type. */
export function message(type: string, ...body: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = join(...body);
  return join(utf8(type), int32(whole.length + 4), whole);
}

/** A text with its zero byte. */
export function cstring(text: string): Uint8Array<ArrayBuffer> {
  return utf8(`${text}\0`);
}

/** 16 bits in network order. */
export function int16(value: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array([value >> 8 & 0xff, value & 0xff]);
}

/** 32 bits in network order. */
export function int32(value: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array([value >>> 24, value >> 16 & 0xff, value >> 8 & 0xff, value & 0xff]);
}

/** A value with its length before it; null is SQL's NULL. */
function sized(value: string | null): Uint8Array<ArrayBuffer> {
  if (value === null) return int32(-1);
  const bytes = utf8(value);
  return join(int32(bytes.length), bytes);
}

function untyped(code: number, ...body: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = join(int32(code), ...body);
  return join(int32(whole.length + 4), whole);
}

/** What a frontend says. */
export const frontend = {
  startup(parameters: Readonly<Record<string, string>>, minor = 0): Uint8Array<ArrayBuffer> {
    const pairs = Object.entries(parameters).flatMap(([name, value]) => [
      cstring(name),
      cstring(value),
    ]);
    return untyped(3 << 16 | minor, ...pairs, new Uint8Array(1));
  },
  sslRequest: (): Uint8Array<ArrayBuffer> => untyped(SSL_REQUEST),
  gssencRequest: (): Uint8Array<ArrayBuffer> => untyped(GSSENC_REQUEST),
  cancelRequest: (key: Uint8Array): Uint8Array<ArrayBuffer> => untyped(CANCEL_REQUEST, key),
  password: (body: Uint8Array): Uint8Array<ArrayBuffer> => message("p", body),
  query: (sql: string): Uint8Array<ArrayBuffer> => message("Q", cstring(sql)),
  parse: (sql: string, name = ""): Uint8Array<ArrayBuffer> =>
    message("P", cstring(name), cstring(sql), int16(0)),
  bind(
    { statement = "", portal = "", values = [], valueFormats = [], resultFormats = [] }: {
      statement?: string;
      portal?: string;
      values?: readonly (string | null)[];
      valueFormats?: readonly number[];
      resultFormats?: readonly number[];
    } = {},
  ): Uint8Array<ArrayBuffer> {
    return message(
      "B",
      cstring(portal),
      cstring(statement),
      int16(valueFormats.length),
      ...valueFormats.map(int16),
      int16(values.length),
      ...values.map(sized),
      int16(resultFormats.length),
      ...resultFormats.map(int16),
    );
  },
  describe: (kind: "S" | "P", name = ""): Uint8Array<ArrayBuffer> =>
    message("D", utf8(kind), cstring(name)),
  execute: (portal = "", maxRows = 0): Uint8Array<ArrayBuffer> =>
    message("E", cstring(portal), int32(maxRows)),
  close: (kind: "S" | "P", name = ""): Uint8Array<ArrayBuffer> =>
    message("C", utf8(kind), cstring(name)),
  sync: (): Uint8Array<ArrayBuffer> => message("S"),
  flush: (): Uint8Array<ArrayBuffer> => message("H"),
  copyData: (data: string | Uint8Array): Uint8Array<ArrayBuffer> =>
    message("d", typeof data === "string" ? utf8(data) : data),
  copyDone: (): Uint8Array<ArrayBuffer> => message("c"),
  copyFail: (reason: string): Uint8Array<ArrayBuffer> => message("f", cstring(reason)),
  functionCall: (oid: number): Uint8Array<ArrayBuffer> =>
    message("F", int32(oid), int16(0), int16(0), int16(0)),
  terminate: (): Uint8Array<ArrayBuffer> => message("X"),
};

/** The fields of an error or a notice, as far as tests look at them. */
export interface ReportFields {
  readonly severity: string;
  readonly sqlstate: string;
  readonly message: string;
  readonly detail?: string;
  /** The function of the server's that reported it. */
  readonly routine?: string;
}

function report(type: "E" | "N", fields: ReportFields): Uint8Array<ArrayBuffer> {
  const { detail, message: text, routine, severity, sqlstate } = fields;
  const detailField = detail === undefined ? [] : [cstring(`D${detail}`)];
  return message(
    type,
    ...[cstring(`S${severity}`), cstring(`V${severity}`), cstring(`C${sqlstate}`)],
    cstring(`M${text}`),
    ...detailField,
    ...(routine === undefined ? [] : [cstring(`R${routine}`)]),
    new Uint8Array(1),
  );
}

function columns(names: readonly string[]): Uint8Array<ArrayBuffer> {
  const each = names.flatMap((name) => [
    ...[cstring(name), int32(0), int16(0)],
    ...[int32(25), int16(-1), int32(-1), int16(0)],
  ]);
  return join(int16(names.length), ...each);
}

/** What a backend says. */
export const backend = {
  authentication: (code: number, data: Uint8Array = new Uint8Array()): Uint8Array<ArrayBuffer> =>
    message("R", int32(code), data),
  parameterStatus: (name: string, value: string): Uint8Array<ArrayBuffer> =>
    message("S", cstring(name), cstring(value)),
  keyData: (processId: number, secret: number | Uint8Array): Uint8Array<ArrayBuffer> =>
    message("K", int32(processId), typeof secret === "number" ? int32(secret) : secret),
  /** `version` is the whole one, as PostgreSQL sends it. */
  negotiate: (version: number, options: readonly string[] = []): Uint8Array<ArrayBuffer> =>
    message("v", int32(version), int32(options.length), ...options.map(cstring)),
  ready: (status: "I" | "T" | "E" = "I"): Uint8Array<ArrayBuffer> => message("Z", utf8(status)),
  rowDescription: (names: readonly string[]): Uint8Array<ArrayBuffer> =>
    message("T", columns(names)),
  dataRow: (values: readonly (string | null)[]): Uint8Array<ArrayBuffer> =>
    message("D", int16(values.length), ...values.map(sized)),
  complete: (tag: string): Uint8Array<ArrayBuffer> => message("C", cstring(tag)),
  empty: (): Uint8Array<ArrayBuffer> => message("I"),
  error: (sqlstate: string, text: string, severity = "ERROR"): Uint8Array<ArrayBuffer> =>
    report("E", { severity, sqlstate, message: text }),
  outdated: (): Uint8Array<ArrayBuffer> =>
    report("E", {
      severity: "ERROR",
      sqlstate: "0A000",
      message: "cached plan must not change result type",
      routine: "RevalidateCachedQuery",
    }),
  notice: (text: string): Uint8Array<ArrayBuffer> =>
    report("N", { severity: "NOTICE", sqlstate: "00000", message: text }),
  notification: (channel: string, payload: string): Uint8Array<ArrayBuffer> =>
    message("A", int32(1), cstring(channel), cstring(payload)),
  parseComplete: (): Uint8Array<ArrayBuffer> => message("1"),
  bindComplete: (): Uint8Array<ArrayBuffer> => message("2"),
  closeComplete: (): Uint8Array<ArrayBuffer> => message("3"),
  noData: (): Uint8Array<ArrayBuffer> => message("n"),
  portalSuspended: (): Uint8Array<ArrayBuffer> => message("s"),
  parameterDescription: (): Uint8Array<ArrayBuffer> => message("t", int16(0)),
  copyIn: (): Uint8Array<ArrayBuffer> => message("G", new Uint8Array([0, 0, 0])),
  copyBoth: (): Uint8Array<ArrayBuffer> => message("W", new Uint8Array([0, 0, 0])),
  copyOut: (): Uint8Array<ArrayBuffer> => message("H", new Uint8Array([0, 0, 0])),
  copyData: (data: string): Uint8Array<ArrayBuffer> => message("d", utf8(data)),
  copyDone: (): Uint8Array<ArrayBuffer> => message("c"),
  functionCallResponse: (value: string): Uint8Array<ArrayBuffer> => message("V", sized(value)),
};

/** Cuts received bytes into messages. */
export class MessageSplitter {
  #held: Uint8Array = new Uint8Array(0);

  /** What there is of a message that is not complete. */
  get held(): Uint8Array {
    return this.#held;
  }

  /** How many bytes that is. */
  get heldCount(): number {
    return this.#held.length;
  }

  /** Takes a chunk, which is copied. */
  add(chunk: Uint8Array): void {
    this.#held = join(this.#held, chunk);
  }

  /** The next whole packet without a type byte, its length left out. */
  nextUntyped(): Uint8Array | undefined {
    const length = this.#lengthAt(0);
    if (length === undefined || this.#held.length < length) return undefined;
    return this.#take(length).subarray(4);
  }

  /** The next single byte, as SSLRequest is answered. */
  nextByte(): number | undefined {
    return this.#held.length === 0 ? undefined : this.#take(1)[0];
  }

  /** The next whole message. */
  next(): RawMessage | undefined {
    const length = this.#lengthAt(1);
    if (length === undefined || this.#held.length < length + 1) return undefined;
    const bytes = this.#take(length + 1);
    return { type: String.fromCharCode(bytes[0]!), body: bytes.subarray(5) };
  }

  #lengthAt(at: number): number | undefined {
    if (this.#held.length < at + 4) return undefined;
    return readInt32(this.#held, at);
  }

  #take(count: number): Uint8Array {
    const taken = this.#held.subarray(0, count);
    this.#held = this.#held.subarray(count);
    return taken;
  }
}

/** A signed 32-bit number in network order. */
export function readInt32(bytes: Uint8Array, at = 0): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getInt32(at);
}

/** The zero-terminated texts of a body, one after the other. */
export function readCstrings(body: Uint8Array): string[] {
  const texts = textOf(body).split("\0");
  texts.pop();
  return texts;
}

/** The values of a DataRow, or of a Bind's parameters from their count on. */
export function readValues(body: Uint8Array): (string | null)[] {
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const values: (string | null)[] = [];
  let at = 2;
  for (let count = view.getInt16(0); count > 0; count--) {
    const length = view.getInt32(at);
    at += 4;
    values.push(length < 0 ? null : textOf(body.subarray(at, at + length)));
    at += Math.max(0, length);
  }
  return values;
}

/** The fields of an ErrorResponse or NoticeResponse. */
export function readReport(body: Uint8Array): ReportFields {
  const fields = new Map(readCstrings(body).map((field) => [field[0], field.slice(1)]));
  const detail = fields.get("D");
  const routine = fields.get("R");
  return {
    severity: fields.get("V") ?? fields.get("S") ?? "",
    sqlstate: fields.get("C") ?? "",
    message: fields.get("M") ?? "",
    ...(detail === undefined ? {} : { detail }),
    ...(routine === undefined ? {} : { routine }),
  };
}

/** One line for a transcript: the type and what matters of the body. */
export function show({ type, body }: RawMessage): string {
  const printable = textOf(body).replaceAll(/[^\x20-\x7e]+/g, "·");
  return `${type} ${printable.length > 80 ? `${printable.slice(0, 77)}…` : printable}`;
}
