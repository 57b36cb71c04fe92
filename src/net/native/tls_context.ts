/**
 * What connections over TLS have in common on the native engine: an SSL_CTX, made of PEM in memory.
 *
 * What PostgreSQL does is done here: no session is resumed, nothing is compressed or renegotiated, the
 * whole chain is looked up in the list of revoked certificates.
 *
 * Source: PostgreSQL, src/backend/libpq/be-secure-openssl.c; numbers from OpenSSL 3.0,
 * include/openssl/{ssl,x509_vfy,pemerr}.h.
 */

import { Buffer } from "node:buffer";
import { isIP } from "node:net";
import {
  type ClientTlsOptions,
  type ServerTlsOptions,
  TLS_VERSIONS,
  type TlsContext,
  type TlsContextOptions,
  TlsHandshakeError,
  TlsSetupError,
  type TlsVersion,
} from "../tls.ts";
import { cText, type LibcCalls } from "./libc.ts";
import { type Handle, type LibSsl, present } from "./libssl.ts";
import { type TlsBuffers, TlsChannel } from "./tls_channel.ts";

/** SSL_CTX_ctrl, SSL_ctrl. */
const CONTROL = {
  mode: 33,
  sessionCache: 44,
  serverName: 55,
  chainCertificate: 89,
  groups: 92,
  dhAuto: 118,
  oldestVersion: 123,
  newestVersion: 124,
} as const;

const SSL_MODE_RELEASE_BUFFERS = 0x10;
const SSL_SESS_CACHE_OFF = 0;

/** SSL_OP_…, each a bit. */
const OPTION = {
  noTicket: 1n << 14n,
  noCompression: 1n << 17n,
  preferOurCiphers: 1n << 22n,
  noRenegotiation: 1n << 30n,
} as const;

/** What a version is to OpenSSL, and the option that leaves it out. */
const VERSION: Readonly<Record<TlsVersion, { readonly number: number; readonly no: bigint }>> = {
  "TLSv1": { number: 0x301, no: 1n << 26n },
  "TLSv1.1": { number: 0x302, no: 1n << 28n },
  "TLSv1.2": { number: 0x303, no: 1n << 27n },
  "TLSv1.3": { number: 0x304, no: 1n << 29n },
};

/** SSL_VERIFY_…. */
const VERIFY = { none: 0, peer: 1, required: 1 | 2 } as const;

/** SSL_CTX_set_dh_auto: by the strength of the key, or one of 1024 bits (RFC 2409). */
const DH_AUTO = { auto: 1, legacy: 2 } as const;

const X509_V_FLAG_CRL_CHECK = 0x4;
const X509_V_FLAG_CRL_CHECK_ALL = 0x8;

/** A star stands for a whole label only (RFC 6125), as in libpq. */
const X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS = 0x4;

/** What a reader of PEM answers at the end: PEM_R_NO_START_LINE. */
const PEM_END = 108;

/** In the head of a key in PEM that takes a passphrase, in either of its forms. */
const ENCRYPTED_KEY = "ENCRYPTED";

/** An empty passphrase: asked for one, OpenSSL would ask whoever is at the terminal. */
const NO_PASSPHRASE = cText("");

/** Reads the next object of a kind. */
type PemReader = (memory: Handle, out: null, callback: null, argument: null) => Deno.PointerValue;

/** A context, ready for use. */
export class NativeTlsContext implements TlsContext {
  readonly peer: "client" | "server";
  readonly libssl: LibSsl;
  readonly #buffers: TlsBuffers;
  readonly #verifiesName: boolean;
  #handle: Handle | undefined;

