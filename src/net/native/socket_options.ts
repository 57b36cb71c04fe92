/** Options of sockets that the runtime cannot set. Source: tcp(7), socket(7). */

import type { TcpOptions } from "../network.ts";
import type { LibcCalls, SocketOption } from "./libc.ts";

const SOL_SOCKET = 1;
const IPPROTO_IP = 0;
const IPPROTO_TCP = 6;
const IPPROTO_IPV6 = 41;

const SO_ERROR = { level: SOL_SOCKET, name: 4, byteCount: 4 } as const;
const SO_SNDBUF = { level: SOL_SOCKET, name: 7 } as const;
const SO_RCVBUF = { level: SOL_SOCKET, name: 8 } as const;
const SO_KEEPALIVE = { level: SOL_SOCKET, name: 9 } as const;
const SO_PEERCRED = { level: SOL_SOCKET, name: 17, byteCount: 12 } as const;
const SO_ACCEPTCONN = { level: SOL_SOCKET, name: 30, byteCount: 4 } as const;
const SO_COOKIE = { level: SOL_SOCKET, name: 57, byteCount: 8 } as const;
const IP_MINTTL = { level: IPPROTO_IP, name: 21 } as const;
const IPV6_MINHOPCOUNT = { level: IPPROTO_IPV6, name: 73 } as const;
const TCP_NODELAY = { level: IPPROTO_TCP, name: 1 } as const;
const TCP_KEEPIDLE = { level: IPPROTO_TCP, name: 4 } as const;
const TCP_KEEPINTVL = { level: IPPROTO_TCP, name: 5 } as const;
const TCP_KEEPCNT = { level: IPPROTO_TCP, name: 6 } as const;
const TCP_DEFER_ACCEPT = { level: IPPROTO_TCP, name: 9 } as const;
const TCP_INFO = { level: IPPROTO_TCP, name: 11, byteCount: 32 } as const;
const TCP_USER_TIMEOUT = { level: IPPROTO_TCP, name: 18 } as const;

/** Within `struct tcp_info`: of a listening socket it is the length of its queue. */
const UNACKED_AT = 24;

/** Uid within `struct ucred`: pid, uid, gid. */
const UCRED_UID_AT = 4;

/**
 * Sets what the settings say of a TCP connection. On a listener it holds for what is accepted from
 * then on, which inherits it.
 * @throws {LibcError} If the kernel refuses a value.
 */
export function setTcpOptions(libc: LibcCalls, descriptor: number, options: TcpOptions): void {
  const set = (option: SocketOption, value: number) => {
    const result = libc.setOption(descriptor, option, value);
    if (result < 0) throw libc.error(result);
  };
  // 0 leaves it to the system.
  const setIfGiven = (option: SocketOption, value: number) => {
    if (value > 0) set(option, value);
  };
  set(TCP_NODELAY, 1);
  set(SO_KEEPALIVE, options.keepAlive ? 1 : 0);
  setIfGiven(TCP_USER_TIMEOUT, options.userTimeoutMs);
  setIfGiven(SO_SNDBUF, options.socketBufferBytes);
  setIfGiven(SO_RCVBUF, options.socketBufferBytes);
  if (!options.keepAlive) return;
  setIfGiven(TCP_KEEPIDLE, wholeSeconds(options.keepAliveIdleMs));
  setIfGiven(TCP_KEEPINTVL, wholeSeconds(options.keepAliveIntervalMs));
  setIfGiven(TCP_KEEPCNT, options.keepAliveCount);
}

/** Keeps connections on which nothing has come in the kernel for so long; 0 for not at all. */
export function setDeferAccept(libc: LibcCalls, descriptor: number, seconds: number): void {
  const result = libc.setOption(descriptor, TCP_DEFER_ACCEPT, seconds);
  if (result < 0) throw libc.error(result);
}

/**
 * Has a socket drop every packet whose hop count (TTL) is less; 0 = none. Returns whether the kernel
 * does so.
 */
export function setMinHops(libc: LibcCalls, descriptor: number, count: number): boolean {
  const isSetForIpv6 = libc.setOption(descriptor, IPV6_MINHOPCOUNT, count) >= 0;
  // A socket of IPv6 may have peers of either family.
  return libc.setOption(descriptor, IP_MINTTL, count) >= 0 || isSetForIpv6;
}

/** How many connections of a listening socket wait to be accepted; undefined if that cannot be told. */
export function waitingCount(libc: LibcCalls, descriptor: number): number | undefined {
  return libc.option(descriptor, TCP_INFO)?.getUint32(UNACKED_AT, true);
}

/** The error a socket has pending, as a negative errno; 0 if none. */
export function pendingError(libc: LibcCalls, descriptor: number): number {
  return -(libc.option(descriptor, SO_ERROR)?.getInt32(0, true) ?? 0);
}

/** Whether a descriptor is a listening socket. */
export function isListening(libc: LibcCalls, descriptor: number): boolean {
  return libc.option(descriptor, SO_ACCEPTCONN)?.getInt32(0, true) === 1;
}

/** The user behind a unix socket; undefined if there is no such thing. */
export function peerUid(libc: LibcCalls, descriptor: number): number | undefined {
  return libc.option(descriptor, SO_PEERCRED)?.getUint32(UCRED_UID_AT, true);
}

/** The kernel's own number of a socket, never given out again. */
export function socketCookie(libc: LibcCalls, descriptor: number): bigint | undefined {
  return libc.option(descriptor, SO_COOKIE)?.getBigUint64(0, true);
}

/** The kernel counts in seconds; less than one is not nothing. */
function wholeSeconds(ms: number): number {
  return Math.ceil(ms / 1000);
}
