/**
 * A scripted PostgreSQL on any network: logs clients in by any of the methods Sluice knows, takes
 * cancel requests, and runs what `fake_sql.ts` knows. What it does wrong it was told to do.
 */

import {
  ClientAuthentication,
  type ClientAuthenticationMethod,
} from "../../src/auth/client_authentication.ts";
import { UserCredential } from "../../src/auth/credential.ts";
import { KeyDerivation } from "../../src/auth/key_derivation.ts";
import { Secret } from "../../src/base/secret.ts";
import type { ByteStream } from "../../src/net/byte_stream.ts";
import type { ListenAddress, Listener, Network, ServerAddress } from "../../src/net/network.ts";
import { type TlsContext, TlsHandshakeError } from "../../src/net/tls.ts";
import { type BackendWatch, FakeBackend, type RunStatement } from "./fake_backend.ts";
import { BadParameter, FakeSessionParameters } from "./fake_session_parameters.ts";
import {
  backend as say,
  join,
  MessageSplitter,
  readCstrings,
  readInt32,
  type ReportFields,
  utf8,
} from "./messages.ts";
import type { SeededRandom } from "./seeded_random.ts";
import { SYSTEM_TCP } from "./stream_options.ts";

export type { FakeBackend, RunStatement } from "./fake_backend.ts";

const CANCEL_REQUEST = 80_877_102;
const SSL_REQUEST = 80_877_103;

/** First byte of a TLS handshake. */
const TLS_HANDSHAKE = 0x16;

/** What a StartupMessage may say besides settings; `options` are taken note of, and not read. */
const NOT_SETTINGS: readonly string[] = ["user", "database", "replication", "options"];

/** Rounds of SCRAM: few, so that a test takes no time. */
const ROUNDS = 3;

/** What a fake PostgreSQL is made of. */
export interface FakePostgresOptions {
  readonly network: Network;
  readonly random: SeededRandom;
  readonly address?: ListenAddress;
  /** How clients prove who they are; trust lets anybody in. */
  readonly auth?: ClientAuthenticationMethod;
  /** Secrets by user name: plain, md5… or SCRAM-SHA-256$…. */
  readonly users?: Readonly<Record<string, string>>;
  /** Whether changes of search_path and scram_iterations are reported, as since PostgreSQL 18. */
  readonly reportsSearchPath?: boolean;
  /** Whether it reports its role, as since PostgreSQL 14. */
  readonly reportsRole?: boolean;
  /** Whether it has the functions by which it is asked for that. */
  readonly knowsRole?: boolean;
  /** Reported parameters of an extension, which only the superuser may set. */
  readonly extension?: Readonly<Record<string, string>>;
  /** Databases that exist; any if not given. */
  readonly databases?: readonly string[];
  /** Newest minor version of protocol 3 that it speaks; 2, as since PostgreSQL 18, if not given. */
  readonly newestMinor?: number;
  /** What it does with who asks for a newer one; as PostgreSQL does, if not given. */
  readonly onNewerVersion?: NewerVersionAnswer;
}

/** How it is in TLS. */
export interface FakePostgresTls {
  readonly context: TlsContext;
  /** Sent in place of the `S` that it would answer; the connection is closed then. */
  readonly answer?: Uint8Array;
  /** What logins may be bound to; undefined: PLUS is not offered. */
  readonly endPoint?: Uint8Array | undefined;
}

/** Speaks the one it knows; says that it does not know the other; or closes the connection. */
export type NewerVersionAnswer = "negotiate" | "refuse" | "hang up";

/** What a server may be, by the number of rows by which it is told. */
export const ROLE_KINDS = ["read_write_primary", "read_only_primary", "standby"] as const;

/** One of them. */
export type RoleKind = (typeof ROLE_KINDS)[number];

/** Where the fake PostgreSQL listens unless told otherwise. */
export const POSTGRES_ADDRESS = {
  kind: "tcp",
  host: "127.0.0.1",
  port: 5432,
  backlog: 16,
} as const;

