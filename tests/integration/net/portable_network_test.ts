/** The portable engine over real sockets of this machine. */

import { openPortableEngine } from "./portable_engine.ts";
import { sharedListenerSuite } from "./shared_listener_suite.ts";
import { socketNetworkSuite } from "./socket_network_suite.ts";

socketNetworkSuite("portable", openPortableEngine);
sharedListenerSuite("portable", openPortableEngine);
