/**
 * Connections to LDAP directories, by the package `ldapts`; loaded, and the package with it, by
 * `system_ldap.ts` when the first is made.
 *
 * The package speaks LDAP; sockets are opened, protected and bounded here. With StartTLS the secured
 * connection gets a new parser: what somebody in between has put before the handshake is not read on.
 * Source: RFC 4511, 4513; node:tls, which checks certificates and names by default.
 */

import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { Client, ResultCodeError } from "ldapts";
import { Deferred } from "../base/deferred.ts";
import {
  type LdapConnection,
  type LdapConnector,
  type LdapQuery,
  LdapResult,
} from "../auth/ldap_login.ts";
import type { LdapServer } from "../auth/ldap_options.ts";

/** Request name of StartTLS. */
const START_TLS = "1.3.6.1.4.1.1466.20037";

/** Asks for no attributes, as RFC 4511 has it. */
const NO_ATTRIBUTES = "1.1";

/** More than any conversation takes. */
const MAX_RECEIVED_BYTES = 1_048_576;

/**
 * Makes connections. `authorities` are certificates in PEM that servers' ones may be from; undefined:
 * those that this process trusts anyway.
 */
export function ldapConnector(authorities: string | undefined): LdapConnector {
  return async (server, { protection, signal }) => {
    const tls = { server, authorities };
    const plain = protection === "ldaps" ? undefined : connect(server.port, server.host);
    const socket = plain ?? openTls(tls);
    closeOnAbort(socket, signal);
    await opened(socket, plain === undefined ? "secureConnect" : "connect");
    if (plain === undefined || protection === "none") return new LdaptsConnection(socket);
    await requestTls(plain);
    const secured = openTls({ ...tls, socket: plain });
    closeOnAbort(secured, signal);
    await opened(secured, "secureConnect");
    return new LdaptsConnection(secured);
  };
}

/** What TLS is made with: a new connection to the server, or one that is there. */
interface TlsTarget {
  readonly server: LdapServer;
  readonly authorities: string | undefined;
  readonly socket?: Socket;
}

function openTls({ authorities, server: { host, port }, socket }: TlsTarget): Socket {
  return connectTls({
    host,
    // Names alone are told to the server; addresses are compared with the certificate too.
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(authorities === undefined ? {} : { ca: authorities }),
    ...(socket === undefined ? { port } : { socket }),
  });
}

/** Whatever becomes of the socket, it does not outlive the signal, and its errors have a listener. */
function closeOnAbort(socket: Socket, signal: AbortSignal): void {
  const onAbort = () => socket.destroy();
  signal.addEventListener("abort", onAbort);
  socket.on("close", () => signal.removeEventListener("abort", onAbort));
  if (signal.aborted) onAbort();
}

/** Resolves when the connection is there, by the name of that event. */
async function opened(socket: Socket, event: "connect" | "secureConnect"): Promise<void> {
  const outcome = new Deferred<void>();
  const onClose = () => outcome.reject(new Error("the connection was closed"));
  socket.once(event, () => outcome.resolve());
  socket.on("error", outcome.reject);
  socket.once("close", onClose);
  await outcome.promise;
  socket.off("close", onClose);
}

/** Has the server expect a handshake. */
async function requestTls(socket: Socket): Promise<void> {
  await new LdaptsConnection(socket).extend(START_TLS);
  // From here on what comes is TLS: not a byte of it is for the parser of before.
  socket.removeAllListeners("data");
}

/** A connection that is open. */
class LdaptsConnection implements LdapConnection {
  readonly #socket: Socket;
  readonly #client: Client;

  constructor(socket: Socket) {
    this.#socket = socket;
    // Where it leads to is settled.
    this.#client = new Client({ url: "ldap://-", createConnection: () => socket });
    let receivedBytes = 0;
    socket.on("data", (chunk: Uint8Array) => {
      receivedBytes += chunk.length;
      if (receivedBytes > MAX_RECEIVED_BYTES) socket.destroy();
    });
  }

  async bind(name: string, password: string): Promise<void> {
    await this.#ask(() => this.#client.bind(name, password));
  }

  async search({ baseDn, filter, maxCount, scope }: LdapQuery): Promise<readonly string[]> {
    const { searchEntries } = await this.#ask(() =>
      this.#client.search(baseDn, {
        attributes: [NO_ATTRIBUTES],
        derefAliases: "never",
        filter,
        scope,
        sizeLimit: maxCount,
      })
    );
    return searchEntries.map(({ dn }) => dn);
  }

  /** An extended request. */
  async extend(name: string): Promise<void> {
    await this.#ask(() => this.#client.exop(name));
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Turns the package's errors into ours. It must not connect anew by itself: that would be in plain. */
  async #ask<T>(action: () => Promise<T>): Promise<T> {
    if (this.#socket.destroyed) throw new Error("the connection was closed");
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof ResultCodeError)) throw error;
      throw new LdapResult(error.code, error.name);
    }
  }
}
