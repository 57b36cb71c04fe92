/** TLS with the clients of a simulation, in some of the runs. */

import type { TlsContext } from "../../src/net/tls.ts";
import { utf8 } from "../support/messages.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { SimTls } from "../support/sim_tls_context.ts";
import { toServers } from "../support/tls_material.ts";
import { TLS_FILES, tlsLines } from "../support/tls_world.ts";
import { ECDSA_SHA384 } from "../unit/auth/certificates.ts";
import type { SimPlan } from "./sim_plan.ts";

/** How clients are to connect. */
export interface SimClientTls {
  readonly context: TlsContext;
  /** Whether they have to. */
  readonly isDemanded: boolean;
}

/** Sets the numbers of this apart from those of the rest, which old seeds are about. */
const SEED_OFFSET = 1_000_003;

const BASE64 = btoa(String.fromCharCode(...ECDSA_SHA384.der));

/** Always the same, so that a run is, too: certificates that are made differ in length. */
const FILES = {
  [TLS_FILES.certificate]: pem("CERTIFICATE", BASE64),
  [TLS_FILES.key]: pem("PRIVATE KEY", ECDSA_SHA384.key),
};

/** The same run; in some of them clients may speak TLS, or have to. */
export function withClientTls<Plan extends SimPlan>(plan: Plan, seed: number): Plan {
  const random = new SeededRandom(seed + SEED_OFFSET);
  if (!random.chance(0.4)) return plan;
  const sslmode = random.pick(["prefer", "require"]);
  const context = new SimTls().makeContext(toServers());
  const { world } = plan;
  return {
    ...plan,
    clientTls: { context, isDemanded: sslmode === "require" },
    world: { ...world, tlsFiles: FILES, pooler: `${world.pooler}${tlsLines({ sslmode })}` },
  };
}

function pem(what: string, base64: string): Uint8Array<ArrayBuffer> {
  return utf8(`-----BEGIN ${what}-----\n${base64}\n-----END ${what}-----\n`);
}
