/** IP addresses and ranges of them, as HBA lines have them. Pure. */

/** An address: 4 bytes for IPv4, 16 for IPv6. */
export type IpAddress = Readonly<Uint8Array>;

/** All addresses that agree with `address` in the bits of `mask`; both are of one length. */
export interface IpRange {
  readonly address: IpAddress;
  readonly mask: IpAddress;
}

const IPV4_BYTES = 4;
const IPV6_BYTES = 16;

/** The first bytes of an IPv4 address that is written as IPv6: `::ffff:a.b.c.d`. */
const MAPPED_PREFIX: readonly number[] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/** Reads an address, as it is written; undefined if it is none. */
export function parseIp(text: string): IpAddress | undefined {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

/**
 * The address of a peer. One that reached an IPv6 socket over IPv4 is what it was before; a zone
 * (`fe80::1%eth0`) does not count, as in PostgreSQL.
 */
export function peerIp(text: string): IpAddress | undefined {
  const address = parseIp(text.replace(/%.*$/s, ""));
  return address !== undefined && isMapped(address) ? address.subarray(12) : address;
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

function parseIpv4(text: string): IpAddress | undefined {
  const parts = text.split(".");
  // Without leading zeros, which some take for octal digits.
  const isRight = parts.length === IPV4_BYTES &&
    parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
  return isRight ? Uint8Array.from(parts, Number) : undefined;
}

function parseIpv6(text: string): IpAddress | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map((half, at) => groupBytes(half, at === halves.length - 1));
  if (head === undefined || halves.length === 2 && tail === undefined) return undefined;
  const missing = IPV6_BYTES - head.length - (tail?.length ?? 0);
  // "::" stands for one group at least.
  if (tail === undefined ? missing !== 0 : missing < 2) return undefined;
  return Uint8Array.from([...head, ...new Array<number>(missing).fill(0), ...tail ?? []]);
}

/** The bytes of groups between colons; the last of the address may be an IPv4 address. */
function groupBytes(text: string, isEnd: boolean): number[] | undefined {
  if (text === "") return [];
  const bytes: number[] = [];
  const groups = text.split(":");
  for (const [at, group] of groups.entries()) {
    const ipv4 = isEnd && at === groups.length - 1 ? parseIpv4(group) : undefined;
    if (ipv4 !== undefined) bytes.push(...ipv4);
    else if (!/^[0-9a-f]{1,4}$/i.test(group)) return undefined;
    else bytes.push(parseInt(group, 16) >> 8, parseInt(group, 16) & 0xff);
  }
  return bytes.length > IPV6_BYTES ? undefined : bytes;
}
