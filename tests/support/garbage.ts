/** What is left when nothing is held any more, for tests of what is. */

import v8 from "node:v8";
import vm from "node:vm";

/** Bytes of the heap that are still in use after garbage was collected. */
export function heapInUse(): number {
  v8.setFlagsFromString("--expose-gc");
  vm.runInNewContext("gc")();
  return Deno.memoryUsage().heapUsed;
}
