/** TLS on the native engine: OpenSSL. */

import { NoTls } from "../no_tls.ts";
import type { TlsContext, TlsContextOptions, TlsEngine } from "../tls.ts";
import { LibSsl, NoLibSslError } from "./libssl.ts";
import { TlsBuffers } from "./tls_channel.ts";
import { NativeTlsContext } from "./tls_context.ts";

/** OpenSSL, ready for use; to be disposed of after all connections are closed. */
export class NativeTls implements TlsEngine, Disposable {
  readonly name: string;
  readonly #libssl: LibSsl;
  readonly #buffers = new TlsBuffers();

  private constructor(libssl: LibSsl) {
    this.#libssl = libssl;
    this.name = libssl.name;
  }

  /** Opens OpenSSL, or says why there is none. */
  static open(): NativeTls | NoTls {
    try {
      return new NativeTls(LibSsl.open());
    } catch (error) {
      if (error instanceof NoLibSslError) return new NoTls(error.message);
      throw error;
    }
  }

  makeContext(options: TlsContextOptions): TlsContext {
    return new NativeTlsContext(this.#libssl, this.#buffers, options);
  }

  [Symbol.dispose](): void {
    this.#libssl[Symbol.dispose]();
  }
}