/** One server with all its backends. */
export class FakePostgres {
  /** Every backend there ever was, oldest first. */
  readonly backends: FakeBackend[] = [];
  /** What a look-up answers, by name. */
  readonly secrets = new Map<string, readonly (readonly (string | null)[])[]>();
  /** Backends that a cancel request hit while they ran something, with the statement's sender. */
  readonly canceled: { readonly processId: number; readonly sender: string | undefined }[] = [];
  /** What is wanted of all backends; may be changed. */
  readonly watch: BackendWatch = { marksReplies: false };
  /** While set, logins are answered with it. */
  refusal: ReportFields | undefined;
  /** While set, bytes that logins are answered with instead of anything sensible. */
  garbage: Uint8Array | undefined;
  /** While set, connections for cancel requests stay open after the request was carried out. */
  holdsCancels = false;
  /** Cancel requests received, right or wrong. */
  cancelRequestCount = 0;
  /** How it is in TLS, if it has any; may be changed. */
  tls: FakePostgresTls | undefined;
  /** Says why a login in TLS, or without, is refused. */
  onLogin: ((isTls: boolean) => ReportFields | undefined) | undefined;
  /** What connections have begun with, one after the other: `request`, `direct`, and the rest. */
  readonly packets: string[] = [];
  /** What was received of SCRAM exchanges, one after the other. */
  readonly scramMessages: string[] = [];
  /** What TLS clients called it. */
  readonly serverNames: (string | undefined)[] = [];
  /** The minor version that each login asked for, those refused included. */
  readonly askedMinors: number[] = [];
  /** Whether a newer version than its own is refused or negotiated; may be changed. */
  onNewerVersion: NewerVersionAnswer;
  /** What is not as by default in new sessions, by the address they came to: see `become()`. */
  readonly #configured = new Map<string, ReadonlyMap<string, string>>();
  readonly #options: FakePostgresOptions;
  readonly #listener: Listener;
  readonly #derivation = new KeyDerivation();
  readonly #heldCancels = new Set<ByteStream>();
  readonly #open = new Set<ByteStream>();
  readonly #sessions = new Set<Promise<void>>();
  readonly #accepting: Promise<void>;
  /** What went wrong in the fake itself; shown when it is closed. */
  readonly #faults: unknown[] = [];
  #lastProcessId = 1_000;

  private constructor(options: FakePostgresOptions, listener: Listener) {
    this.#options = options;
    this.#listener = listener;
    this.onNewerVersion = options.onNewerVersion ?? "negotiate";
    this.#accepting = this.#accept();
  }

  /** Begins to listen. */
  static async start(options: FakePostgresOptions): Promise<FakePostgres> {
    const address = options.address ?? POSTGRES_ADDRESS;
    const streamOptions = { receiveBytes: 8_192, maxBusyReads: 0, tcp: SYSTEM_TCP };
    const listener = await options.network.listen(address, () => streamOptions);
    return new FakePostgres(options, listener);
  }

  /** Where to dial it. */
  get address(): ServerAddress {
    return this.#listener.address;
  }

  /** Backends that have logged in and not ended, oldest first. */
  get live(): FakeBackend[] {
    return this.backends.filter(({ isClosed }) => !isClosed);
  }

  /** The statements run on all backends, backend by backend. */
  get ran(): RunStatement[] {
    return this.backends.flatMap(({ ran }) => ran);
  }

  /** The names that were looked up on all backends, backend by backend. */
  get lookedUp(): (string | null)[] {
    return this.backends.flatMap(({ lookedUp }) => lookedUp);
  }

  /**
   * Makes it a standby or a primary, read-only or not; sessions report it with their next answer. It
   * may be another server at each of its addresses.
   */
  become({ isStandby = false, isReadOnly = false }, host = hostOf(this.address)): void {
    const configured = new Map([
      ["in_hot_standby", isStandby ? "on" : "off"],
      ["default_transaction_read_only", isReadOnly ? "on" : "off"],
    ]);
    this.#configured.set(host, configured);
    for (const { parameters, stream } of this.live) {
      if (stream.local.host !== host) continue;
      for (const [name, value] of configured) parameters.configure(name, value);
    }
  }

  /** What the backend with a cancel key was when it logged in. */
  roleAtLogin(cancelKey: Uint8Array): RoleKind | undefined {
    const processId = readInt32(cancelKey);
    return this.backends.find((each) => each.processId === processId)?.roleAtLogin;
  }

  /** Lets every sleeping statement go on. */
  wakeAll(): void {
    for (const backend of this.backends) backend.wake();
  }

