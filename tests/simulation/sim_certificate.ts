/** The certificate of all simulated runs. */

import type { TestCertificate } from "../support/certificates.ts";
import { utf8 } from "../support/messages.ts";
import { ECDSA_SHA384 } from "../unit/auth/certificates.ts";

/** Always the same, so that a run is, too: certificates that are made differ in length. */
export const SIM_CERTIFICATE: TestCertificate = {
  certificate: pem("CERTIFICATE", ECDSA_SHA384.der.toBase64()),
  key: pem("PRIVATE KEY", ECDSA_SHA384.key),
  der: ECDSA_SHA384.der,
  serial: 0,
};

function pem(what: string, base64: string): Uint8Array<ArrayBuffer> {
  return utf8(`-----BEGIN ${what}-----\n${base64}\n-----END ${what}-----\n`);
}
