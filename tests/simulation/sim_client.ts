/** A client of a simulation: logs in again and again, and does things at random. */

import assert from "node:assert/strict";
import { operationsFor } from "./sim_operations.ts";
import { Gone, SimActor, SimSession } from "./sim_session.ts";

/** One simulated application. */
export class SimClient extends SimActor {
  /** Runs all sessions. */
  async run(): Promise<void> {
    const { plan } = this.stage;
    for (let session = 0; session < plan.sessionCount; session++) {
      await this.stage.park();
      if (this.stage.isEnding) return;
      await this.#session();
    }
  }

  async #session(): Promise<void> {
    const { stage } = this;
    this.hasBrokenOff = false;
    try {
      const session = await SimSession.open(this);
      const count = this.random.between(0, stage.plan.maxOperations);
      for (let i = 0; i < count && !stage.isEnding; i++) {
        await stage.park();
        const operation = this.random.pick(operationsFor(stage.plan));
        stage.note(`${this.name} ${operation.name}`);
        await operation(session);
      }
      await session.leave();
    } catch (error) {
      if (!(error instanceof Gone)) throw error;
      stage.note(`${this.name} gone: ${error.message}`);
      const mayBe = !stage.plan.isCalm || this.hasBrokenOff;
      assert.ok(mayBe, `${this.name} was thrown out in a calm run: ${error.message}`);
    } finally {
      this.stream?.close();
      this.stream = undefined;
    }
  }
}
