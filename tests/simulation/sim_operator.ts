/**
 * The operator of a simulated run: gives orders at the worst moments. In calm runs only such as no
 * client may notice but by waiting.
 */

import assert from "node:assert/strict";
import { PgError } from "../../src/wire/pg_error.ts";
import type { SeededRandom } from "../support/seeded_random.ts";
import { SimConsole } from "./sim_console.ts";
import { redrawSettings } from "./sim_plan.ts";
import type { SimStage } from "./sim_session.ts";

const HARMLESS = ["PAUSE", "PAUSE app", "SUSPEND", "RECONNECT", "SET", "RELOAD"] as const;

const CRUEL = [...HARMLESS, "KILL", "KILL_CLIENT", "DISABLE"] as const;

type Order = (typeof CRUEL)[number];

const DATABASE = "app";

/** One operator. */
export class SimOperator {
  readonly #stage: SimStage;
  readonly #random: SeededRandom;
  readonly console: SimConsole;
  /** Gives up what an order waits for. */
  #waiting: AbortController | undefined;

  constructor(stage: SimStage, random: SeededRandom) {
    this.#stage = stage;
    this.#random = random;
    this.console = new SimConsole(stage, random.fork());
  }

  /** Whether clients have to wait until the operator lets them go on. */
  get holdsBack(): boolean {
    const { operations } = this.#stage.world.pooler;
    return operations.mode !== "active" || operations.isPaused(DATABASE) ||
      operations.isDisabled(DATABASE);
  }

  /** Does something, or lets go what is held back. */
  giveOrder(): string {
    const { hazards } = this.#stage.plan;
    if (hazards.hasConsole && this.#random.chance(0.5)) {
      this.console.look();
      return "console";
    }
    if (this.holdsBack) return this.release();
    if (hazards.shutdown !== undefined && this.#random.chance(0.2)) {
      this.#stage.shutDown(hazards.shutdown);
      return "order SHUTDOWN";
    }
    const order = this.#random.pick<Order>(this.#stage.plan.isCalm ? HARMLESS : CRUEL);
    this.#stage.note(`order ${order}`);
    try {
      this.#carryOut(order);
    } catch (error) {
      if (!this.#isRefusedAtEnd(error)) throw error;
    }
    return `order ${order}`;
  }

  /** Puts other settings in force. */
  reload(): void {
    this.#reload().catch((error: unknown) => this.#stage.fail(error));
  }

  /** Everybody may go on. */
  release(): string {
    if (!this.holdsBack) return "nothing";
    const { operations } = this.#stage.world.pooler;
    this.#stage.note("order RESUME");
    // As ^C does, now and then.
    if (this.#random.chance(0.3)) this.#waiting?.abort(new Error("given up"));
    if (operations.mode !== "active") operations.resume(undefined);
    if (operations.isPaused(DATABASE)) operations.resume(DATABASE);
    operations.enable(DATABASE);
    return "order RESUME";
  }

  #carryOut(order: Order): void {
    const { clients, pooler } = this.#stage.world;
    const { operations } = pooler;
    switch (order) {
      case "PAUSE":
        return this.#wait((signal) => operations.pause(undefined, signal));
      case "PAUSE app":
        return this.#wait((signal) => operations.pause(DATABASE, signal));
      case "SUSPEND":
        return this.#wait((signal) => operations.suspend(signal));
      case "RECONNECT":
        return operations.reconnect(undefined);
      case "SET":
        return this.#set();
      case "RELOAD":
        return this.reload();
      case "KILL":
        return void operations.kill(this.#random.chance(0.5) ? DATABASE : undefined);
      case "KILL_CLIENT": {
        // Before its startup packet a client may wait for a byte, and would not know an error.
        const open = clients.filter(({ isOpen, state }) => isOpen && state.kind !== "startup");
        if (open.length > 0) operations.killClient(this.#random.pick(open).id);
        return;
      }
      case "DISABLE":
        return operations.disable(DATABASE);
    }
  }

  async #reload(): Promise<void> {
    const { plan, world } = this.#stage;
    await world.setConfig({
      ...plan.world,
      pooler: redrawSettings(this.#random, plan.world.pooler ?? ""),
    });
    if (plan.hazards.hasConsole && this.#random.chance(0.5)) {
      return this.console.run(this.#random.pick(["RELOAD", "RELOAD DRY"]));
    }
    const isTaken = await world.pooler.reload();
    assert.ok(isTaken || plan.world.fails !== undefined, "A good configuration is taken over");
  }

  #set(): void {
    const { plan, world: { pooler: { operations } } } = this.#stage;
    if (plan.isCapped && this.#random.chance(0.7)) {
      return operations.set("max_db_connections", String(this.#random.between(0, 3)));
    }
    operations.set("server_lifetime", String(this.#random.between(1, 100)));
  }

  #wait(begin: (signal: AbortSignal) => Promise<void>): void {
    this.#waiting = new AbortController();
    const { signal } = this.#waiting;
    begin(signal).catch((error: unknown) => {
      const isExpected = error === signal.reason || isResumed(error) ||
        this.#isRefusedAtEnd(error);
      if (!isExpected) this.#stage.fail(error);
    });
  }

  /** A pooler that ends takes no other orders. */
  #isRefusedAtEnd(error: unknown): boolean {
    return this.#stage.closing !== undefined && error instanceof PgError;
  }
}

/** Whether a wait ended because the operator has let everybody go on. */
function isResumed(error: unknown): boolean {
  return error instanceof PgError && error.message === "resumed before it was done";
}
