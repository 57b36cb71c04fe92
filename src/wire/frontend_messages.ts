/**
 * The frontend messages that Sluice makes: those it sends to a server on its own account, and those
 * of which it changes the name on the way. Pure.
 */

import { serialize } from "pg-protocol";
import { Frontend, Target } from "./message_type.ts";
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

/** Builds Parse; `name` with its zero byte, `content` as it stands behind the name. */
export function parse(name: Uint8Array, content: Uint8Array): Uint8Array<ArrayBuffer> {
  return new MessageWriter(5 + name.length + content.length).begin(Frontend.Parse)
    .bytes(name).bytes(content).end().take();
}

/** Builds Close of a statement; `name` with its zero byte. */
export function closeStatement(name: Uint8Array): Uint8Array<ArrayBuffer> {
  return new MessageWriter(6 + name.length).begin(Frontend.Close)
    .int8(Target.Statement).bytes(name).end().take();
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
