/** What comes to the port of a pooler and is no client of PostgreSQL, or none that ends its login. */

import { frontend, join, utf8 } from "../support/messages.ts";
import type { SimStream } from "../support/sim_net.ts";
import type { SimActor } from "./sim_session.ts";

/** Lengths that no packet has, and some that one may have. */
const LENGTHS = [0, 1, 2, 3, 4, 7, 8, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];

/** Sends something strange, and waits for a while. Leaves the stream open. */
export async function strangeHello(stream: SimStream, { random, stage }: SimActor): Promise<void> {
  const startup = frontend.startup({ user: "ada", database: "app" });
  const make = random.pick<() => Uint8Array>([
    () => lengthOnly(random.pick(LENGTHS), random.bytes(random.below(20))),
    () => random.bytes(random.between(1, 60)),
    () => startup.subarray(0, random.between(1, startup.length - 1)),
    () => utf8("GET / HTTP/1.1\r\nHost: sluice\r\n\r\n"),
    () => frontend.startup({ user: "u".repeat(random.pick([63, 64, 200, 20_000])) }),
    () => frontend.startup({ user: "nobody", database: "app", _pq_: "x" }),
    () => join(frontend.sslRequest(), random.bytes(random.between(1, 20))),
    () => join(startup, random.bytes(random.between(1, 40))),
    () => frontend.cancelRequest(random.bytes(random.pick([0, 4, 300]))),
  ]);
  const bytes = make();
  const sending = stream.write(bytes, 0, bytes.length);
  for (let i = random.below(6); i > 0; i--) await stage.park();
  if (random.chance(0.5)) stream.reset();
  await sending;
}

function lengthOnly(length: number, rest: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, length);
  return join(bytes, rest);
}
