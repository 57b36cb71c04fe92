/**
 * The calls of OpenSSL 3 that TLS on the native engine is made of (`libssl.so.3`), typed. Pointers are
 * handed around in this folder only.
 *
 * All connections share two BIOs in memory, one into which what was received is put and one from which
 * what is to be sent is taken. Both are empty whenever another connection may get its turn. So an idle
 * connection has no buffer, and each chunk costs one `recv` or one `send`.
 *
 * HOT PATH: `feed()`, `read()`, `write()` and `take()` are compiled in line, pointers included, as
 * long as there is one `LibSsl` in the process.
 *
 * Invariant: OpenSSL's queue of errors is empty between two calls; whoever meets a failure empties it.
 * Source: OpenSSL 3.0, include/openssl/{ssl,bio,err,x509_vfy}.h, and its manual pages.
 */

import { assert } from "../../base/assert.ts";
import { TLS_PROTOCOL, type TlsInUse } from "../tls.ts";
import { NoLibcError, openLibrary } from "./libc.ts";

/** A pointer to some object of OpenSSL's. */
export type Handle = Deno.PointerObject;

/** How much may be fed at once: with a record before it of which a part has come, 64 KiB at most. */
export const MAX_FEED_BYTES = 49_152;

/** How much is to be written at once. */
export const MAX_WRITE_BYTES = 32_768;

/** Room for all that comes of one write, and some. */
export const TAKE_BYTES = 65_536;

const OPENSSL_VERSION_STRING = 6;
const OLDEST_VERSION = 0x3000_0000;

const SSL_ERROR_WANT_READ = 2;
const SSL_ERROR_ZERO_RETURN = 6;

const SSL_TLSEXT_ERR_OK = 0;
const SSL_TLSEXT_ERR_ALERT_FATAL = 2;
const OPENSSL_NPN_NEGOTIATED = 1;

const SSL_R_CERTIFICATE_VERIFY_FAILED = 134;
const X509_V_OK = 0;

/** The protocols that are offered or taken, each behind its length (RFC 7301). */
const PROTOCOLS = protocolList(TLS_PROTOCOL);

