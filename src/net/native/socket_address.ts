/**
 * Addresses of sockets as the kernel has them: `sockaddr_in`, `sockaddr_in6`, `sockaddr_un`. Pure.
 * Source: ip(7), ipv6(7), unix(7).
 */

import { isIPv4, isIPv6 } from "node:net";
import { ipText, ipv6Bytes } from "../../base/ip_address.ts";
import type { Endpoint } from "../byte_stream.ts";
import { FAMILY } from "./libc.ts";

/** Longest path of a unix socket, the zero at its end included. */
const MAX_PATH_BYTES = 108;

/** An address that cannot be one. */
export class AddressError extends Error {
  override readonly name = "AddressError";
}

/** The family of an address. */
export function familyOf(address: Uint8Array): number {
  return address[0]! | (address[1]! << 8);
}

/**
 * A TCP address of an IP literal; an IPv6 one may end in a zone's number (`fe80::1%2`).
 * @throws {AddressError} If it is no IP literal.
 */
export function encodeIpAddress(ip: string, port: number): Uint8Array<ArrayBuffer> {
  if (isIPv4(ip)) {
    const bytes = startAddress(16, FAMILY.inet, port);
    bytes.set(ip.split(".").map(Number), 4);
    return bytes;
  }
  const [host = "", zone] = ip.split("%");
  const zoneId = zone === undefined ? 0 : /^\d+$/.test(zone) ? Number(zone) : NaN;
  if (!isIPv6(host) || !(zoneId <= 0xffff_ffff)) {
    throw new AddressError(`Not an IP address: ${ip}`);
  }
  const bytes = startAddress(28, FAMILY.inet6, port);
  bytes.set(ipv6Bytes(host)!, 8);
  new DataView(bytes.buffer).setUint32(24, zoneId, true);
  return bytes;
}

/**
 * A unix socket's address; a path that begins with a zero byte is abstract.
 * @throws {AddressError} If the path is too long.
 */
export function encodeUnixAddress(path: string): Uint8Array<ArrayBuffer> {
  const name = new TextEncoder().encode(path);
  const isAbstract = name[0] === 0;
  // An abstract name ends with the address, a file's with a zero.
  const byteCount = name.length + (isAbstract ? 0 : 1);
  if (byteCount > MAX_PATH_BYTES) throw new AddressError(`The path is too long: ${path}`);
  const bytes = new Uint8Array(2 + byteCount);
  bytes[0] = FAMILY.unix;
  bytes.set(name, 2);
  return bytes;
}

/** Host and port of an address; a unix socket has the port that it stands for. */
export function decodeEndpoint(address: Uint8Array, unixPort: number): Endpoint {
  switch (familyOf(address)) {
    case FAMILY.inet:
      return { host: ipText(address.subarray(4, 8)), port: portOf(address) };
    case FAMILY.inet6:
      return { host: ipText(address.subarray(8, 24)), port: portOf(address) };
    default:
      return { host: "unix", port: unixPort };
  }
}

/** The path of a unix socket's address; an abstract one begins with a zero byte. */
export function decodePath(address: Uint8Array): string {
  const name = address.subarray(2);
  const end = name[0] === 0 ? -1 : name.indexOf(0);
  return new TextDecoder().decode(end < 0 ? name : name.subarray(0, end));
}

function startAddress(byteCount: number, family: number, port: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(byteCount);
  bytes[0] = family;
  bytes[2] = port >> 8;
  bytes[3] = port & 0xff;
  return bytes;
}

function portOf(address: Uint8Array): number {
  return (address[2]! << 8) | address[3]!;
}
