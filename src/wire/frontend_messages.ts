/** The frontend messages that Sluice sends to a server on its own account. Pure. */

import { serialize } from "pg-protocol";

/** Builds a Query. */
export function query(sql: string): Uint8Array {
  return serialize.query(sql);
}

/** Builds Terminate. */
export function terminate(): Uint8Array {
  return serialize.end();
}