/** OpenSSL's functions. A `long` or `size_t` that is small is taken for its lower 32 bits. */
export const SYMBOLS = {
  BIO_ctrl_pending: { parameters: ["pointer"], result: "i32" },
  BIO_free: { parameters: ["pointer"], result: "i32" },
  BIO_new: { parameters: ["pointer"], result: "pointer" },
  BIO_read: { parameters: ["pointer", "buffer", "i32"], result: "i32" },
  BIO_s_mem: { parameters: [], result: "pointer" },
  BIO_up_ref: { parameters: ["pointer"], result: "i32" },
  BIO_write: { parameters: ["pointer", "buffer", "i32"], result: "i32" },
  ERR_clear_error: { parameters: [], result: "void" },
  ERR_peek_last_error: { parameters: [], result: "u32" },
  ERR_reason_error_string: { parameters: ["u64"], result: "pointer" },
  EVP_PKEY_free: { parameters: ["pointer"], result: "void" },
  OpenSSL_version: { parameters: ["i32"], result: "pointer" },
  OpenSSL_version_num: { parameters: [], result: "u32" },
  PEM_read_bio_PrivateKey: {
    parameters: ["pointer", "pointer", "pointer", "buffer"],
    result: "pointer",
  },
  PEM_read_bio_X509: {
    parameters: ["pointer", "pointer", "pointer", "pointer"],
    result: "pointer",
  },
  PEM_read_bio_X509_CRL: {
    parameters: ["pointer", "pointer", "pointer", "pointer"],
    result: "pointer",
  },
  SSL_CIPHER_get_name: { parameters: ["pointer"], result: "pointer" },
  SSL_CIPHER_get_protocol_id: { parameters: ["pointer"], result: "u16" },
  SSL_CTX_add_client_CA: { parameters: ["pointer", "pointer"], result: "i32" },
  SSL_CTX_ctrl: { parameters: ["pointer", "i32", "i64", "pointer"], result: "i32" },
  SSL_CTX_ctrl_text: {
    name: "SSL_CTX_ctrl",
    parameters: ["pointer", "i32", "i64", "buffer"],
    result: "i32",
  },
  SSL_CTX_free: { parameters: ["pointer"], result: "void" },
  SSL_CTX_get_cert_store: { parameters: ["pointer"], result: "pointer" },
  SSL_CTX_get_security_level: { parameters: ["pointer"], result: "i32" },
  SSL_CTX_new: { parameters: ["pointer"], result: "pointer" },
  SSL_CTX_set_alpn_protos: { parameters: ["pointer", "buffer", "u32"], result: "i32" },
  SSL_CTX_set_alpn_select_cb: { parameters: ["pointer", "function", "pointer"], result: "void" },
  SSL_CTX_set_cipher_list: { parameters: ["pointer", "buffer"], result: "i32" },
  SSL_CTX_set_ciphersuites: { parameters: ["pointer", "buffer"], result: "i32" },
  SSL_CTX_set_num_tickets: { parameters: ["pointer", "u64"], result: "i32" },
  SSL_CTX_set_options: { parameters: ["pointer", "u64"], result: "u64" },
  SSL_CTX_set_verify: { parameters: ["pointer", "i32", "function"], result: "void" },
  SSL_CTX_use_PrivateKey: { parameters: ["pointer", "pointer"], result: "i32" },
  SSL_CTX_use_certificate: { parameters: ["pointer", "pointer"], result: "i32" },
  SSL_ctrl: { parameters: ["pointer", "i32", "i64", "buffer"], result: "i32" },
  SSL_do_handshake: { parameters: ["pointer"], result: "i32" },
  SSL_free: { parameters: ["pointer"], result: "void" },
  SSL_get0_alpn_selected: { parameters: ["pointer", "buffer", "buffer"], result: "void" },
  SSL_get0_param: { parameters: ["pointer"], result: "pointer" },
  SSL_get1_peer_certificate: { parameters: ["pointer"], result: "pointer" },
  SSL_get_current_cipher: { parameters: ["pointer"], result: "pointer" },
  SSL_get_error: { parameters: ["pointer", "i32"], result: "i32" },
  SSL_get_verify_result: { parameters: ["pointer"], result: "i32" },
  SSL_get_version: { parameters: ["pointer"], result: "pointer" },
  SSL_has_pending: { parameters: ["pointer"], result: "i32" },
  SSL_new: { parameters: ["pointer"], result: "pointer" },
  SSL_peek: { parameters: ["pointer", "buffer", "i32"], result: "i32" },
  SSL_read: { parameters: ["pointer", "buffer", "i32"], result: "i32" },
  SSL_select_next_proto: {
    parameters: ["pointer", "pointer", "buffer", "u32", "pointer", "u32"],
    result: "i32",
  },
  SSL_set1_host: { parameters: ["pointer", "buffer"], result: "i32" },
  SSL_set_accept_state: { parameters: ["pointer"], result: "void" },
  SSL_set_bio: { parameters: ["pointer", "pointer", "pointer"], result: "void" },
  SSL_set_connect_state: { parameters: ["pointer"], result: "void" },
  SSL_set_hostflags: { parameters: ["pointer", "u32"], result: "void" },
  SSL_shutdown: { parameters: ["pointer"], result: "i32" },
  SSL_version: { parameters: ["pointer"], result: "i32" },
  SSL_write: { parameters: ["pointer", "buffer", "i32"], result: "i32" },
  TLS_method: { parameters: [], result: "pointer" },
  X509_CRL_free: { parameters: ["pointer"], result: "void" },
  X509_STORE_add_cert: { parameters: ["pointer", "pointer"], result: "i32" },
  X509_STORE_add_crl: { parameters: ["pointer", "pointer"], result: "i32" },
  X509_STORE_set_flags: { parameters: ["pointer", "u64"], result: "i32" },
  X509_VERIFY_PARAM_set1_ip_asc: { parameters: ["pointer", "buffer"], result: "i32" },
  X509_free: { parameters: ["pointer"], result: "void" },
  X509_verify_cert_error_string: { parameters: ["i64"], result: "pointer" },
  i2d_X509: { parameters: ["pointer", "buffer"], result: "i32" },
} as const;

