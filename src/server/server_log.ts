/** What the log is told of one server, in PgBouncer's words where it has any. */

import type { Logger } from "../log/logger.ts";
import type { ByteStream } from "../net/byte_stream.ts";
import type { ServerAddress } from "../net/network.ts";
import { type TlsInUse, tlsText } from "../net/tls.ts";
import { versionText } from "../wire/protocol_version.ts";

/** What a server is known by. */
export interface LoggedServer {
  readonly id: number;
  readonly database: string;
  readonly user: string;
  readonly address: ServerAddress;
}

/** What is worth a line. */
export interface ServerLogOptions {
  readonly log: Logger;
  /** Whether each new connection is (`log_connections`). */
  readonly logsConnections: boolean;
  /** Whether the end of each is (`log_disconnections`). */
  readonly logsDisconnections: boolean;
}

/** The log, as one server writes to it. */
export class ServerLog {
  readonly #server: LoggedServer;
  readonly #options: ServerLogOptions;

  constructor(server: LoggedServer, options: ServerLogOptions) {
    this.#server = server;
    this.#options = options;
  }

  dialed({ local: { host, port } }: ByteStream): void {
    if (this.#options.logsConnections) {
      this.#log(`new connection to server (from ${host}:${port})`);
    }
  }

  tlsStarted(tls: TlsInUse): void {
    if (this.#options.logsConnections) this.#log(`SSL established: ${tlsText(tls)}`);
  }

  /** It is tried once more. */
  otherWay(isTls: boolean, why: string): void {
    this.#log(`trying ${isTls ? "with" : "without"} TLS: ${why}`);
  }

  oldProtocol(askedMinor: number, refusal: string): void {
    this.#log(`speaks no protocol ${versionText(askedMinor)}, only 3.0 (${refusal})`);
  }

  ended(reason: string, ageMs: number): void {
    if (!this.#options.logsDisconnections) return;
    this.#log(`closing because: ${reason} (age=${Math.floor(ageMs / 1000)}s)`);
  }

  debug(what: string): void {
    this.#options.log.debug(`${serverLabel(this.#server)} ${what}`);
  }

  noise(what: string): void {
    this.#options.log.noise(`${serverLabel(this.#server)} ${what}`);
  }

  #log(what: string): void {
    this.#options.log.log(`${serverLabel(this.#server)} ${what}`);
  }
}

/** `S-0x…: database/user@host:port`, as PgBouncer's log names a server. */
export function serverLabel({ address, database, id, user }: LoggedServer): string {
  const host = address.kind === "unix" ? "unix" : address.host;
  const number = id.toString(16).padStart(12, "0");
  return `S-0x${number}: ${database}/${user}@${host}:${address.port}`;
}
