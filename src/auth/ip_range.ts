/** IP addresses as HBA lines have them: of the family in which they are written. Pure. */

import {
  type IpAddress,
  ipv6Bytes,
  parseIp as parseUnmapped,
  prefixMask,
} from "../base/ip_address.ts";

/** Reads an address, of the family in which it is written; undefined if it is none. */
export function parseIp(text: string): IpAddress | undefined {
  return text.includes(":") ? ipv6Bytes(text) : parseUnmapped(text);
}

/** Reads the number behind the slash; undefined if it is none for such an address. */
export function parsePrefix(address: IpAddress, text: string): IpAddress | undefined {
  if (!/^\d{1,3}$/.test(text) || Number(text) > address.length * 8) return undefined;
  return prefixMask(address, Number(text));
}
