/** The native engine over real sockets of this machine. */

import { openNative } from "./native_engine_alone.ts";
import { sharedListenerSuite } from "./shared_listener_suite.ts";
import { socketNetworkSuite } from "./socket_network_suite.ts";

if (Deno.build.os === "linux") {
  socketNetworkSuite("native", openNative);
  sharedListenerSuite("native", openNative);
}
