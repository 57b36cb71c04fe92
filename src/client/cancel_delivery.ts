/** Sending one cancel request over a connection opened for it. */

import type { Clock } from "../base/clock.ts";
import { startDeadline } from "../base/deadline.ts";
import type { ByteStream } from "../net/byte_stream.ts";
import type { Network, StreamOptions } from "../net/network.ts";
import { cancelRequest } from "../wire/startup_packet.ts";
import type { CancelPlacesOptions } from "./cancel_places.ts";

/** More than an error message, the only thing that may come in place of the end. */
const MAX_ANSWER_BYTES = 65_536;

/** What opening connections for cancel requests takes, and how long that may last. */
export interface CancelMeans extends CancelPlacesOptions {
  readonly network: Network;
  readonly streamOptions: () => StreamOptions;
  readonly connectTimeoutMs: () => number;
}

/** How a request is sent. */
export interface CancelDeliveryOptions {
  readonly clock: Clock;
  readonly key: Uint8Array;
  /** Longest wait for the answer; 0: none. */
  readonly limitMs: number;
  /** Ends the wait when aborted. */
  readonly signal: AbortSignal;
  /** Called when the wait is given up, or too much comes: the request may still arrive. */
  readonly onGivenUp: () => void;
}

/**
 * Sends the request and waits for its answer, which is the end of the connection: only then has it
 * taken effect, and is over. The caller closes the stream.
 */
export async function deliverCancel(
  stream: ByteStream,
  { clock, key, limitMs, onGivenUp, signal }: CancelDeliveryOptions,
): Promise<void> {
  const giveUp = () => {
    onGivenUp();
    stream.close();
  };
  const timer = limitMs > 0 ? startDeadline(clock, limitMs, giveUp) : undefined;
  signal.addEventListener("abort", giveUp);
  if (signal.aborted) giveUp();
  try {
    const message = cancelRequest(key);
    await stream.write(message, 0, message.length);
    let receivedBytes = 0;
    await stream.pump((_buffer, length) => {
      receivedBytes += length;
      if (receivedBytes > MAX_ANSWER_BYTES) giveUp();
    });
  } finally {
    timer?.cancel();
    signal.removeEventListener("abort", giveUp);
  }
}
