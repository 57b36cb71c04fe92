/** The portable engine over real sockets of this machine. */

import { openPortableEngine } from "./portable_engine.ts";
import { socketNetworkSuite } from "./socket_network_suite.ts";

socketNetworkSuite("portable", openPortableEngine);
