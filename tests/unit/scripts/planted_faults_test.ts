import { join } from "node:path";
import { plant, PLANTED_FAULTS } from "../../../scripts/planted_faults.ts";
import { projectDir } from "../../../scripts/staging.ts";

for (const fault of PLANTED_FAULTS) {
  Deno.test(`a fault can be planted: ${fault.name}`, async () => {
    plant(await Deno.readTextFile(join(projectDir(), fault.file)), fault);
  });
}
