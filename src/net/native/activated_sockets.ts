/**
 * Listening sockets that the process was started with, by systemd's socket activation.
 * Source: sd_listen_fds(3).
 */

import { formatAddress, type ListenAddress } from "../network.ts";
import { FAMILY } from "./libc.ts";
import type { ProcessLibc } from "./process_libc.ts";
import { decodeEndpoint, decodePath, familyOf } from "./socket_address.ts";

/** The first descriptor that is handed over. */
const FIRST_DESCRIPTOR = 3;

/** More than anybody hands over; a number beyond it is a mistake. */
const MAX_SOCKETS = 1_024;

/** The variables; no child process is to have them. */
export const ACTIVATION_VARIABLES = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] as const;

/** Sockets were handed over, and cannot be used. */
export class ActivationError extends Error {
  override readonly name = "ActivationError";
}

/** A socket by its descriptor, and the name that its unit gives it. */
export interface HandedSocket {
  readonly descriptor: number;
  /** For messages; undefined if there are no names. */
  readonly name: string | undefined;
}

/**
 * Reads the variables: nothing if no sockets were handed to this process.
 * @throws {ActivationError} If they make no sense.
 */
export function planActivation(
  env: (name: string) => string | undefined,
  processId: number,
): readonly HandedSocket[] {
  const count = wholeNumber("LISTEN_FDS", env("LISTEN_FDS"));
  const owner = wholeNumber("LISTEN_PID", env("LISTEN_PID"));
  // What was meant for a parent is not ours; sd_listen_fds() sees it the same way.
  if (count === undefined || owner !== processId) return [];
  if (count > MAX_SOCKETS) throw new ActivationError(`LISTEN_FDS is ${count}: that is too many`);
  const names = env("LISTEN_FDNAMES")?.split(":");
  if (names !== undefined && names.length !== count) {
    throw new ActivationError(
      `LISTEN_FDNAMES has ${names.length} names, and LISTEN_FDS says ${count} sockets`,
    );
  }
  return Array.from({ length: count }, (_, i) => ({
    descriptor: FIRST_DESCRIPTOR + i,
    name: names?.[i],
  }));
}

/** Where a handed socket listens, and what it takes to use it. */
export type ActivationCalls = Pick<ProcessLibc, "listeningAddress" | "setOwn">;

/**
 * Makes the sockets this process's own, and says where they listen. A unix socket whose name has no
 * port in it stands for `unixPort`.
 * @throws {ActivationError} If one is no listening stream socket of TCP or unix.
 */
export function takeActivated(
  libc: ActivationCalls,
  sockets: readonly HandedSocket[],
  unixPort: number,
): ListenAddress[] {
  return sockets.map((socket) => {
    const bound = libc.listeningAddress(socket.descriptor);
    if (bound === undefined) throw unusable(socket, "is no stream socket that listens");
    const address = addressOf(bound, unixPort);
    if (address === undefined) throw unusable(socket, "is neither a TCP nor a unix socket");
    if (libc.setOwn(socket.descriptor) < 0) throw unusable(socket, "cannot be set up");
    return { ...address, descriptor: socket.descriptor };
  });
}

/** A line for the log. */
export function activationText(addresses: readonly ListenAddress[]): string {
  return `using sockets of LISTEN_FDS in place of listen_addr and unix_socket_dir: ${
    addresses.map(formatAddress).join(", ")
  }`;
}

function addressOf(bound: Uint8Array, unixPort: number): ListenAddress | undefined {
  switch (familyOf(bound)) {
    case FAMILY.inet:
    case FAMILY.inet6:
      return { kind: "tcp", ...decodeEndpoint(bound, 0), backlog: 0 };
    case FAMILY.unix: {
      const path = decodePath(bound).replace(/^\0/, "@");
      const port = Number(/\.s\.PGSQL\.(\d+)$/.exec(path)?.[1] ?? unixPort);
      return { kind: "unix", path, port, mode: 0, group: undefined };
    }
    default:
      return undefined;
  }
}

function unusable({ descriptor, name }: HandedSocket, why: string): ActivationError {
  const label = name === undefined || name === "" ? "" : ` ("${name}")`;
  return new ActivationError(`Descriptor ${descriptor}${label} of LISTEN_FDS ${why}`);
}

function wholeNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text)) throw new ActivationError(`${name} is no number: "${text}"`);
  return Number(text);
}
