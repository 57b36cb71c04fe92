/** TLS of the portable engine, which is the runtime's. */

import { openPortableEngine } from "./portable_engine.ts";
import { tlsNetworkSuite } from "./tls_network_suite.ts";

tlsNetworkSuite("portable", openPortableEngine, {
  oldVersions: false,
  revocations: false,
  alerts: false,
  ciphers: false,
  curves: false,
});