  /** @throws {TlsSetupError} If something in the options is no good. */
  constructor(libssl: LibSsl, buffers: TlsBuffers, options: TlsContextOptions) {
    this.libssl = libssl;
    this.#buffers = buffers;
    this.peer = options.peer;
    this.#verifiesName = options.peer === "server" && options.verification === "name";
    this.#handle = libssl.newContext();
    try {
      new ContextSetup(libssl, this.#handle).run(options);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * A channel to a peer, whose handshake is to come; takes the descriptor over. `serverName` is the
   * peer's if it is a server.
   * @throws {TlsHandshakeError} If the context was disposed of, or a name is needed and none is given.
   */
  newChannel(libc: LibcCalls, descriptor: number, serverName: string | undefined): TlsChannel {
    const connection = this.#newConnection(serverName);
    const { libssl } = this;
    return new TlsChannel({ libc, libssl, buffers: this.#buffers, descriptor, connection });
  }

  [Symbol.dispose](): void {
    if (this.#handle !== undefined) this.libssl.freeContext(this.#handle);
    this.#handle = undefined;
  }

  #newConnection(serverName: string | undefined): Handle {
    if (this.#handle === undefined) throw new TlsHandshakeError("TLS is set up no longer");
    if (this.peer === "client") return this.libssl.newConnection(this.#handle, "server");
    if (this.#verifiesName && !serverName) {
      throw new TlsHandshakeError("the server has no name that its certificate could be of");
    }
    const connection = this.libssl.newConnection(this.#handle, "client");
    if (serverName) this.#setName(connection, serverName);
    return connection;
  }

  #setName(connection: Handle, serverName: string): void {
    const { calls } = this.libssl;
    const name = cText(serverName);
    const isAddress = isIP(serverName) !== 0;
    if (!isAddress) calls.SSL_ctrl(connection, CONTROL.serverName, 0n, name);
    if (!this.#verifiesName) return;
    const isSet = isAddress
      ? calls.X509_VERIFY_PARAM_set1_ip_asc(calls.SSL_get0_param(connection), name)
      : calls.SSL_set1_host(connection, name);
    calls.SSL_set_hostflags(connection, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (isSet === 1) return;
    this.libssl.free(connection);
    throw new TlsHandshakeError(`"${serverName}" cannot be the name of a certificate`);
  }
}

/** Fills one SSL_CTX. */
class ContextSetup {
  readonly #libssl: LibSsl;
  readonly #context: Handle;

  constructor(libssl: LibSsl, context: Handle) {
    this.#libssl = libssl;
    this.#context = context;
  }

  run(options: TlsContextOptions): void {
    this.#setBasics();
    this.#setVersions(options.versions);
    this.#setCiphers(options);
    this.#checkSecurityLevel(options.versions);
    this.#setIdentity(options);
    if (options.authorities !== undefined) this.#setAuthorities(options.authorities, options.peer);
    if (options.revocations !== undefined) this.#setRevocations(options.revocations);
    if (options.peer === "client") this.#setForClients(options);
    else this.#setForServers(options);
    this.#libssl.calls.ERR_clear_error();
  }

  #setBasics(): void {
    const { calls } = this.#libssl;
    const { noCompression, noRenegotiation, noTicket } = OPTION;
    calls.SSL_CTX_set_options(this.#context, noCompression | noRenegotiation | noTicket);
    // The option is about versions below 1.3.
    calls.SSL_CTX_set_num_tickets(this.#context, 0n);
    this.#control(CONTROL.mode, SSL_MODE_RELEASE_BUFFERS);
    this.#control(CONTROL.sessionCache, SSL_SESS_CACHE_OFF);
  }

  #setVersions(versions: readonly TlsVersion[]): void {
    const wanted = TLS_VERSIONS.filter((version) => versions.includes(version));
    const oldest = wanted[0];
    const newest = wanted.at(-1);
    if (oldest === undefined || newest === undefined) {
      throw new TlsSetupError("No version of TLS is allowed");
    }
    this.#control(CONTROL.oldestVersion, VERSION[oldest].number);
    this.#control(CONTROL.newestVersion, VERSION[newest].number);
    const missing = TLS_VERSIONS.filter((version) => !wanted.includes(version));
    const options = missing.reduce((bits, version) => bits | VERSION[version].no, 0n);
    this.#libssl.calls.SSL_CTX_set_options(this.#context, options);
  }

  /** OpenSSL 3 speaks versions below 1.2 at security level 0 only, and would say so to the peer alone. */
  #checkSecurityLevel(versions: readonly TlsVersion[]): void {
    const isOld = versions.every((version) => VERSION[version].number < VERSION["TLSv1.2"].number);
    const level = this.#libssl.calls.SSL_CTX_get_security_level(this.#context);
    if (!isOld || level === 0) return;
    const names = versions.join(", ");
    throw new TlsSetupError(`${names} would need ciphers with @SECLEVEL=0 (here it is ${level})`);
  }

  #setCiphers({ cipherSuites, ciphers }: TlsContextOptions): void {
    const { calls } = this.#libssl;
    if (ciphers !== undefined) {
      const result = calls.SSL_CTX_set_cipher_list(this.#context, cText(ciphers));
      this.#check(result, `No cipher is known in "${ciphers}"`);
    }
    if (cipherSuites !== undefined) {
      const result = calls.SSL_CTX_set_ciphersuites(this.#context, cText(cipherSuites));
      this.#check(result, `An unknown cipher suite of TLS 1.3 is in "${cipherSuites}"`);
    }
  }

  #setIdentity({ certificateChain, key, peer }: TlsContextOptions): void {
    if (certificateChain === undefined && key === undefined && peer === "server") return;
    if (certificateChain === undefined) throw new TlsSetupError("There is no certificate");
    if (key === undefined) throw new TlsSetupError("The key of the certificate is missing");
    this.#setCertificate(certificateChain);
    this.#setKey(key);
  }

  #setCertificate(pem: Uint8Array<ArrayBuffer>): void {
    const { calls } = this.#libssl;
    let count = 0;
    this.#eachCertificate(pem, "the certificate file", (certificate) => {
      const result = count === 0
        ? calls.SSL_CTX_use_certificate(this.#context, certificate)
        // 1: with a reference of its own.
        : calls.SSL_CTX_ctrl(this.#context, CONTROL.chainCertificate, 1n, certificate);
      this.#check(result, "The certificate cannot be used");
      count += 1;
    });
  }

  #setKey(pem: Uint8Array<ArrayBuffer>): void {
    const { calls } = this.#libssl;
    // Over the caller's own bytes, which are wiped afterwards.
    const isEncrypted = Buffer.from(pem.buffer, pem.byteOffset, pem.byteLength)
      .includes(ENCRYPTED_KEY);
    if (isEncrypted) throw new TlsSetupError("The key is encrypted");
    const key = this.#reading(
      pem,
      (memory) => calls.PEM_read_bio_PrivateKey(memory, null, null, NO_PASSPHRASE),
    );
    if (key === null) this.#fail("The key cannot be read");
    const result = calls.SSL_CTX_use_PrivateKey(this.#context, key);
    calls.EVP_PKEY_free(key);
    this.#check(result, "The key is not that of the certificate");
  }

  #setAuthorities(pem: Uint8Array<ArrayBuffer>, peer: "client" | "server"): void {
    const { calls } = this.#libssl;
    const store = this.#store();
    this.#eachCertificate(pem, "the file of authorities", (certificate) => {
      const result = calls.X509_STORE_add_cert(store, certificate);
      this.#check(result, "The certificate of an authority cannot be used");
      // Clients are told whose certificates are of use.
      if (peer === "client") calls.SSL_CTX_add_client_CA(this.#context, certificate);
    });
  }

  #setRevocations(pem: Uint8Array<ArrayBuffer>): void {
    const { calls } = this.#libssl;
    const store = this.#store();
    this.#each(pem, calls.PEM_read_bio_X509_CRL, {
      what: "the list of revoked certificates",
      use: (list) => {
        const result = calls.X509_STORE_add_crl(store, list);
        this.#check(result, "The list of revoked certificates cannot be used");
      },
      free: calls.X509_CRL_free,
    });
    calls.X509_STORE_set_flags(store, BigInt(X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL));
  }

  #setForClients({ curves, dhGroup, verification }: ClientTlsOptions): void {
    const { calls } = this.#libssl;
    calls.SSL_CTX_set_options(this.#context, OPTION.preferOurCiphers);
    if (curves !== undefined) {
      const { SSL_CTX_ctrl_text: control } = calls;
      const result = control(this.#context, CONTROL.groups, 0n, cText(curves));
      this.#check(result, `An unknown curve is in "${curves}"`);
    }
    if (dhGroup !== "none") this.#control(CONTROL.dhAuto, DH_AUTO[dhGroup]);
    this.#libssl.selectProtocol(this.#context);
    const isOptional = verification === "optional";
    const mode = isOptional ? VERIFY.peer : VERIFY[verification];
    this.#libssl.setVerification(this.#context, mode, isOptional);
  }

  #setForServers({ verification }: ServerTlsOptions): void {
    if (!this.#libssl.offerProtocol(this.#context)) this.#fail("ALPN cannot be set up");
    const mode = verification === "none" ? VERIFY.none : VERIFY.peer;
    this.#libssl.setVerification(this.#context, mode, false);
  }

  #store(): Handle {
    return present(this.#libssl.calls.SSL_CTX_get_cert_store(this.#context));
  }

  #control(what: number, value: number): void {
    this.#libssl.calls.SSL_CTX_ctrl(this.#context, what, BigInt(value), null);
  }

  #eachCertificate(
    pem: Uint8Array<ArrayBuffer>,
    what: string,
    use: (certificate: Handle) => void,
  ): void {
    const { calls } = this.#libssl;
    this.#each(pem, calls.PEM_read_bio_X509, { what, use, free: calls.X509_free });
  }

