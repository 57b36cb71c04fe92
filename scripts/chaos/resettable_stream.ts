/** A client's stream that can be broken off by a reset (RST), as a crashed machine or a firewall does. */

import { connect, type Socket } from "node:net";
import { once } from "node:events";
import { noHandshake } from "../../tests/support/no_handshake.ts";
import type { ByteStream } from "../../src/net/byte_stream.ts";

/** As much of a stream as a `TestClient` needs, and `reset()`. */
export interface ResettableStream extends ByteStream {
  /** Ends the connection at once, both ways, with what was sent and not delivered thrown away. */
  reset(): void;
}

/** Connects. Rejects if that fails. */
export async function connectResettable(host: string, port: number): Promise<ResettableStream> {
  const socket = connect(port, host);
  await once(socket, "connect");
  // What breaks later ends the reading.
  socket.on("error", () => {});
  return overSocket(socket);
}

function overSocket(socket: Socket): ResettableStream {
  async function* chunks(): AsyncGenerator<Uint8Array, void, void> {
    try {
      for await (const chunk of socket) yield chunk as Uint8Array;
    } catch {
      // Lost is over, too.
    }
  }
  return {
    remote: { host: "", port: 0 },
    local: { host: "", port: 0 },
    peerUid: undefined,
    isUnix: false,
    tls: undefined,
    tlsFailure: undefined,
    startTls: noHandshake,
    resume: () => {},
    watch: () => {},
    get isClosed() {
      return socket.destroyed;
    },
    chunks,
    async pump(sink) {
      for await (const chunk of chunks()) await sink(chunk, chunk.length);
    },
    async write(buffer, start, end) {
      await new Promise<void>((resolve) => {
        socket.write(buffer.subarray(start, end), () => resolve());
      });
    },
    finishWriting() {
      socket.end();
    },
    close() {
      socket.destroy();
    },
    reset() {
      socket.resetAndDestroy();
    },
  };
}
