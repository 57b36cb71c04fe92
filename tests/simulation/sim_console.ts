/** The operator's console in a simulated run: a connection to the pooler's own database. */

import assert from "node:assert/strict";
import { SHOW_THINGS } from "../../src/admin/admin_parser.ts";
import { DialError } from "../../src/net/network.ts";
import { TlsHandshakeError } from "../../src/net/tls.ts";
import { frontend } from "../support/messages.ts";
import type { SeededRandom } from "../support/seeded_random.ts";
import { LoginRefused, TestClient } from "../support/test_client.ts";
import type { SimStage } from "./sim_session.ts";

/** One console; a command at a time. */
export class SimConsole {
  readonly #stage: SimStage;
  readonly #random: SeededRandom;
  #client: TestClient | undefined;
  #isBusy = false;
  #hasLeft = false;

  constructor(stage: SimStage, random: SeededRandom) {
    this.#stage = stage;
    this.#random = random;
  }

  /** Looks at something. */
  look(): void {
    const thing = this.#random.pick(SHOW_THINGS);
    this.run(this.#random.pick([`SHOW ${thing}`, `SHOW ${thing} LIMIT 1`]));
  }

  /** Gives a command, unless one is under way. */
  run(command: string): void {
    if (this.#isBusy || this.#hasLeft) return;
    this.#isBusy = true;
    this.#stage.note(`console ${command}`);
    this.#run(command)
      .catch((error: unknown) => this.#stage.fail(error))
      .finally(() => {
        this.#isBusy = false;
      });
  }

  /** Leaves for good. */
  close(): void {
    this.#hasLeft = true;
    this.#hangUp();
  }

  #hangUp(): void {
    this.#client?.close();
    this.#client = undefined;
  }

  async #run(command: string): Promise<void> {
    const client = this.#client ?? await this.#open();
    if (client === undefined) return;
    await client.send(frontend.query(command));
    const messages = await client.receiveUntilReady();
    if (messages.at(-1)?.type === "Z") {
      const types = messages.map(({ type }) => type).join("");
      assert.match(types, /^(?:N?T?D*C|.*E)Z$/, `The console answers ${command}`);
      assert.ok(!command.startsWith("SHOW") || !types.includes("E"), `${command} fails`);
      return;
    }
    this.#hangUp();
    const { closing, plan } = this.#stage;
    const mayBeGone = this.#hasLeft || !plan.isCalm || closing !== undefined;
    assert.ok(mayBeGone, `The console was thrown out of ${command}`);
  }

  async #open(): Promise<TestClient | undefined> {
    const { plan: { clientTls, password }, world } = this.#stage;
    try {
      const client = new TestClient(await world.dial());
      if (this.#hasLeft) client.close();
      this.#client = client;
      if (clientTls !== undefined) await client.requestTls(clientTls.context);
      const login = { user: "ada", database: "pgbouncer" };
      await client.login(password === undefined ? login : { ...login, password });
      return client;
    } catch (error) {
      const isExpected = error instanceof DialError || error instanceof LoginRefused ||
        error instanceof TlsHandshakeError ||
        error instanceof Error && error.message.startsWith("The connection ended");
      this.#hangUp();
      if (!isExpected) throw error;
      return undefined;
    }
  }
}
