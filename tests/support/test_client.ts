/**
 * A client for tests that speaks messages: over a stream of any network, or over a connection of
 * Deno's own. It reads only when it is asked to, so a test decides whether it is a slow reader.
 */

import { type ChannelBindingMode, tlsServerEndPoint } from "../../src/auth/channel_binding.ts";
import { UserCredential } from "../../src/auth/credential.ts";
import { KeyDerivation } from "../../src/auth/key_derivation.ts";
import { ServerAuthentication } from "../../src/auth/server_authentication.ts";
import type { Random } from "../../src/base/random.ts";
import { Secret } from "../../src/base/secret.ts";
import type { ByteStream } from "../../src/net/byte_stream.ts";
import type { TlsContext, TlsHandshake } from "../../src/net/tls.ts";
import { saysItIsOver } from "./connection_end.ts";
import {
  frontend,
  join,
  MessageSplitter,
  type RawMessage,
  readCstrings,
  readInt32,
  readReport,
  readValues,
  type ReportFields,
  textOf,
} from "./messages.ts";
import { noHandshake } from "./no_handshake.ts";

/** What a client logs in with. */
export interface LoginOptions {
  readonly user: string;
  readonly database?: string;
  readonly password?: string;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly minor?: number;
  /** Whether the login is to be bound to TLS; as it can be, unless said. */
  readonly channelBinding?: ChannelBindingMode;
}

/** The answer to one request: everything up to ReadyForQuery or the end. */
export interface QueryResult {
  /** Types of all messages, in order. */
  readonly types: string;
  readonly rows: readonly (readonly (string | null)[])[];
  readonly copied: readonly string[];
  readonly tags: readonly string[];
  readonly errors: readonly ReportFields[];
  readonly notices: readonly ReportFields[];
  readonly parameters: ReadonlyMap<string, string>;
  /** Transaction status; undefined when the connection ended first. */
  readonly status: string | undefined;
}

/** An error that a login was answered with. */
export class LoginRefused extends Error {
  override readonly name = "LoginRefused";
  readonly report: ReportFields;

  constructor(report: ReportFields) {
    super(`${report.severity} ${report.sqlstate}: ${report.message}`);
    this.report = report;
  }
}

/** A connected client. */
export class TestClient {
  readonly stream: ByteStream;
  /** As last reported by the server. */
  readonly parameters = new Map<string, string>();
  cancelKey: Uint8Array | undefined;
  /** What each NegotiateProtocolVersion said: the whole version, and the options. */
  readonly negotiations: { readonly version: number; readonly options: readonly string[] }[] = [];
  /** As of the last ReadyForQuery. */
  status: string | undefined;
  readonly #chunks: AsyncIterator<Uint8Array, void, void>;
  readonly #splitter = new MessageSplitter();
  /** What the other side has shown, once TLS is spoken. */
  shownCertificate: Uint8Array | undefined;

  /** Over any stream, of Sluice's networks or of Deno's. */
  constructor(transport: ByteStream | Deno.Conn) {
    this.stream = "chunks" in transport ? transport : overConn(transport);
    this.#chunks = this.stream.chunks();
  }

  /** Connects by Deno's own means. */
  static async connect(options: Deno.ConnectOptions): Promise<TestClient> {
    return new TestClient(await Deno.connect(options));
  }

  /** Asks for TLS, and goes over to it if it may. Returns the answer to the request. */
  async requestTls(context: TlsContext): Promise<string | undefined> {
    await this.send(frontend.sslRequest());
    const answer = await this.receiveByte();
    if (answer === "S") await this.startTls(context);
    return answer;
  }

  /** Goes over to TLS without asking. Rejects as `ByteStream.startTls()` does. */
  async startTls(context: TlsContext): Promise<TlsHandshake> {
    const handshake = await this.stream.startTls({ context });
    this.shownCertificate = handshake.peerCertificate;
    return handshake;
  }

  /** What has come of a message that is not complete. */
  get held(): Uint8Array {
    return this.#splitter.held;
  }