  /** Calls `use` with each object in `pem`, of which there has to be one at least. */
  #each(
    pem: Uint8Array<ArrayBuffer>,
    read: PemReader,
    { free, use, what }: {
      readonly what: string;
      readonly use: (object: Handle) => void;
      readonly free: (object: Handle) => void;
    },
  ): void {
    this.#reading(pem, (memory) => {
      for (let count = 0;; count++) {
        const object = read(memory, null, null, null);
        if (object === null) {
          const { code, text } = this.#libssl.reason();
          if (code !== PEM_END) throw new TlsSetupError(`There is broken PEM in ${what} (${text})`);
          if (count === 0) throw new TlsSetupError(`There is no PEM in ${what}`);
          return;
        }
        try {
          use(object);
        } finally {
          free(object);
        }
      }
    });
  }

  /** Lets OpenSSL read bytes, which it wipes afterwards. */
  #reading<T>(pem: Uint8Array<ArrayBuffer>, read: (memory: Handle) => T): T {
    const memory = this.#libssl.newMemory();
    try {
      if (pem.length > 0) this.#libssl.calls.BIO_write(memory, pem, pem.length);
      return read(memory);
    } finally {
      this.#libssl.calls.BIO_free(memory);
    }
  }

  #check(result: number, what: string): void {
    if (result !== 1) this.#fail(what);
  }

  /** @throws {TlsSetupError} Always. */
  #fail(what: string): never {
    throw new TlsSetupError(`${what} (${this.#libssl.reason().text})`);
  }
}
