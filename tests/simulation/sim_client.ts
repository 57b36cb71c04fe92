/** A client of a simulation: logs in again and again, and does things at random. */

import assert from "node:assert/strict";
import { DialError } from "../../src/net/network.ts";
import { operationsFor } from "./sim_operations.ts";
import { Gone, SimActor, SimSession } from "./sim_session.ts";
import { strangeHello } from "./sim_stranger.ts";

/** One simulated application. */
export class SimClient extends SimActor {
  /** Runs all sessions. */
  async run(): Promise<void> {
    const { plan } = this.stage;
    for (let session = 0; session < plan.sessionCount; session++) {
      await this.stage.park();
      if (this.stage.isEnding) return;
      // Some try though the pooler ends.
      if (this.stage.closing !== undefined && this.random.chance(0.7)) return;
      if (this.random.chance(plan.hazards.strangers)) await this.#comeAsStranger();
      else await this.#session();
    }
  }

  async #comeAsStranger(): Promise<void> {
    this.stage.note(`${this.name} is strange`);
    try {
      this.stream = await this.stage.world.dial();
      await strangeHello(this.stream, this);
    } catch (error) {
      if (!(error instanceof DialError)) throw error;
    } finally {
      this.#leave();
    }
  }

  #leave(): void {
    this.stream?.close();
    this.stream = undefined;
    this.isLoggedIn = false;
    this.isDoomed = false;
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
      assert.ok(this.#mayBeGone, `${this.name} was thrown out in a calm run: ${error.message}`);
    } finally {
      this.#leave();
    }
  }

  /** Whether its connection may end without having been ended by itself. */
  get #mayBeGone(): boolean {
    const { closing, plan: { hazards, isCalm } } = this.stage;
    if (!isCalm || this.hasBrokenOff) return true;
    if (!this.isLoggedIn) return closing !== undefined || hazards.maxDbClients > 0;
    return closing !== undefined && closing !== "wait_for_clients";
  }
}
