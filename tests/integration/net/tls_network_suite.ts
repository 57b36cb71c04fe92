/** What every engine that speaks TLS on real sockets must do. */

import { makeTlsMaterial, tlsOfBothEnds } from "../../support/tls_material.ts";
import { byteStreamSuite } from "../../unit/net/byte_stream_suite.ts";
import type { TlsAbilities } from "../../unit/net/tls_pair.ts";
import { tlsLeftoversSuite } from "../../unit/net/tls_leftovers_suite.ts";
import { tlsStreamSuite } from "../../unit/net/tls_stream_suite.ts";
import { type OpenEngine, overTcp } from "./socket_network_suite.ts";

/** More than the kernel's buffers hold, and less than what takes long to encrypt. */
const FLOOD_BYTES = 16 * 1024 * 1024;

/** Registers all tests of an engine's TLS. */
export function tlsNetworkSuite(name: string, open: OpenEngine, abilities: TlsAbilities): void {
  const material = makeTlsMaterial();
  const overTls = async () => {
    const under = await overTcp(open);
    return {
      ...under,
      floodBytes: FLOOD_BYTES,
      tls: () => tlsOfBothEnds(under.network.tls, material),
    };
  };
  byteStreamSuite({ name: `${name} TLS`, open: overTls });
  const options = { name: `${name} TLS, from plain text`, open: overTls, material, abilities };
  tlsStreamSuite(options);
  tlsLeftoversSuite(options);
}
