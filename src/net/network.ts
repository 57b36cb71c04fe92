/** What an I/O engine offers: listening and dialing. */

import type { ByteStream } from "./byte_stream.ts";
import type { TlsEngine } from "./tls.ts";

/** Where to listen. */
export type ListenAddress =
  | {
    readonly kind: "tcp";
    readonly host: string;
    readonly port: number;
    readonly backlog: number;
    /** Whether other processes may listen there, too (`so_reuseport`). */
    readonly isShared?: boolean;
    /** A socket that listens there already, in place of one to be opened; native engine. */
    readonly descriptor?: number;
  }
  | {
    readonly kind: "unix";
    readonly path: string;
    readonly port: number;
    readonly mode: number;
    /** Name of the group that gets the socket, if any. */
    readonly group: string | undefined;
    /** Whether the path may be taken over from another process, and by another (`so_reuseport`). */
    readonly isShared?: boolean;
    /** A socket that listens there already; its file is left alone. */
    readonly descriptor?: number;
  };

/** Where a server is. `host` is a name or an address; engines by themselves take addresses only. */
export type ServerAddress =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string; readonly port: number };

/** Open for connections until closed. */
export interface Listener {
  /** As bound: port 0 has become a real one. */
  readonly address: ListenAddress;
  /** Accepted connections; ends when the listener is closed. Survives a lack of descriptors. */
  connections(): AsyncIterableIterator<ByteStream, void, void>;
  /** Whether newcomers come to it: the path of a shared unix socket may be another's by now. */
  isInPlace(): boolean;
  /** Whether nobody listens there any more who came after it: that process has ended. */
  isDeserted(): Promise<boolean>;
  /**
   * Takes the path of a shared unix socket over from who has it, in one step: until then nobody comes
   * by it. To be called once nothing else can fail. Others have their place from the beginning.
   * @throws {ListenError} If the path cannot be had.
   */
  takeOver(): void;
  /**
   * Closes once all who have connected are accepted, which may take a moment where the address is
   * shared; newcomers go elsewhere. Who does not read `connections()` calls `close()` instead.
   */
  drain(): void;
  /** Stops accepting at once; who has not been accepted is cut off. May be called twice. */
  close(): void;
}

/** How connections are set up. */
export interface StreamOptions {
  /** Ordinary size of the receive buffer, in bytes; an idle connection has less. */
  readonly receiveBytes: number;
  /** Full reads in a row before others get a turn (`sbuf_loopcnt`); 0 for no limit but the engine's own. */
  readonly maxBusyReads: number;
  readonly tcp: TcpOptions;
}

/** What the kernel is told of a TCP connection; 0 leaves it to the system. */
export interface TcpOptions {
  /** Whether the kernel probes an idle connection (`tcp_keepalive`). */
  readonly keepAlive: boolean;
  /** Of the rest, only the native engine can set any. */
  readonly keepAliveIdleMs: number;
  readonly keepAliveIntervalMs: number;
  readonly keepAliveCount: number;
  /** How long sent data may stay unacknowledged. */
  readonly userTimeoutMs: number;
  /** Size of the kernel's buffers, each way. */
  readonly socketBufferBytes: number;
  /** How long a listener keeps a connection on which nothing has come; 0 for not at all. */
  readonly deferAcceptSeconds: number;
}

/** An I/O engine. */
export interface Network {
  readonly tls: TlsEngine;

  /**
   * Starts listening.
   * @throws {ListenError} If the address is in use or cannot be bound.
   */
  listen(address: ListenAddress, options: () => StreamOptions): Promise<Listener>;

  /**
   * Connects to a server; given up after `timeoutMs`, or when `signal` is aborted.
   * @throws {DialError} If no connection comes about.
   */
  dial(address: ServerAddress, options: DialOptions): Promise<ByteStream>;
}

/** How a connection to a server is made. */
export interface DialOptions extends StreamOptions {
  /** 0 for no limit. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** Why no connection came about, in PgBouncer's words. */
export type DialFailure = "connect failed" | "connect timeout" | "server DNS lookup failed";

/** A server could not be reached. */
export class DialError extends Error {
  override readonly name = "DialError";
  readonly failure: DialFailure;

  constructor(failure: DialFailure, cause: unknown) {
    super(failure, { cause });
    this.failure = failure;
  }
}

/** What of an address says where it is. */
export type ListenPlace =
  | Pick<Extract<ListenAddress, { kind: "tcp" }>, "kind" | "host" | "port" | "descriptor">
  | Pick<Extract<ListenAddress, { kind: "unix" }>, "kind" | "path" | "descriptor">;

/** An address could not be listened on. */
export class ListenError extends Error {
  override readonly name = "ListenError";

  /** Says, in the same form for all, which address, why, and what named it. */
  constructor(place: ListenPlace, reason: string, options?: ErrorOptions) {
    super(`Cannot listen on ${formatAddress(place)}: ${reason} (${originOf(place)})`, options);
  }
}

function originOf({ descriptor, kind }: ListenPlace): string {
  if (descriptor !== undefined) return "LISTEN_FDS";
  return kind === "tcp" ? "listen_addr" : "unix_socket_dir";
}

/** `127.0.0.1:6432`, `[::1]:6432`, `unix:/tmp/.s.PGSQL.6432`. */
export function formatAddress(address: ListenPlace | ServerAddress): string {
  if (address.kind === "unix") return `unix:${address.path}`;
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return `${host}:${address.port}`;
}

/** File name of PostgreSQL's unix socket for a port. A directory `@x` means an abstract name. */
export function unixSocketPath(directory: string, port: number): string {
  return `${directory}/.s.PGSQL.${port}`;
}
