/** TLS with the servers of a simulation, in some of the runs. */

import type { FakePostgresTls } from "../support/fake_postgres.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { SimTls } from "../support/sim_tls_context.ts";
import { toClients } from "../support/tls_material.ts";
import { SIM_CERTIFICATE } from "./sim_certificate.ts";
import type { SimPlan } from "./sim_plan.ts";

/** Sets the numbers of this apart from those of the rest, which old seeds are about. */
const SEED_OFFSET = 2_000_003;

const TLS: FakePostgresTls = { context: new SimTls().makeContext(toClients(SIM_CERTIFICATE)) };

/** The same run; in some of them servers speak TLS, and in some they are only asked whether. */
export function withServerTls(plan: SimPlan, seed: number): SimPlan {
  const random = new SeededRandom(seed + SEED_OFFSET);
  const hasTls = random.chance(0.3);
  const modes = hasTls ? ["allow", "prefer", "prefer", "require"] : ["disable", "prefer"];
  const { world } = plan;
  const pooler = `server_tls_sslmode = "${random.pick(modes)}"\n${world.pooler}`;
  return { ...plan, ...(hasTls ? { serverTls: TLS } : {}), world: { ...world, pooler } };
}
