/** Ranges of IP addresses, as HBA lines have them. Pure. */

import { ipv6Bytes, parseIp as parseUnmapped } from "../base/ip_address.ts";

/** An address: 4 bytes for IPv4, 16 for IPv6. */
export type IpAddress = Readonly<Uint8Array>;

/** All addresses that agree with `address` in the bits of `mask`; both are of one length. */
export interface IpRange {
  readonly address: IpAddress;
  readonly mask: IpAddress;
}

const IPV6_BYTES = 16;

/** The first bytes of an IPv4 address that is written as IPv6: `::ffff:a.b.c.d`. */
const MAPPED_PREFIX: readonly number[] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/** Reads an address, of the family in which it is written; undefined if it is none. */
export function parseIp(text: string): IpAddress | undefined {
  return text.includes(":") ? ipv6Bytes(text) : parseUnmapped(text);
}

/**
 * The address of a peer. One that reached an IPv6 socket over IPv4 is what it was before; a zone
 * (`fe80::1%eth0`) does not count, as in PostgreSQL.
 */
export function peerIp(text: string): IpAddress | undefined {
  return parseUnmapped(text.replace(/%.*$/s, ""));
}

/** Whether an address is an IPv4 one, written as IPv6. */
export function isMapped(address: IpAddress): boolean {
  return address.length === IPV6_BYTES && MAPPED_PREFIX.every((byte, at) => address[at] === byte);
}

/** Reads the number behind the slash; undefined if it is none for such an address. */
export function prefixMask(address: IpAddress, text: string): IpAddress | undefined {
  if (!/^\d{1,3}$/.test(text) || Number(text) > address.length * 8) return undefined;
  let bits = Number(text);
  return Uint8Array.from(address, () => {
    const own = Math.min(8, bits);
    bits -= own;
    return 0xff << (8 - own);
  });
}

/** Whether an address is in a range. Those of another family are not. */
export function isInRange(peer: IpAddress, { address, mask }: IpRange): boolean {
  return peer.length === address.length &&
    peer.every((byte, at) => ((byte ^ address[at]!) & mask[at]!) === 0);
}
