/** TLS with the clients of a simulation, in some of the runs. */

import type { TlsContext } from "../../src/net/tls.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { SimTls } from "../support/sim_tls_context.ts";
import { toServers } from "../support/tls_material.ts";
import { TLS_FILES, tlsLines } from "../support/tls_world.ts";
import { SIM_CERTIFICATE } from "./sim_certificate.ts";
import type { SimPlan } from "./sim_plan.ts";

/** How clients are to connect. */
export interface SimClientTls {
  readonly context: TlsContext;
  /** Whether they have to. */
  readonly isDemanded: boolean;
}

/** Sets the numbers of this apart from those of the rest, which old seeds are about. */
const SEED_OFFSET = 1_000_003;

const FILES = {
  [TLS_FILES.certificate]: SIM_CERTIFICATE.certificate,
  [TLS_FILES.key]: SIM_CERTIFICATE.key,
};

/** The same run; in some of them clients may speak TLS, or have to. */
export function withClientTls(plan: SimPlan, seed: number): SimPlan {
  const random = new SeededRandom(seed + SEED_OFFSET);
  if (!random.chance(0.4)) return plan;
  const sslmode = random.pick(["prefer", "require"]);
  const context = new SimTls().makeContext(toServers());
  const { world } = plan;
  return {
    ...plan,
    clientTls: { context, isDemanded: sslmode === "require" },
    world: { ...world, tlsFiles: FILES, pooler: `${tlsLines({ sslmode })}${world.pooler}` },
  };
}