  /** Whether a message has arrived in part. */
  get isMidMessage(): boolean {
    return this.#splitter.heldCount > 0;
  }

  /**
   * Logs in, with whatever authentication is asked for.
   * @throws {LoginRefused} If it is answered with an error.
   */
  async login(options: LoginOptions): Promise<void> {
    const { database, minor, parameters, user } = options;
    const asked = { user, ...(database === undefined ? {} : { database }), ...parameters };
    await this.send(frontend.startup(asked, minor));
    await this.finishLogin(options);
  }

  /** Logs in and leaves: "in", or the error it was refused with. */
  async outcome(options: LoginOptions): Promise<string> {
    try {
      await this.login(options);
      return "in";
    } catch (error) {
      if (!(error instanceof LoginRefused)) throw error;
      return error.message;
    } finally {
      this.close();
    }
  }

  /** The rest of a login whose StartupMessage has been sent. */
  async finishLogin({ channelBinding, password, user }: LoginOptions): Promise<void> {
    const secret = password === undefined ? undefined : new Secret(password);
    const exchange = new ServerAuthentication({
      userName: user,
      credential: new UserCredential(user, secret),
      random: FIXED_RANDOM,
      derivation: new KeyDerivation(),
      ...(channelBinding === undefined ? {} : { channelBinding }),
    });
    const { shownCertificate: shown } = this;
    if (shown !== undefined) exchange.noteTls({ endPoint: tlsServerEndPoint(shown) });
    for (;;) {
      const received = await this.receive();
      if (received === undefined) throw new Error("The connection ended during the login");
      if (received.type === "E") throw new LoginRefused(readReport(received.body));
      if (received.type === "Z") return;
      if (received.type !== "R") continue;
      const step = await exchange.receive(received.body);
      if (step.kind === "failed") throw new Error(step.reason);
      if (step.kind === "send") await this.send(step.message);
    }
  }

  /** Sends all in one piece. */
  async send(...messages: readonly Uint8Array[]): Promise<void> {
    const bytes = join(...messages);
    await this.stream.write(bytes, 0, bytes.length);
  }

  /** The next message; undefined at the end of the connection. */
  async receive(): Promise<RawMessage | undefined> {
    for (;;) {
      const received = this.#splitter.next();
      if (received !== undefined) {
        this.#note(received);
        return received;
      }
      const next = await this.#chunks.next();
      if (next.done) return undefined;
      this.#splitter.add(next.value);
    }
  }

  /** One byte without a frame, as SSLRequest is answered; undefined at the end. */
  async receiveByte(): Promise<string | undefined> {
    const held = this.#splitter.nextByte();
    if (held !== undefined) return String.fromCharCode(held);
    const next = await this.#chunks.next();
    if (next.done) return undefined;
    this.#splitter.add(next.value);
    return await this.receiveByte();
  }

  /** Every message up to and with the next ReadyForQuery, or up to the end of the connection. */
  async receiveUntilReady(): Promise<RawMessage[]> {
    const messages: RawMessage[] = [];
    for (;;) {
      const received = await this.receive();
      if (received === undefined) return messages;
      messages.push(received);
      if (received.type === "Z") return messages;
    }
  }

  /** Every message up to the end of the connection. */
  async receiveUntilEnd(): Promise<RawMessage[]> {
    const messages: RawMessage[] = [];
    for (;;) {
      const received = await this.receive();
      if (received === undefined) return messages;
      messages.push(received);
    }
  }

  /** Reads to the end of the connection: with which error it was ended. */
  async lastWords(): Promise<string> {
    const told = (await this.receiveUntilEnd()).findLast(({ type }) => type === "E");
    this.close();
    if (told === undefined) return "nothing";
    const { message, severity, sqlstate } = readReport(told.body);
    return `${severity} ${sqlstate} ${message}`;
  }

  /** What the present request is answered with. */
  async result(): Promise<QueryResult> {
    return readResult(await this.receiveUntilReady());
  }

