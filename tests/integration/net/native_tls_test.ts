/** TLS on the native engine: what every engine has to do, over real sockets of this machine. */

import { byteStreamSuite } from "../../unit/net/byte_stream_suite.ts";
import type { NetworkUnderTest } from "../../unit/net/stream_pair.ts";
import { tlsStreamSuite } from "../../unit/net/tls_stream_suite.ts";
import { everySecond, FAULT, givesLittle, takesLittle } from "../../support/faulty_libc.ts";
import { makeTlsMaterial, tlsOfBothEnds } from "../../support/tls_material.ts";
import { type Unnoticed, withFaults } from "./native_faults.ts";

const MATERIAL = makeTlsMaterial();

const ABILITIES = { oldVersions: true, revocations: true, ciphers: true, curves: true };

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
async function secured(faults: Partial<Unnoticed>): Promise<NetworkUnderTest> {
  const under = await withFaults(faults);
  return Object.assign(under, { tls: () => tlsOfBothEnds(under.network.tls, MATERIAL) });
}

if (Deno.build.os === "linux") {
  const open = () => withFaults({});
  tlsStreamSuite({ name: "native", open, material: MATERIAL, abilities: ABILITIES });
  byteStreamSuite({ name: "native TLS", open: () => secured({}) });
  byteStreamSuite({ name: "native TLS, all faults at once", open: () => secured(FAULTY) });
}
