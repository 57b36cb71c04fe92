/** The frontend messages that Sluice sends to a server on its own account. Pure. */

import { serialize } from "pg-protocol";
import { MessageWriter } from "./message_writer.ts";

/** Builds a Query. */
export function query(sql: string): Uint8Array {
  return serialize.query(sql);
}

/** Builds Terminate. */
export function terminate(): Uint8Array {
  return serialize.end();
}

/** Builds CopyFail; the server repeats `reason` in its error. */
export function copyFail(reason: string): Uint8Array {
  return serialize.copyFail(reason);
}

/**
 * Builds what ends extended messages that no Sync follows: a ROLLBACK, which undoes what they have
 * executed in whatever transaction they are, and the Sync. Answered by one ReadyForQuery.
 */
export function abortToSync(): Uint8Array {
  return new MessageWriter()
    .bytes(serialize.parse({ text: "ROLLBACK" }))
    .bytes(serialize.bind())
    .bytes(serialize.execute())
    .bytes(serialize.sync())
    .take();
}

/**
 * Builds the messages that run a query with one bound value, as text, and ask for its columns and
 * at most `maxRows` of its rows. Answered by one ReadyForQuery.
 */
export function boundQuery(sql: string, value: string, maxRows: number): Uint8Array {
  return new MessageWriter(256)
    .bytes(serialize.parse({ text: sql }))
    .bytes(serialize.bind({ values: [value] }))
    .bytes(serialize.describe({ type: "P" }))
    .bytes(serialize.execute({ rows: maxRows }))
    .bytes(serialize.sync())
    .take();
}
