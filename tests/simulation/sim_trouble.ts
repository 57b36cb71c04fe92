/** Something goes wrong with servers, network or time of a simulated run. */

import type { ServerAddress } from "../../src/net/network.ts";
import { backend as say } from "../support/messages.ts";
import type { FakeBackend } from "../support/fake_postgres.ts";
import type { PoolerWorld } from "../support/pooler_world.ts";
import type { SeededRandom } from "../support/seeded_random.ts";

/** What trouble is made in. */
export interface TroubledRun {
  readonly world: PoolerWorld;
  readonly random: SeededRandom;
  /** Where PostgreSQL is dialed. */
  readonly addresses: readonly ServerAddress[];
  /** Lets time pass. */
  passTime(ms: number): void;
}

type Trouble = (run: TroubledRun) => void;

const REFUSALS = [
  { severity: "FATAL", sqlstate: "53300", message: "too many clients" },
  { severity: "FATAL", sqlstate: "57P03", message: "starting up" },
  { severity: "FATAL", sqlstate: "28P01", message: "password authentication failed" },
  { severity: "FATAL", sqlstate: "3D000", message: "no such database" },
] as const;

/** By name; what is named twice is twice as likely. */
const TROUBLES: readonly (readonly [string, Trouble])[] = [
  ["backend crashes", (run) => onBackend(run, (backend) => backend.close())],
  ["backend crashes", (run) => onBackend(run, (backend) => backend.close())],
  ["backend is terminated", (run) => onBackend(run, (backend) => void backend.terminate())],
  ["notice", (run) => onBackend(run, (backend) => void backend.speak(say.notice("by the way")))],
  [
    "report",
    (run) =>
      onBackend(
        run,
        (backend) => void backend.speak(say.parameterStatus("session_authorization", "somebody")),
      ),
  ],
  [
    "notification",
    (run) => onBackend(run, (backend) => void backend.speak(say.notification("news", "hear"))),
  ],
  ["bad length", (run) => onBackend(run, (backend) => void backend.speak(badLength(run.random)))],
  ["connection is reset", ({ random, world: { network: { connections } } }) => {
    if (connections.length === 0) return;
    const { acceptor, dialer } = random.pick(connections);
    random.pick([acceptor, dialer]).reset();
  }],
  [
    "obstacle",
    ({ addresses, random, world: { network } }) => {
      // Without a draw where there is one, so that seeds stand for what they stood for.
      const address = addresses.length === 1 ? addresses[0]! : random.pick(addresses);
      network.obstruct(address, random.pick(["refused", "black hole"]));
    },
  ],
  ["all is well", endTrouble],
  ["all is well", endTrouble],
  ["logins are refused", ({ random, world: { postgres } }) => {
    postgres.refusal = random.pick(REFUSALS);
  }],
  ["logins meet garbage", ({ random, world: { postgres } }) => {
    postgres.garbage = random.bytes(random.between(1, 30));
  }],
  ["restart", ({ world: { postgres } }) => {
    for (const backend of postgres.live) void backend.terminate();
    postgres.refusal = REFUSALS[1];
  }],
  ["stalls", ({ random, world: { network } }) => {
    for (const { acceptor, dialer } of network.connections) {
      const stream = random.pick([acceptor, dialer]);
      if (random.chance(0.5)) stream.unstall();
      else if (random.chance(0.2)) stream.stall();
    }
  }],
  ["time passes", (run) => run.passTime(run.random.between(1_000, 20_000))],
];

/** Makes some trouble. Returns its name. */
export function makeTrouble(run: TroubledRun): string {
  const [name, make] = run.random.pick(TROUBLES);
  make(run);
  return name;
}

/** Servers can be reached and let everybody in again. */
export function endTrouble({ addresses, world }: Pick<TroubledRun, "addresses" | "world">): void {
  const { network, postgres } = world;
  for (const address of addresses) network.obstruct(address, undefined);
  postgres.refusal = undefined;
  postgres.garbage = undefined;
}

function onBackend(
  { random, world: { postgres: { live } } }: TroubledRun,
  act: (backend: FakeBackend) => void,
): void {
  if (live.length > 0) act(random.pick(live));
}

/** A message whose length is none, or more than anybody sends. */
function badLength(random: SeededRandom): Uint8Array {
  const length = random.pick([0, 1, 2, 3, 2 ** 31 - 1, 2 ** 32 - 1]);
  const message = new Uint8Array(9);
  message[0] = random.pick(["D", "E", "S", "Z"]).charCodeAt(0);
  new DataView(message.buffer).setUint32(1, length);
  return message;
}