  /** Sends a Query and awaits its answer. */
  async query(sql: string): Promise<QueryResult> {
    await this.send(frontend.query(sql));
    return await this.result();
  }

  /** Runs one statement by the extended protocol and awaits the answer to its Sync. */
  async extended(sql: string, values: readonly (string | null)[] = []): Promise<QueryResult> {
    await this.send(
      frontend.parse(sql),
      frontend.bind({ values }),
      frontend.describe("P"),
      frontend.execute(),
      frontend.sync(),
    );
    return await this.result();
  }

  /** Leaves politely. */
  async terminate(): Promise<void> {
    await this.send(frontend.terminate());
    this.stream.close();
  }

  /** Leaves without a word. */
  close(): void {
    this.stream.close();
  }

  #note({ type, body }: RawMessage): void {
    switch (type) {
      case "S": {
        const [name = "", value = ""] = readCstrings(body);
        this.parameters.set(name, value);
        return;
      }
      case "v":
        this.negotiations.push({
          version: readInt32(body),
          options: readCstrings(body.subarray(8)),
        });
        return;
      case "K":
        this.cancelKey = body.slice();
        return;
      case "Z":
        this.status = textOf(body);
    }
  }
}

/** Sorts the messages of one answer. */
export function readResult(messages: readonly RawMessage[]): QueryResult {
  const ofType = (...types: string[]) => messages.filter(({ type }) => types.includes(type));
  const ready = ofType("Z").at(-1);
  return {
    types: messages.map(({ type }) => type).join(""),
    rows: ofType("D").map(({ body }) => readValues(body)),
    copied: ofType("d").map(({ body }) => textOf(body)),
    tags: ofType("C").map(({ body }) => readCstrings(body)[0] ?? ""),
    errors: ofType("E").map(({ body }) => readReport(body)),
    notices: ofType("N").map(({ body }) => readReport(body)),
    parameters: new Map(
      ofType("S").map(({ body }) => {
        const [name = "", value = ""] = readCstrings(body);
        return [name, value] as const;
      }),
    ),
    status: ready === undefined ? undefined : textOf(ready.body),
  };
}

/** A client's nonce need not be secret in a test, and runs must be repeatable. */
const FIXED_RANDOM: Random = { bytes: (count) => new Uint8Array(count).fill(7) };

/** Most that one read of a plain connection takes. */
const CONN_READ_BYTES = 65_536;

/** As much of a stream as a client needs, over a connection of Deno's own. */
function overConn(conn: Deno.Conn): ByteStream {
  let isClosed = false;
  async function* chunks(): AsyncGenerator<Uint8Array, void, void> {
    const buffer = new Uint8Array(CONN_READ_BYTES);
    for (;;) {
      const count = await readFrom(conn, buffer);
      if (count === null || isClosed) return;
      yield buffer.subarray(0, count);
    }
  }
  return {
    remote: { host: "", port: 0 },
    local: { host: "", port: 0 },
    peerUid: undefined,
    isUnix: conn.localAddr.transport === "unix",
    tls: undefined,
    tlsFailure: undefined,
    startTls: noHandshake,
    resume: () => {},
    watch: () => {},
    get isClosed() {
      return isClosed;
    },
    chunks,
    async pump(sink) {
      for await (const chunk of chunks()) await sink(chunk, chunk.length);
    },
    async write(buffer, start, end) {
      let rest = buffer.subarray(start, end);
      while (rest.length > 0) rest = rest.subarray(await conn.write(rest));
    },
    finishWriting() {
      void conn.closeWrite();
    },
    close() {
      isClosed = true;
      conn[Symbol.dispose]();
    },
  };
}

/** What ends a connection ends the loop; anything else is a fault of the test. */
async function readFrom(conn: Deno.Conn, buffer: Uint8Array): Promise<number | null> {
  try {
    return await conn.read(buffer);
  } catch (error) {
    if (!saysItIsOver(error)) throw error;
    return null;
  }
}
