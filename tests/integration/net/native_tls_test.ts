/** TLS on the native engine: what every engine has to do, over real sockets of this machine. */

import { byteStreamSuite } from "../../unit/net/byte_stream_suite.ts";
import type { NetworkUnderTest } from "../../unit/net/stream_pair.ts";
import { tlsStreamSuite } from "../../unit/net/tls_stream_suite.ts";
import { everySecond, FAULT, givesLittle, takesLittle } from "../../support/faulty_libc.ts";
import { makeTlsMaterial, tlsOfBothEnds } from "../../support/tls_material.ts";
import { openNative } from "./native_engine_alone.ts";
import { type Unnoticed, withFaults } from "./native_faults.ts";
import { tlsNetworkSuite } from "./tls_network_suite.ts";

const MATERIAL = makeTlsMaterial();

const ABILITIES = {
  oldVersions: true,
  revocations: true,
  alerts: true,
  ciphers: true,
  curves: true,
};

/** A kernel that interrupts every second call, and takes and gives little. */
const FAULTY: Unnoticed = {
  name: "all at once",
  faults: () => ({
    ...everySecond(["send", "receive", "peek"], FAULT.interrupted),
    takes: takesLittle,
    gives: givesLittle(),
  }),
  isSlow: true,
};

/** An engine whose streams all speak TLS. */
async function secured(): Promise<NetworkUnderTest> {
  const under = await withFaults(FAULTY);
  return Object.assign(under, { tls: () => tlsOfBothEnds(under.network.tls, MATERIAL) });
}

if (Deno.build.os === "linux") {
  tlsNetworkSuite("native", openNative, ABILITIES);
  const name = "native TLS, a kernel with faults";
  const open = () => withFaults(FAULTY);
  byteStreamSuite({ name, open: secured });
  // An alert is sent if that can be at once.
  const abilities = { ...ABILITIES, alerts: false };
  tlsStreamSuite({ name, open, material: MATERIAL, abilities });
}
