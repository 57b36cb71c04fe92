/**
 * Turning newcomers away from a listening TCP socket whose port others listen on, too.
 *
 * The kernel deals connections out among all listeners of a port, and resets those that a listener
 * has not accepted when it closes. A filter on the socket drops the first packet of a newcomer: it
 * sends that again after a second, and then comes to one of those that are left. Whoever is in the
 * middle of connecting gets through.
 * Source: socket(7), SO_ATTACH_FILTER; the kernel's documentation of socket filters; tcp(7).
 */

import type { LibcCalls } from "./libc.ts";
import { descriptorOf } from "./listening_descriptor.ts";
import { setFilter } from "./socket_options.ts";

/** Where a TCP header has its flags, and two of them. */
const FLAGS_AT = 13;
const SYN = 0x02;
const ACK = 0x10;

/** An instruction of a filter: `struct sock_filter`. */
type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, operand: number];

/** Drops what has SYN set and not ACK, lets everything else through. */
const DROP_NEWCOMERS: readonly Instruction[] = [
  [0x30, 0, 0, FLAGS_AT], // load the byte
  [0x54, 0, 0, SYN | ACK], // keep these two bits
  [0x15, 0, 1, SYN], // is it SYN alone?
  [0x06, 0, 0, 0], // take nothing of the packet
  [0x06, 0, 0, 0xffff_ffff], // take all of it
];

/** Turns newcomers away from a socket. Returns whether the kernel does so. */
export function turnAwayNewcomers(libc: LibcCalls, descriptor: number): boolean {
  return setFilter(libc, descriptor, encode(DROP_NEWCOMERS)) >= 0;
}

/** The same for a listener whose descriptor is not known; nothing if it cannot be told. */
export function turnAwayNewcomersOf(libc: LibcCalls, listener: Deno.Listener): void {
  const descriptor = descriptorOf(libc, listener);
  if (descriptor !== undefined) turnAwayNewcomers(libc, descriptor);
}

function encode(program: readonly Instruction[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(8 * program.length);
  const view = new DataView(bytes.buffer);
  for (const [at, [code, ifTrue, ifFalse, operand]] of program.entries()) {
    view.setUint16(8 * at, code, true);
    view.setUint8(8 * at + 2, ifTrue);
    view.setUint8(8 * at + 3, ifFalse);
    view.setUint32(8 * at + 4, operand, true);
  }
  return bytes;
}