  /** Ends the connections of cancel requests that were held. */
  releaseCancels(): void {
    for (const stream of this.#heldCancels) stream.close();
    this.#heldCancels.clear();
  }

  /** Ends everything at once; resolves when all has ended. */
  async close(): Promise<void> {
    this.#listener.close();
    this.releaseCancels();
    for (const backend of this.live) backend.close();
    for (const stream of this.#open) stream.close();
    await this.#accepting;
    await Promise.all(this.#sessions);
    if (this.#faults.length > 0) throw this.#faults[0];
  }

  async #accept(): Promise<void> {
    for await (const stream of this.#listener.connections()) {
      this.#open.add(stream);
      const session: Promise<void> = this.#serve(stream)
        .catch((error: unknown) => {
          this.#faults.push(error);
          stream.close();
        })
        .finally(() => {
          this.#sessions.delete(session);
          this.#open.delete(stream);
        });
      this.#sessions.add(session);
    }
  }

  async #serve(stream: ByteStream): Promise<void> {
    const arrival = new Arrival(stream);
    const hello = await arrival.hello();
    if (hello !== undefined) {
      this.packets.push("direct");
      if (!await this.#startTls(stream, hello)) return stream.close();
    }
    for (;;) {
      const packet = await arrival.packet();
      if (packet === undefined) return stream.close();
      const code = readInt32(packet);
      if (code === SSL_REQUEST) {
        if (await this.#answerSslRequest(arrival)) continue;
        return stream.close();
      }
      const how = stream.tls === undefined ? "plain" : "tls";
      this.packets.push(code === CANCEL_REQUEST ? `cancel ${how}` : `login ${how}`);
      if (code === CANCEL_REQUEST) return this.#cancel(packet, stream);
      const backend = await this.#login(arrival, packet);
      return backend === undefined ? stream.close() : await backend.run();
    }
  }

  /** Returns whether the connection goes on. */
  async #answerSslRequest(arrival: Arrival): Promise<boolean> {
    this.packets.push("request");
    const { tls } = this;
    await arrival.send(tls?.answer ?? utf8(tls === undefined ? "N" : "S"));
    if (tls?.answer !== undefined) return false;
    return tls === undefined || await this.#startTls(arrival.stream);
  }

  async #startTls(stream: ByteStream, received = new Uint8Array()): Promise<boolean> {
    try {
      await stream.startTls({ context: this.tls!.context, received });
      this.serverNames.push((stream as { tlsServerName?: string }).tlsServerName);
      return true;
    } catch (error) {
      if (!(error instanceof TlsHandshakeError)) throw error;
      return false;
    }
  }

  #cancel(packet: Uint8Array, stream: ByteStream): void {
    this.cancelRequestCount += 1;
    const processId = readInt32(packet, 4);
    const secret = packet.subarray(8).join();
    const target = this.live.find((backend) =>
      backend.processId === processId && backend.secret.join() === secret
    );
    const sender = target?.sender;
    if (target !== undefined) this.watch.onCancel?.(target);
    if (target?.cancel() === true) this.canceled.push({ processId, sender });
    if (this.holdsCancels) this.#heldCancels.add(stream);
    else stream.close();
  }

  async #login(arrival: Arrival, packet: Uint8Array): Promise<FakeBackend | undefined> {
    const { databases, extension = {}, reportsRole = true, reportsSearchPath = true } =
      this.#options;
    const asked = readPairs(packet.subarray(4));
    const askedMinor = readInt32(packet) & 0xffff;
    this.askedMinors.push(askedMinor);
    const user = asked.get("user") ?? "";
    const database = asked.get("database") ?? user;
    if (this.garbage !== undefined) {
      await arrival.send(this.garbage);
      return undefined;
    }
    const refusal = this.refusal ?? this.onLogin?.(arrival.stream.tls !== undefined);
    if (refusal !== undefined) return await arrival.refuse(refusal);
    const minor = await this.#negotiate(arrival, askedMinor);
    if (minor === undefined) return undefined;
    if (!await this.#authenticate(arrival, user)) return undefined;
    if (databases?.includes(database) === false) {
      const text = `database "${database}" does not exist`;
      return await arrival.refuseAuthenticated({
        severity: "FATAL",
        sqlstate: "3D000",
        message: text,
      });
    }
    const settings = [...asked].filter(([name]) => !NOT_SETTINGS.includes(name));
    let parameters: FakeSessionParameters;
    try {
      parameters = new FakeSessionParameters(settings, {
        user,
        isOld: !reportsSearchPath,
        isVeryOld: !reportsRole,
        configured: this.#configured.get(arrival.stream.local.host),
        extension,
      });
    } catch (error) {
      if (!(error instanceof BadParameter)) throw error;
      const { message, sqlstate } = error;
      return await arrival.refuseAuthenticated({ severity: "FATAL", sqlstate, message });
    }
    return await this.#admit(arrival, { user, database, parameters, minor, asked });
  }

  /** Returns the minor version that is spoken; undefined if none is. */
  async #negotiate(arrival: Arrival, asked: number): Promise<number | undefined> {
    const { newestMinor = 2 } = this.#options;
    if (asked <= newestMinor) return asked;
    if (this.onNewerVersion === "hang up") return undefined;
    if (this.onNewerVersion === "negotiate") {
      await arrival.send(say.negotiate(3 << 16 | newestMinor));
      return newestMinor;
    }
    const message = `unsupported frontend protocol 3.${asked}: server supports 2.0 to 3.0`;
    return await arrival.refuse({ severity: "FATAL", sqlstate: "0A000", message });
  }

