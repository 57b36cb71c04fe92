/** Where a connection really comes from: the header with which a proxy begins it. */

import type { Endpoint } from "../net/byte_stream.ts";
import { ProtocolError } from "../wire/pg_error.ts";
import { isProxyHeaderStart } from "../wire/proxy_header.ts";
import type { LoginInput } from "./login_input.ts";

/** What a connection must begin with. */
export type ProxyRule =
  /** A PROXY header: a proxy is on the other side, for whom nothing is guessed. */
  | "required"
  /** No such header: whoever sends one wants to be taken for somebody else. */
  | "refused"
  /** A startup packet, whatever it looks like. */
  | "off";

/** What became of it. */
export type ClientOrigin =
  /** `remote` is undefined where the connection's own address counts. */
  | { readonly kind: "known"; readonly remote: Endpoint | undefined }
  /** To be closed without a word; `reason` is for the log, undefined if it is not worth a line. */
  | { readonly kind: "nothing"; readonly reason: string | undefined };

const OWN_ADDRESS: ClientOrigin = { kind: "known", remote: undefined };

/** Reads what comes before the startup packet. A peer that got it wrong is told nothing. */
export async function receiveOrigin(
  input: LoginInput,
  rule: Exclude<ProxyRule, "off">,
): Promise<ClientOrigin> {
  switch (rule) {
    case "refused": {
      const first = await input.peek();
      if (first === undefined || !isProxyHeaderStart(first)) return OWN_ADDRESS;
      return { kind: "nothing", reason: "PROXY header from an address not in proxy_trusted" };
    }
    case "required":
      return await receiveHeader(input);
  }
}

async function receiveHeader(input: LoginInput): Promise<ClientOrigin> {
  try {
    const header = await input.proxyHeader();
    if (header !== undefined) return { kind: "known", remote: header.source };
  } catch (error) {
    if (error instanceof ProtocolError) return { kind: "nothing", reason: error.message };
    throw error;
  }
  // A probe that connects and leaves is not worth a line.
  return { kind: "nothing", reason: input.heldCount > 0 ? "client unexpected eof" : undefined };
}
