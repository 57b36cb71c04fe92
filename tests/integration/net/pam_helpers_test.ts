/** The helper processes of PAM by themselves: among the tests that count what is open in the process. */

import assert from "node:assert/strict";
import { PamHelpers } from "../../../src/app/pam_helpers.ts";
import { systemClock } from "../../../src/base/clock.ts";
import { systemRandom } from "../../../src/base/random.ts";
import { eventually } from "../../support/eventually.ts";
import { isMissing } from "../../support/requirements.ts";
import { makeServices, PASSWORD } from "../support/pam_services.ts";

Deno.test({
  name: "a helper that is ended leaves no descriptor open",
  ignore: isMissing("pam.d"),
  async fn() {
    await using services = await makeServices();
    using helpers = new PamHelpers({ clock: systemClock(), random: systemRandom() });
    const openCount = () => [...Deno.readDirSync("/proc/self/fd")].length;
    const endOne = async () => {
      const ended = new AbortController();
      const question = { user: "ada", password: PASSWORD, host: undefined };
      const asked = helpers.ask({ ...question, service: services.of("stuck") }, ended.signal);
      ended.abort(new Error("nobody waits"));
      assert.deepEqual(await asked, { kind: "unavailable", why: "nobody waits" });
    };
    // What the runtime needs for processes stays open.
    await endOne();
    const before = openCount();
    for (let i = 0; i < 5; i++) await endOne();
    await eventually("all descriptors are closed", () => openCount() <= before);
  },
});
