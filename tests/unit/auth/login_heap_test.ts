/**
 * What a client that is let in by SCRAM leaves to the garbage collector. A storm of logins takes the
 * processor by that more than by hashing: most of all what is outside the heap, where each piece is
 * allocated and given back by itself.
 */

import assert from "node:assert/strict";
import { median } from "../../../scripts/percentiles.ts";
import type { AuthStep } from "../../../src/auth/client_authentication.ts";
import {
  bodyOf,
  clientAuthentication,
  credential,
  type Demand,
  login,
  scramVerifier,
} from "./auth_support.ts";

/** Bytes a login; some 10,100 and 920 were measured. */
const HEAP_BUDGET = 14_000;
const OUTSIDE_BUDGET = 1_500;

/** The compiler allocates, too, until it is done with what is hot. */
const WARM_UP_LOGINS = 2_000;

/** Few enough for no garbage collection to fall into most of the runs. */
const LOGINS = 10;
const RUNS = 51;

/** Always the same, so that what a client answers is always right. */
const random = { bytes: (count: number) => new Uint8Array(count).fill(1) };

Deno.test("a client is let in by SCRAM with little garbage, hardly any outside the heap", async () => {
  const stored = credential("ada", await scramVerifier("pencil"));
  const demand: Demand = { method: "scram-sha-256", credential: stored, random };
  const { messages } = await login(demand, { credential: credential("ada", "pencil") });
  const [initial, final] = [bodyOf(messages[1]!), bodyOf(messages[3]!)];
  const letIn = (): AuthStep | Promise<AuthStep> => {
    const exchange = clientAuthentication(demand);
    exchange.start();
    void exchange.receive(initial);
    return exchange.receive(final);
  };
  for (let i = 0; i < WARM_UP_LOGINS; i++) letIn();
  const [heap, outside]: [number[], number[]] = [[], []];
  for (let run = 0; run < RUNS; run++) {
    const before = Deno.memoryUsage();
    for (let i = 0; i < LOGINS; i++) assert.equal((letIn() as AuthStep).kind, "accepted");
    const after = Deno.memoryUsage();
    heap.push((after.heapUsed - before.heapUsed) / LOGINS);
    outside.push((after.external - before.external) / LOGINS);
  }
  assert.ok(median(heap) < HEAP_BUDGET, `${median(heap)} bytes of heap a login`);
  assert.ok(median(outside) < OUTSIDE_BUDGET, `${median(outside)} bytes outside a login`);
});
