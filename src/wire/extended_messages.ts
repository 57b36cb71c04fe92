/** Messages of the extended protocol whose names are changed or made on the way. Pure. */

import { Frontend } from "./message_type.ts";
import { MessageWriter } from "./message_writer.ts";

/** What Describe and Close are about: a statement or a portal. */
export const Target = { Statement: 0x53, Portal: 0x50 } as const;

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
