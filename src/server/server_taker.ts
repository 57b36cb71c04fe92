/** What a server session asks of whoever it is linked to. */

import type { MessageCursor } from "../wire/message_cursor.ts";
import type { ServerEnd } from "./server_end.ts";

/** The client side of a link. */
export interface ServerTaker {
  /** Takes a received chunk, to be walked to its end; a promise holds the server's receive loop. */
  onServerChunk(cursor: MessageCursor): void | Promise<void>;
  /** Reads what whoever is served next will need, when the server has come free; as a `Touchable`. */
  touchNext?(): number;
  /** The server is gone; the link is over. */
  onServerClosed(end: ServerEnd): void;
}
