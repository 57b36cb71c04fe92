/** TLS over a transport, by the runtime's `node:tls`, in either role. */

import { isIP } from "node:net";
import {
  checkServerIdentity,
  connect,
  type ConnectionOptions,
  createServer,
  type TLSSocket,
} from "node:tls";
import { assert } from "../../base/assert.ts";
import { errorText } from "../../base/error_text.ts";
import { nextTurn } from "../../base/turn.ts";
import {
  TLS_PROTOCOL,
  type TlsHandshake,
  TlsHandshakeError,
  type TlsInUse,
  type TlsStart,
} from "../tls.ts";
import { PortableTlsContext } from "./portable_tls.ts";
import { TlsDuplex } from "./tls_duplex.ts";
import type { Transport } from "./transport.ts";

/** Encrypted in one go; more would be held twice while it waits. */
const MAX_WRITE_BYTES = 65_536;

/**
 * Whoever starts TLS has a deadline for it. The runtime's own timer goes on after a handshake has
 * failed, and keeps all of the connection for two minutes; 0 would mean its default.
 */
const NO_TIMEOUT = -1;

const LOST = "The connection has ended";

/** What goes over to TLS: bytes in clear above, a transport below. */
export class TlsTransport implements Transport {
  readonly #below: Transport;
  readonly #duplex: TlsDuplex;
  readonly #context: PortableTlsContext;
  readonly #serverName: string | undefined;
  readonly #shaking: Promise<TLSSocket>;
  #socket: TLSSocket | undefined;
  #hasEnded = false;
  #isDisposed = false;
  #inUse: TlsInUse | undefined;
  #failure: string | undefined;

  /** Begins the handshake. */
  constructor(below: Transport, { context, received, serverName }: TlsStart) {
    assert(context instanceof PortableTlsContext, "A context of another engine");
    this.#below = below;
    this.#context = context;
    this.#serverName = serverName;
    this.#duplex = new TlsDuplex(below);
    if (received !== undefined && received.length > 0) this.#duplex.push(received.slice());
    this.#shaking = context.peer === "server" ? this.#asClient() : this.#asServer();
  }

  /** As `ByteStream.tls`. */
  get inUse(): TlsInUse | undefined {
    return this.#inUse;
  }

