/**
 * TLS on the streams of the simulated network: a handshake of four messages with the roles, the
 * checks and the order of version 1.3 (a client is done before the server has seen its certificate),
 * in records that are cut anywhere like everything there.
 */

import { Buffer } from "node:buffer";
import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { assert } from "../../src/base/assert.ts";
import {
  TLS_PROTOCOL,
  TLS_VERSIONS,
  type TlsHandshake,
  TlsHandshakeError,
  type TlsInUse,
  type TlsStart,
  type TlsVersion,
} from "../../src/net/tls.ts";
import { nameFault, SimTlsContext } from "./sim_tls_context.ts";
import { RECORD, SimRecordReader, toRecords } from "./sim_tls_records.ts";

const DEFAULT_CIPHERS: Readonly<Record<TlsVersion, string>> = {
  "TLSv1": "ECDHE-ECDSA-AES256-SHA",
  "TLSv1.1": "ECDHE-ECDSA-AES256-SHA",
  "TLSv1.2": "ECDHE-ECDSA-AES256-GCM-SHA384",
  "TLSv1.3": "TLS_AES_256_GCM_SHA384",
};

/** The alert that ends a direction in order. */
const CLOSE_NOTIFY = "close notify";

const NO_BYTES = new Uint8Array(0);

/** The stream under a session, in plain bytes. */
export interface SimTlsCarrier {
  /** What comes next, borrowed until it is called again; nothing at the end. */
  read(): Promise<Uint8Array>;
  write(bytes: Uint8Array): void | Promise<void>;
}

interface ClientHello {
  readonly versions: readonly TlsVersion[];
  readonly protocols: readonly string[];
  readonly ciphers: string | undefined;
  readonly cipherSuites: string | undefined;
  readonly serverName: string | undefined;
}

interface ServerHello {
  readonly version: TlsVersion;
  readonly cipher: string;
  readonly protocol: string | undefined;
  readonly chain: readonly string[];
  readonly asksForCertificate: boolean;
}

interface ClientFinish {
  readonly chain: readonly string[];
}

/** TLS on one stream. */
export class SimTlsSession {
  readonly #carrier: SimTlsCarrier;
  readonly #context: SimTlsContext;
  readonly #start: TlsStart;
  readonly #records = new SimRecordReader();
  #plain: Uint8Array = NO_BYTES;
  #hasEnded = false;
  #failure: string | undefined;
  #inUse: TlsInUse | undefined;
  #serverName: string | undefined;

  constructor(carrier: SimTlsCarrier, start: TlsStart) {
    const { context, received = NO_BYTES } = start;
    assert(context instanceof SimTlsContext, "A context of another engine");
    assert(!context.isDisposed, "The context was disposed of");
    this.#carrier = carrier;
    this.#context = context;
    this.#start = start;
    this.#records.push(received);
  }

  /** As `ByteStream.tls`. */
  get inUse(): TlsInUse | undefined {
    return this.#inUse;
  }

  /** As `ByteStream.tlsFailure`. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** What the client calls us, as far as its hello has come (SNI). */
  get serverName(): string | undefined {
    return this.#serverName;
  }

  /** Shakes hands; rejects with `TlsHandshakeError`. */
  async shakeHands(): Promise<TlsHandshake> {
    const result = this.#context.peer === "server"
      ? await this.#asClient()
      : await this.#asServer();
    this.#inUse = this.#context.inUse(result);
    return result;
  }

  /** Reads into `buffer`; resolves with 0 at the end, in order or not. */
  async read(buffer: Uint8Array): Promise<number> {
    while (this.#plain.length === 0 && !this.#hasEnded) {
      const record = await this.#nextRecord();
      if (record !== undefined && record !== "garbage" && record.type === RECORD.data) {
        this.#plain = record.content;
      } else {
        this.#hasEnded = true;
        this.#failure = failureOf(record);
      }
    }
    const part = this.#plain.subarray(0, buffer.length);
    buffer.set(part);
    this.#plain = this.#plain.subarray(part.length);
    return part.length;
  }

  /** The bytes as they are sent. */
  seal(bytes: Uint8Array): Uint8Array {
    return toRecords(RECORD.data, bytes);
  }

  /** What is sent before the end. */
  sealEnd(): Uint8Array {
    return toRecords(RECORD.alert, Buffer.from(CLOSE_NOTIFY));
  }

