/** That no connection leaves anything in what it shares with the others inside of OpenSSL. */

import assert from "node:assert/strict";
import { LibSsl, OUTCOME } from "../../../src/net/native/libssl.ts";

// A peer brings this about by half a message after the handshake (RFC 8446, section 5.1), and the
// next read of somebody else's would be taken for one that has failed.
Deno.test({
  name: "libssl: a shutdown that fails leaves no error behind",
  ignore: Deno.build.os !== "linux",
  fn() {
    using libssl = LibSsl.open();
    const context = libssl.newContext();
    const connection = libssl.newConnection(context, "client");
    assert.equal(libssl.handshake(connection), OUTCOME.wait);
    libssl.shutdown(connection);
    assert.equal(libssl.calls.ERR_peek_last_error(), 0);
    libssl.take(new Uint8Array(4_096));
    libssl.free(connection);
    libssl.freeContext(context);
  },
});