  /** As `ByteStream.tlsFailure`. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** Waits for the handshake; rejects with `TlsHandshakeError`. */
  async shakeHands(): Promise<TlsHandshake> {
    try {
      const socket = await Promise.race([this.#shaking, this.#feed()]);
      if (socket.destroyed) throw new TlsHandshakeError(LOST);
      const isVerified = this.#isVerified(socket);
      this.#verify(socket, isVerified);
      for (const event of ["end", "close"]) socket.on(event, () => this.#hasEnded = true);
      socket.on("error", (error) => this.#fail(error));
      this.#socket = socket;
      return this.#result(socket, isVerified);
    } catch (error) {
      this.#duplex.destroy();
      if (error instanceof TlsHandshakeError) throw error;
      throw new TlsHandshakeError(errorText(error), { cause: error });
    }
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    const socket = this.#socket;
    while (socket !== undefined) {
      const length = Math.min(buffer.length, socket.readableLength);
      const chunk = socket.read(length) as Uint8Array | null;
      if (chunk !== null && chunk.length > 0) {
        buffer.set(chunk);
        return chunk.length;
      }
      if (this.#isOver()) break;
      // What the runtime has not looked at yet comes first.
      if (this.#duplex.readableLength === 0) await this.#duplex.pull();
      if (socket.readableLength === 0) await nextTurn();
    }
    this.#throwFailure();
    return null;
  }

  async write(bytes: Uint8Array): Promise<number> {
    const part = bytes.subarray(0, MAX_WRITE_BYTES);
    await new Promise<void>((resolve) => {
      if (this.#socket === undefined) resolve();
      else this.#socket.write(part, () => resolve());
    });
    // Versions of the runtime are content when they have encrypted them.
    await this.#duplex.sent();
    this.#throwFailure();
    return part.length;
  }

  async closeWrite(): Promise<void> {
    await new Promise<void>((resolve) => {
      if (this.#socket === undefined) resolve();
      else this.#socket.end(() => resolve());
    });
    await this.#duplex.sent();
    if (!this.#isDisposed) await this.#below.closeWrite();
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#below[Symbol.dispose]();
    this.#socket?.destroy();
    this.#duplex.destroy();
  }

  #fail(error: unknown): void {
    this.#hasEnded = true;
    this.#failure ??= errorText(error);
  }

  /** Whether nothing more can come, once what has come is used up. */
  #isOver(): boolean {
    const hasEndedBelow = this.#duplex.hasEnded && this.#duplex.readableLength === 0;
    return this.#hasEnded || this.#isDisposed || hasEndedBelow;
  }

  #throwFailure(): void {
    if (this.#duplex.failure !== undefined) throw this.#duplex.failure;
  }

  /** Reads for the handshake, until that is over; rejects at the end of the connection. */
  async #feed(): Promise<never> {
    let isOver = false;
    const over = () => isOver = true;
    this.#shaking.then(over, over);
    while (!isOver) {
      await this.#duplex.pull();
      await nextTurn();
      if (this.#duplex.hasEnded || this.#isDisposed) break;
    }
    // What the runtime has to say is said first.
    await nextTurn();
    throw new TlsHandshakeError(LOST);
  }

  #asClient(): Promise<TLSSocket> {
    const { promise, reject, resolve } = Promise.withResolvers<TLSSocket>();
    const name = this.#serverName;
    const options: ConnectionOptions = {
      ...this.#context.runtime,
      socket: this.#duplex,
      ALPNProtocols: [TLS_PROTOCOL],
      // What is to be verified is verified here, as that is told in any case.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    };
    if (name !== undefined && isIP(name) === 0) options.servername = name;
    const socket = connect(options, () => resolve(socket));
    socket.on("error", reject);
    socket.on("close", () => reject(new TlsHandshakeError(LOST)));
    return promise;
  }

  #asServer(): Promise<TLSSocket> {
    const { promise, reject, resolve } = Promise.withResolvers<TLSSocket>();
    const { runtime, verification } = this.#context;
    // It does not listen. One for each connection, since it tells of them without saying of which.
    const server = createServer({
      ...runtime,
      ALPNProtocols: [TLS_PROTOCOL],
      requestCert: verification !== "none",
      rejectUnauthorized: verification === "required",
      handshakeTimeout: NO_TIMEOUT,
    });
    server.on("secureConnection", resolve);
    server.on("tlsClientError", (error, socket) => reject(refusal(socket) ?? error));
    server.emit("connection", this.#duplex);
    return promise;
  }

  #verify(socket: TLSSocket, isVerified: boolean): void {
    const { verification } = this.#context;
    if (verification === "none" || verification === "optional") return;
    if (!isVerified) throw refusal(socket) ?? new TlsHandshakeError("Not verified");
    if (verification !== "name") return;
    const name = this.#serverName;
    const fault = name === undefined
      ? new TlsHandshakeError("There is no name to look for in the server's certificate")
      : checkServerIdentity(name, socket.getPeerCertificate());
    if (fault !== undefined) throw fault;
  }

  #isVerified(socket: TLSSocket): boolean {
    const { hasAuthorities, peer, trusted } = this.#context;
    const certificate = socket.getPeerCertificate(true);
    // Without authorities of ours the runtime takes its own.
    if (!hasAuthorities || !socket.authorized || certificate.raw === undefined) return false;
    if (socket.isSessionReused()) return peer === "client" && trusted.has(certificate);
    if (peer === "client") trusted.add(certificate);
    return true;
  }

  #result(socket: TLSSocket, isPeerVerified: boolean): TlsHandshake {
    const { raw } = socket.getPeerCertificate(true);
    this.#inUse = this.#context.inUse({
      version: socket.getProtocol()!,
      cipher: socket.getCipher().name,
    });
    return {
      ...this.#inUse,
      hasProtocol: socket.alpnProtocol === TLS_PROTOCOL,
      peerCertificate: raw === undefined ? undefined : new Uint8Array(raw),
      isPeerVerified,
    };
  }
}

/** What the runtime has against the peer's certificate; it has a code for it only. */
function refusal({ authorizationError }: TLSSocket): TlsHandshakeError | undefined {
  const code = authorizationError as unknown;
  if (typeof code !== "string") return undefined;
  const words = code.toLowerCase().replaceAll("_", " ");
  return new TlsHandshakeError(`The certificate is refused: ${words}`);
}