  async #authenticate(arrival: Arrival, user: string): Promise<boolean> {
    const { auth = "trust", random, users = {} } = this.#options;
    if (auth === "trust") return true;
    const secret = users[user];
    const exchange = new ClientAuthentication({
      method: auth,
      userName: user,
      credential: secret === undefined ? undefined : new UserCredential(user, new Secret(secret)),
      random,
      derivation: this.#derivation,
      looks: { verifierShare: 0, shapes: [], verifierShapes: [] },
      scramIterations: ROUNDS,
      mockSecret: new Uint8Array(32),
      endPoint: arrival.stream.tls && this.tls?.endPoint,
    });
    let step = exchange.start();
    while (step.kind === "challenge") {
      await arrival.send(step.message);
      const body = await arrival.message();
      if (body === undefined) return false;
      if (auth === "scram-sha-256") this.scramMessages.push(new TextDecoder().decode(body));
      step = await exchange.receive(body);
    }
    if (step.kind === "accepted") {
      if (step.message !== undefined) await arrival.send(step.message);
      return true;
    }
    const text = `password authentication failed for user "${user}"`;
    await arrival.refuse({ severity: "FATAL", sqlstate: "28P01", message: text });
    return false;
  }

  async #admit(
    arrival: Arrival,
    { asked, database, minor, parameters, user }: {
      asked: ReadonlyMap<string, string>;
      database: string;
      minor: number;
      parameters: FakeSessionParameters;
      user: string;
    },
  ): Promise<FakeBackend> {
    this.#lastProcessId += 1;
    const processId = this.#lastProcessId;
    const secret = this.#options.random.bytes(minor >= 2 ? 32 : 4);
    const { chunks, splitter, stream } = arrival;
    const backend = new FakeBackend({
      ...{ chunks, splitter, stream, processId, secret },
      ...{ user, database, parameters, asked, secrets: this.secrets, watch: this.watch },
      knowsRole: this.#options.knowsRole ?? true,
      roleAtLogin: ROLE_KINDS[parameters.roleRowCount]!,
    });
    this.backends.push(backend);
    await arrival.send(
      say.authentication(0),
      ...parameters.takeNews().map(([name, value]) => say.parameterStatus(name, value)),
      say.keyData(processId, secret),
      say.ready(),
    );
    return backend;
  }
}

/** As streams call it. */
function hostOf(address: ServerAddress): string {
  return address.kind === "unix" ? "unix" : address.host;
}

/** A connection before its login. */
class Arrival {
  readonly stream: ByteStream;
  readonly splitter = new MessageSplitter();
  readonly chunks: AsyncIterator<Uint8Array, void, void>;

  constructor(stream: ByteStream) {
    this.stream = stream;
    this.chunks = stream.chunks();
  }

  packet(): Promise<Uint8Array | undefined> {
    return this.#receive(() => this.splitter.nextUntyped());
  }

  /** What has come of a handshake, if that is what the connection begins with. */
  async hello(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const chunk = await this.chunks.next();
    if (chunk.done) return undefined;
    if (chunk.value[0] === TLS_HANDSHAKE) return chunk.value.slice();
    this.splitter.add(chunk.value);
    return undefined;
  }

  message(): Promise<Uint8Array | undefined> {
    return this.#receive(() => this.splitter.next()?.body);
  }

  async send(...messages: readonly Uint8Array[]): Promise<void> {
    const bytes = join(...messages);
    await this.stream.write(bytes, 0, bytes.length);
  }

  async refuse({ message, severity, sqlstate }: ReportFields): Promise<undefined> {
    await this.send(say.error(sqlstate, message, severity));
  }

  /** As PostgreSQL does with who it is sure of. */
  async refuseAuthenticated(report: ReportFields): Promise<undefined> {
    await this.send(say.authentication(0));
    return await this.refuse(report);
  }

  async #receive(take: () => Uint8Array | undefined): Promise<Uint8Array | undefined> {
    for (;;) {
      const taken = take();
      if (taken !== undefined) return taken;
      const chunk = await this.chunks.next();
      if (chunk.done) return undefined;
      this.splitter.add(chunk.value);
    }
  }
}

function readPairs(body: Uint8Array): ReadonlyMap<string, string> {
  const texts = readCstrings(body);
  const pairs = new Map<string, string>();
  for (let i = 0; i + 1 < texts.length; i += 2) pairs.set(texts[i]!, texts[i + 1]!);
  return pairs;
}
