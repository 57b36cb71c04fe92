/** For engines and streams that do not speak TLS. */

import {
  type TlsContext,
  type TlsEngine,
  type TlsHandshake,
  TlsHandshakeError,
  TlsSetupError,
} from "./tls.ts";

/** Refuses to be set up, and says why. */
export class NoTls implements TlsEngine {
  readonly name = "none";
  readonly reason: string;

  constructor(reason = "TLS is not spoken here") {
    this.reason = reason;
  }

  makeContext(): TlsContext {
    throw new TlsSetupError(this.reason);
  }
}

/** A handshake that does not come about. */
export function noHandshake(): Promise<TlsHandshake> {
  return Promise.reject(new TlsHandshakeError("TLS is not spoken here"));
}