const SELECT_PROTOCOL = {
  parameters: ["pointer", "pointer", "pointer", "pointer", "u32", "pointer"],
  result: "i32",
} as const;

const VERIFY = { parameters: ["i32", "pointer"], result: "i32" } as const;

/** OpenSSL's functions as they are, for whoever sets something up with them. */
export type LibSslCalls = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** Why there is no OpenSSL to call. */
export class NoLibSslError extends Error {
  override readonly name = "NoLibSslError";
}

/** What came of a call; a count is never negative. */
export const OUTCOME = { wait: -1, closed: -2, failed: -3 } as const;

/** OpenSSL. */
export class LibSsl implements Disposable {
  /** `OpenSSL 3.0.17`. */
  readonly name: string;
  readonly calls: LibSslCalls;
  readonly #call: LibSslCalls;
  readonly #library: Deno.DynamicLibrary<typeof SYMBOLS>;
  readonly #received: Handle;
  readonly #toSend: Handle;
  /** Called by `SSL_do_handshake`, on this thread, while that is being called. */
  readonly #selectProtocol: Deno.UnsafeCallback<typeof SELECT_PROTOCOL>;
  readonly #verifyAny: Deno.UnsafeCallback<typeof VERIFY>;
  /** By version and cipher. */
  readonly #inUse = new Map<number, TlsInUse>();
  #connectionCount = 0;
  #isClosed = false;

