/** For streams that do not speak TLS. */

import { type TlsHandshake, TlsHandshakeError } from "../../src/net/tls.ts";

/** A handshake that does not come about. */
export function noHandshake(): Promise<TlsHandshake> {
  return Promise.reject(new TlsHandshakeError("TLS is not spoken here"));
}