  async #asClient(): Promise<TlsHandshake> {
    const { options, protocols } = this.#context;
    await this.#send<ClientHello>({
      versions: options.versions,
      protocols,
      ciphers: options.ciphers,
      cipherSuites: options.cipherSuites,
      serverName: sentName(this.#start.serverName),
    });
    const hello = await this.#receive<ServerHello>();
    const chain = fromText(hello.chain);
    const isVerified = await this.#isServerVerified(chain);
    const shown = hello.asksForCertificate ? toText(this.#context.chain) : [];
    await this.#send<ClientFinish>({ chain: shown });
    return result({ ...hello, chain, isVerified });
  }

  async #isServerVerified(chain: readonly X509Certificate[]): Promise<boolean> {
    const { verification } = this.#context.options;
    const name = this.#start.serverName;
    const fault = this.#context.faultOf(chain);
    if (fault !== undefined && verification !== "none") await this.#refuse(fault);
    if (verification === "name") {
      const wrongName = name === undefined ? "no name to verify" : nameFault(chain[0]!, name);
      if (wrongName !== undefined) await this.#refuse(wrongName);
    }
    return fault === undefined;
  }

  async #asServer(): Promise<TlsHandshake> {
    const { chain: ours, options } = this.#context;
    const hello = await this.#receive<ClientHello>();
    this.#serverName = hello.serverName;
    const version = TLS_VERSIONS.findLast((version) =>
      options.versions.includes(version) && hello.versions.includes(version)
    );
    if (version === undefined) return await this.#refuse("unsupported protocol version");
    const cipher = chosenCipher(version, options, hello);
    if (cipher === undefined) return await this.#refuse("no shared cipher");
    const protocol = this.#context.protocols.find((name) => hello.protocols.includes(name));
    if (protocol === undefined && hello.protocols.length > 0) {
      return await this.#refuse("no application protocol");
    }
    const asksForCertificate = options.verification !== "none";
    const answer = { version, cipher, protocol, asksForCertificate };
    await this.#send<ServerHello>({ ...answer, chain: toText(ours) });
    const chain = fromText((await this.#receive<ClientFinish>()).chain);
    const fault = this.#context.faultOf(chain);
    if (options.verification === "required" && fault !== undefined) {
      return await this.#refuse(chain.length === 0 ? "certificate required" : fault);
    }
    return result({ ...answer, chain, isVerified: fault === undefined });
  }

  async #send<Message>(message: Message): Promise<void> {
    await this.#carrier.write(toRecords(RECORD.handshake, Buffer.from(JSON.stringify(message))));
  }

  async #receive<Message>(): Promise<Message> {
    const record = await this.#nextRecord();
    if (record === undefined) throw new TlsHandshakeError("The connection has ended");
    if (record === "garbage" || record.type === RECORD.data) {
      return await this.#refuse("wrong version number");
    }
    const text = Buffer.from(record.content).toString();
    if (record.type === RECORD.alert) throw new TlsHandshakeError(`The peer says: ${text}`);
    try {
      return JSON.parse(text) as Message;
    } catch {
      return await this.#refuse("unexpected message");
    }
  }

  /** Tells the peer, too. */
  async #refuse(reason: string): Promise<never> {
    await this.#carrier.write(toRecords(RECORD.alert, Buffer.from(reason)));
    throw new TlsHandshakeError(reason);
  }

  /** Nothing at the end. */
  async #nextRecord() {
    for (;;) {
      const record = this.#records.next();
      if (record !== undefined) return record;
      const bytes = await this.#carrier.read();
      if (bytes.length === 0) return undefined;
      this.#records.push(bytes);
    }
  }
}

/** What is wrong with an end; nothing, if it is in order or the connection's. */
function failureOf(record: ReturnType<SimRecordReader["next"]>): string | undefined {
  if (record === undefined) return undefined;
  if (record === "garbage") return "wrong version number";
  const text = Buffer.from(record.content).toString();
  return text === CLOSE_NOTIFY ? undefined : `The peer says: ${text}`;
}

type CipherLists = Pick<ClientHello, "ciphers" | "cipherSuites">;

/** The first of ours, or of theirs if we have no list; a word like `HIGH` is no cipher by itself. */
function chosenCipher(
  version: TlsVersion,
  ours: CipherLists,
  theirs: CipherLists,
): string | undefined {
  const key = version === "TLSv1.3" ? "cipherSuites" : "ciphers";
  const ourNames = cipherNames(ours[key]);
  const theirNames = cipherNames(theirs[key]);
  if (ourNames.length === 0) return theirNames[0] ?? DEFAULT_CIPHERS[version];
  return ourNames.find((name) => theirNames.length === 0 || theirNames.includes(name));
}

function cipherNames(list = ""): string[] {
  return list.split(":").filter((name) => /^[A-Z].*[-_]/.test(name));
}

function result({ chain, cipher, isVerified, protocol, version }: {
  version: TlsVersion;
  cipher: string;
  protocol: string | undefined;
  chain: readonly X509Certificate[];
  isVerified: boolean;
}): TlsHandshake {
  const [leaf] = chain;
  return {
    version,
    cipher,
    hasProtocol: protocol === TLS_PROTOCOL,
    peerCertificate: leaf === undefined ? undefined : new Uint8Array(leaf.raw),
    isPeerVerified: isVerified,
  };
}

/** Addresses are not sent as names. */
function sentName(name: string | undefined): string | undefined {
  return name === undefined || isIP(name) !== 0 ? undefined : name;
}

function toText(chain: readonly X509Certificate[]): string[] {
  return chain.map((certificate) => certificate.toString());
}

function fromText(chain: readonly string[]): X509Certificate[] {
  return chain.map((text) => new X509Certificate(text));
}
