/** The portable I/O engine: Deno's own listeners and connections, on every platform. */

import type { Clock } from "../../base/clock.ts";
import type { ByteStream, Endpoint } from "../byte_stream.ts";
import {
  DialError,
  type DialFailure,
  type DialOptions,
  type ListenAddress,
  type Listener,
  ListenError,
  type Network,
  type ServerAddress,
  type StreamOptions,
} from "../network.ts";
import { dialWithin } from "../dial_limit.ts";
import { type OpenedListener, openListener } from "../open_listener.ts";
import { unixAddress } from "../unix_socket.ts";
import { PortableListener } from "./portable_listener.ts";
import { PortableStream } from "./portable_stream.ts";
import { PortableTls } from "./portable_tls.ts";

/** Tells who is behind a unix socket. */
export interface PeerCredentials {
  /**
   * User ID of the peer accepted last by the listener that was bound by `path`, or undefined if it
   * cannot be told for certain.
   */
  uidOfNewest(path: string): number | undefined;
}

/** What the engine is made of. */
export interface PortableNetworkOptions {
  readonly clock: Clock;
  /** Tells who is behind a unix socket; undefined where the platform cannot. */
  readonly peerCredentials: PeerCredentials | undefined;
  /**
   * Has a TCP listener listen no more if nobody waits to be accepted, and tells whether, where the
   * system tells.
   */
  readonly finishIfQuiet?: (listener: Deno.Listener) => boolean | undefined;
  /** Told of trouble with accepting. */
  readonly onAcceptError: (error: unknown) => void;
  /** The group's number by its name, for `unix_socket_group`. */
  readonly groupIdOf: (group: string) => number;
}

/** Deno's own sockets as an I/O engine. */
export class PortableNetwork implements Network {
  readonly tls: PortableTls;
  readonly #options: PortableNetworkOptions;

  constructor(options: PortableNetworkOptions) {
    this.#options = options;
    this.tls = new PortableTls(options.clock);
  }

  async listen(address: ListenAddress, options: () => StreamOptions): Promise<Listener> {
    if (address.descriptor !== undefined) {
      throw new ListenError(
        address,
        "only the native I/O engine can use a socket that the process was started with",
      );
    }
    const { clock, groupIdOf, onAcceptError, finishIfQuiet = () => undefined } = this.#options;
    const opened = await openListener(address, groupIdOf);
    return new PortableListener({
      clock,
      opened,
      accept: (conn) => this.#accept(conn, { opened, options: options() }),
      onAcceptError,
      finishIfQuiet,
    });
  }

  /** Makes a stream of an accepted connection; one that fails must not end the loop. */
  #accept(
    conn: Deno.Conn,
    { opened, options }: { opened: OpenedListener; options: StreamOptions },
  ): ByteStream | undefined {
    const { onAcceptError, peerCredentials } = this.#options;
    try {
      // Synchronously after the accept: see PeerCredentials.
      const { addr } = opened.listener;
      const peerUid = addr.transport === "unix"
        ? peerCredentials?.uidOfNewest(addr.path)
        : undefined;
      return this.#stream(conn, { options, peerUid, unixPort: opened.address.port });
    } catch (error) {
      onAcceptError(error);
      conn[Symbol.dispose]();
      return undefined;
    }
  }

  dial(address: ServerAddress, options: DialOptions): Promise<ByteStream> {
    return dialWithin(options, this.#options.clock, async (signal) => {
      try {
        const conn = address.kind === "unix"
          ? await Deno.connect({ transport: "unix", path: unixAddress(address.path) })
          : await Deno.connect({ hostname: address.host, port: address.port, signal });
        return this.#stream(conn, { options, peerUid: undefined, unixPort: address.port });
      } catch (error) {
        throw new DialError(dialFailure(signal), error);
      }
    });
  }

  #stream(
    conn: Deno.Conn,
    { options, peerUid, unixPort }: {
      options: StreamOptions;
      peerUid: number | undefined;
      unixPort: number;
    },
  ): ByteStream {
    if (isTcp(conn)) {
      conn.setNoDelay(true);
      conn.setKeepAlive(options.tcp.keepAlive);
    }
    return new PortableStream(conn, {
      options,
      remote: endpoint(conn.remoteAddr, unixPort),
      local: endpoint(conn.localAddr, unixPort),
      peerUid,
      isUnix: !isTcp(conn),
    });
  }
}

function isTcp(conn: Deno.Conn): conn is Deno.TcpConn {
  return conn.localAddr.transport === "tcp";
}

function endpoint(address: Deno.Addr, unixPort: number): Endpoint {
  if (address.transport !== "tcp") return { host: "unix", port: unixPort };
  // A listener on `::` shows IPv4 peers as ::ffff:a.b.c.d.
  const host = address.hostname.replace(/^::ffff:(?=\d+\.)/, "");
  return { host, port: address.port };
}

function dialFailure(signal: AbortSignal): DialFailure {
  return signal.aborted ? "connect timeout" : "connect failed";
}
