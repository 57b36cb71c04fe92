/**
 * The parameters that clients are told of at login, as messages: encoded once for all of them, since
 * few of them want more than a name of their own. Pure.
 */

import { writeParameterStatus } from "../wire/backend_messages.ts";
import { MessageWriter } from "../wire/message_writer.ts";
import type { ParameterCache } from "./parameter_cache.ts";

/** Parameters as ParameterStatus. */
export class Greeting {
  readonly #parameters: readonly (readonly [name: string, value: string])[];
  readonly #bytes: Uint8Array;
  /** Where the message of each parameter ends. */
  readonly #ends: readonly number[];

  /** `parameters` are read once, here. */
  constructor(parameters: Iterable<readonly [name: string, value: string]>) {
    this.#parameters = [...parameters];
    const writer = new MessageWriter();
    this.#ends = this.#parameters.map(([name, value]) =>
      writeParameterStatus(writer, name, value).length
    );
    this.#bytes = writer.take();
  }

  /** Adds the messages to what is written; a client's `own` values go before those told to all. */
  writeTo(writer: MessageWriter, own?: ParameterCache): void {
    const bytes = this.#bytes;
    // What is the same for all is copied in one go, up to what is not.
    let copiedTo = 0;
    let start = 0;
    for (let i = 0; i < this.#parameters.length; i++) {
      const [name, common] = this.#parameters[i]!;
      const value = own?.get(name) ?? common;
      const end = this.#ends[i]!;
      if (value !== common) {
        writeParameterStatus(writer.range(bytes, copiedTo, start), name, value);
        copiedTo = end;
      }
      start = end;
    }
    writer.range(bytes, copiedTo, start);
  }
}