  private constructor(library: Deno.DynamicLibrary<typeof SYMBOLS>) {
    const call = library.symbols;
    this.#library = library;
    this.calls = this.#call = call;
    this.name = `OpenSSL ${textAt(call.OpenSSL_version(OPENSSL_VERSION_STRING))}`;
    this.#received = this.newMemory();
    this.#toSend = this.newMemory();
    this.#selectProtocol = new Deno.UnsafeCallback(
      SELECT_PROTOCOL,
      (_connection, out, outLength, offered, offeredLength) => {
        const { SSL_select_next_proto: select } = call;
        const ours = PROTOCOLS.length;
        const selected = select(out, outLength, PROTOCOLS, ours, offered, offeredLength);
        return selected === OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
      },
    );
    this.#verifyAny = new Deno.UnsafeCallback(VERIFY, (isGood) => {
      // What was wrong is remembered elsewhere, and this is no failure of the connection.
      if (isGood !== 1) call.ERR_clear_error();
      return 1;
    });
  }

  /**
   * Opens the library.
   * @throws {NoLibSslError} If it is not there, is older than 3.0, or FFI is not allowed.
   */
  static open(): LibSsl {
    const library = tryLibrary();
    if (library.symbols.OpenSSL_version_num() >= OLDEST_VERSION) return new LibSsl(library);
    library.close();
    throw new NoLibSslError("libssl.so.3 is older than OpenSSL 3.0");
  }

  /** Who still has a connection would call into nothing: then the library stays. */
  [Symbol.dispose](): void {
    if (this.#connectionCount > 0) return;
    this.#isClosed = true;
    this.#call.BIO_free(this.#received);
    this.#call.BIO_free(this.#toSend);
    this.#selectProtocol.close();
    this.#verifyAny.close();
    this.#library.close();
  }

  /** Takes `TLS_PROTOCOL` where a client offers protocols, and refuses a client that offers others. */
  selectProtocol(context: Handle): void {
    this.#call.SSL_CTX_set_alpn_select_cb(context, this.#selectProtocol.pointer, null);
  }

  /** Offers `TLS_PROTOCOL`. */
  offerProtocol(context: Handle): boolean {
    // It answers 0 when it has done it.
    return this.#call.SSL_CTX_set_alpn_protos(context, PROTOCOLS, PROTOCOLS.length) === 0;
  }

  /** Sets how certificates are verified; `goesOn` in spite of any failure, which is remembered. */
  setVerification(context: Handle, mode: number, goesOn: boolean): void {
    this.#call.SSL_CTX_set_verify(context, mode, goesOn ? this.#verifyAny.pointer : null);
  }

  /** Memory that can be read from and written to (BIO); belongs to the caller. */
  newMemory(): Handle {
    return present(this.#call.BIO_new(this.#call.BIO_s_mem()));
  }

  /** A new context (SSL_CTX); to be freed with `freeContext()`. */
  newContext(): Handle {
    return present(this.#call.SSL_CTX_new(this.#call.TLS_method()));
  }

  /** Gives a context up; its connections have a reference each. */
  freeContext(context: Handle): void {
    if (!this.#isClosed) this.#call.SSL_CTX_free(context);
  }

  /** A connection that has said nothing yet; to be freed with `free()`. */
  newConnection(context: Handle, role: "server" | "client"): Handle {
    const connection = present(this.#call.SSL_new(context));
    // One reference each goes with the connection.
    this.#call.BIO_up_ref(this.#received);
    this.#call.BIO_up_ref(this.#toSend);
    this.#call.SSL_set_bio(connection, this.#received, this.#toSend);
    if (role === "server") this.#call.SSL_set_accept_state(connection);
    else this.#call.SSL_set_connect_state(connection);
    this.#connectionCount += 1;
    return connection;
  }

  /** Ends a connection's memory. */
  free(connection: Handle): void {
    this.#call.SSL_free(connection);
    this.#connectionCount -= 1;
  }

  /** Puts what was received where the next call finds it: `length` bytes, `MAX_FEED_BYTES` at most. */
  feed(buffer: Uint8Array, length: number): void {
    const taken = this.#call.BIO_write(this.#received, buffer as Bytes, length);
    assert(taken === length && length <= MAX_FEED_BYTES, "What was received can be fed");
  }

  /** Goes on with the handshake. Returns 1 when it is done, or an `OUTCOME`. */
  handshake(connection: Handle): number {
    const outcome = this.#outcome(connection, this.#call.SSL_do_handshake(connection));
    // What it tried in vain before it found what it needed may be left there.
    if (outcome !== OUTCOME.failed) this.#call.ERR_clear_error();
    return outcome;
  }

  /** Bytes decrypted into `buffer`, at most `length`; or an `OUTCOME`. */
  read(connection: Handle, buffer: Uint8Array, length: number): number {
    const count = this.#call.SSL_read(connection, buffer as Bytes, length);
    return count > 0 ? count : this.#outcome(connection, count);
  }

  /** As `read()`, and the bytes stay. */
  peek(connection: Handle, buffer: Uint8Array, length: number): number {
    const count = this.#call.SSL_peek(connection, buffer as Bytes, length);
    return count > 0 ? count : this.#outcome(connection, count);
  }

  /** Encrypts the first `length` bytes; or an `OUTCOME`. To be taken with `take()`. */
  write(connection: Handle, buffer: Uint8Array, length: number): number {
    const count = this.#call.SSL_write(connection, buffer as Bytes, length);
    return count > 0 ? count : this.#outcome(connection, count);
  }

  /** Encrypts that nothing more will be sent, if that can be done now. */
  shutdown(connection: Handle): void {
    // It fails in the middle of a message of the handshake's, which a peer may send at any time.
    if (this.#call.SSL_shutdown(connection) < 0) this.#call.ERR_clear_error();
  }

  /** Whether a part of a record was decrypted that no read has given out. */
  hasUnread(connection: Handle): boolean {
    return this.#call.SSL_has_pending(connection) !== 0;
  }

  /** How many bytes wait to be taken. */
  get toSendCount(): number {
    return this.#call.BIO_ctrl_pending(this.#toSend);
  }

  /** Takes what is to be sent, as far as `buffer` has room. Returns how much. */
  take(buffer: Uint8Array): number {
    return this.#call.BIO_read(this.#toSend, buffer as Bytes, buffer.length);
  }

  /** How many bytes were fed that libssl has not taken. */
  get unfedCount(): number {
    return this.#call.BIO_ctrl_pending(this.#received);
  }

  /** Takes them back into `buffer`. */
  takeBack(buffer: Uint8Array): void {
    this.#call.BIO_read(this.#received, buffer as Bytes, buffer.length);
  }

  /** Why the last call failed, in OpenSSL's words; empties the queue of errors. */
  reason(): { readonly code: number; readonly text: string } {
    const error = this.#call.ERR_peek_last_error();
    const text = this.#call.ERR_reason_error_string(BigInt(error));
    this.#call.ERR_clear_error();
    // Of 32 bits the lower 23 are the reason, above them is the part of the library.
    return { code: error & 0x7f_ffff, text: text === null ? "unknown error" : textAt(text) };
  }

  /** Why a handshake failed, with what is wrong with a certificate. */
  handshakeReason(connection: Handle): string {
    const { code, text } = this.reason();
    if (code !== SSL_R_CERTIFICATE_VERIFY_FAILED) return text;
    const result = BigInt(this.#call.SSL_get_verify_result(connection));
    return `${text} (${textAt(this.#call.X509_verify_cert_error_string(result))})`;
  }

  /** Version and cipher of a connection: the same object for all that have the same. */
  inUse(connection: Handle): TlsInUse {
    const call = this.#call;
    const cipher = present(call.SSL_get_current_cipher(connection));
    const key = call.SSL_version(connection) << 16 | call.SSL_CIPHER_get_protocol_id(cipher);
    let inUse = this.#inUse.get(key);
    if (inUse === undefined) {
      inUse = {
        version: textAt(call.SSL_get_version(connection)),
        cipher: textAt(call.SSL_CIPHER_get_name(cipher)),
      };
      this.#inUse.set(key, inUse);
    }
    return inUse;
  }

  /** Whether a protocol was agreed upon; there is but one. */
  hasProtocol(connection: Handle): boolean {
    const length = new Uint32Array(new ArrayBuffer(4));
    const at = new Uint8Array(8);
    this.#call.SSL_get0_alpn_selected(connection, at, new Uint8Array(length.buffer));
    return length[0]! > 0;
  }

  /** What the peer has shown, in DER. */
  peerCertificate(connection: Handle): Uint8Array<ArrayBuffer> | undefined {
    const certificate = this.#call.SSL_get1_peer_certificate(connection);
    if (certificate === null) return undefined;
    const der = new Uint8Array(new ArrayBuffer(this.#call.i2d_X509(certificate, null)));
    const at = new BigUint64Array([Deno.UnsafePointer.value(Deno.UnsafePointer.of(der))]);
    this.#call.i2d_X509(certificate, new Uint8Array(at.buffer));
    this.#call.X509_free(certificate);
    return der;
  }

  /** Whether nothing is wrong with the certificate that the peer has shown, if any. */
  isVerified(connection: Handle): boolean {
    return this.#call.SSL_get_verify_result(connection) === X509_V_OK;
  }

  #outcome(connection: Handle, result: number): number {
    if (result > 0) return result;
    const error = this.#call.SSL_get_error(connection, result);
    if (error === SSL_ERROR_WANT_READ) return OUTCOME.wait;
    return error === SSL_ERROR_ZERO_RETURN ? OUTCOME.closed : OUTCOME.failed;
  }
}

type Bytes = Uint8Array<ArrayBuffer>;

/** What OpenSSL answers when it has memory; without, nothing here can go on. */
export function present(handle: Deno.PointerValue): Handle {
  assert(handle !== null, "OpenSSL has memory");
  return handle;
}

function textAt(pointer: Deno.PointerValue): string {
  return Deno.UnsafePointerView.getCString(present(pointer));
}

/** In memory that stays where it is: OpenSSL is given its address. */
function protocolList(name: string): Bytes {
  const list = new Uint8Array(new ArrayBuffer(1 + name.length));
  list[0] = name.length;
  new TextEncoder().encodeInto(name, list.subarray(1));
  return list;
}

function tryLibrary(): Deno.DynamicLibrary<typeof SYMBOLS> {
  try {
    return openLibrary({ file: "libssl.so.3", name: "OpenSSL 3" }, SYMBOLS, "TLS");
  } catch (error) {
    if (error instanceof NoLibcError) throw new NoLibSslError(error.message, { cause: error });
    throw error;
  }
}
