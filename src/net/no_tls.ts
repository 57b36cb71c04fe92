/** For engines and streams that do not speak TLS. */

import {
  type TlsContext,
  type TlsEngine,
  type TlsHandshake,
  TlsHandshakeError,
  TlsSetupError,
} from "./tls.ts";

/** Refuses to be set up. */
export class NoTls implements TlsEngine {
  readonly name = "none";

  makeContext(): TlsContext {
    throw new TlsSetupError("TLS is not spoken here");
  }
}

/** A handshake that does not come about. */
export function noHandshake(): Promise<TlsHandshake> {
  return Promise.reject(new TlsHandshakeError("TLS is not spoken here"));
}
