/**
 * IP addresses and ranges of them, as bytes: 4 for IPv4, 16 for IPv6. An IPv4 address that was
 * written or came as an IPv6 one (`::ffff:10.0.0.7`) is an IPv4 address. Pure.
 */

/** An address: 4 bytes for IPv4, 16 for IPv6. */
export type IpAddress = Readonly<Uint8Array>;

/** All addresses that agree with `address` in the bits of `mask`; both are of one length. */
export interface IpRange {
  readonly address: IpAddress;
  readonly mask: IpAddress;
}

const IPV4_BYTES = 4;

const IPV6_BYTES = 16;

/** How many leading bits of a mapped address say that it is one. */
const MAPPED_PREFIX_BITS = 96;

/** What one subscriber is commonly given of IPv6, in bytes: all its addresses are one peer's. */
const IPV6_SITE_BYTES = 8;

/**
 * The bytes of an address; undefined for what is none. Strict: no zone, no leading zeros in IPv4,
 * which some read as octal.
 */
export function parseIp(text: string): Uint8Array | undefined {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

/**
 * The address of a peer. One that reached an IPv6 socket over IPv4 is what it was before; a zone
 * (`fe80::1%eth0`) does not count, as in PostgreSQL.
 */
export function peerIp(host: string): IpAddress | undefined {
  return parseIp(host.replace(/%.*$/s, ""));
}

/** An address as text: IPv6 in hexadecimal groups, the longest run of zeros left out. */
export function ipText(bytes: Uint8Array): string {
  const plain = unmapped(bytes);
  if (plain.length === IPV4_BYTES) return plain.join(".");
  const groups = Array.from(
    { length: IPV6_BYTES / 2 },
    (_, i) => ((plain[2 * i]! << 8) | plain[2 * i + 1]!).toString(16),
  );
  return canonicalIpv6(groups.join(":"));
}

/**
 * Who is behind an address, as far as that can be told by it: an IPv4 address itself, an IPv6 one
 * by its first 64 bits, since whoever has one has all of them; any other text as it is.
 */
export function peerGroup(host: string): string {
  if (!host.includes(":")) return host;
  const bytes = peerIp(host);
  if (bytes?.length !== IPV6_BYTES) return host;
  return `${ipText(bytes.map((byte, at) => at < IPV6_SITE_BYTES ? byte : 0))}/64`;
}

/** Reads `10.0.0.0/8`, `fd00::/8` or a single address; undefined for what is none. */
export function parseIpRange(text: string): IpRange | undefined {
  const [host = "", prefix, ...rest] = text.split("/");
  const address = parseIp(host);
  if (address === undefined || rest.length > 0) return undefined;
  const bitCount = address.length * 8;
  if (prefix === undefined) return onlyAddress(address);
  if (!/^(0|[1-9]\d{0,2})$/.test(prefix)) return undefined;
  const isWrittenAsIpv6 = host.includes(":") && address.length === IPV4_BYTES;
  const bits = Number(prefix) - (isWrittenAsIpv6 ? MAPPED_PREFIX_BITS : 0);
  return bits >= 0 && bits <= bitCount ? { address, mask: prefixMask(address, bits) } : undefined;
}

/** The range of one address. */
export function onlyAddress(address: IpAddress): IpRange {
  return { address, mask: prefixMask(address, address.length * 8) };
}

/** The mask for such an address that begins with so many ones. */
export function prefixMask(address: IpAddress, bits: number): IpAddress {
  return Uint8Array.from(address, (_, at) => {
    const own = Math.min(Math.max(bits - at * 8, 0), 8);
    return 0xff << (8 - own);
  });
}

/** Whether an address is in a range. Those of another family are not. */
export function isInRange(peer: IpAddress, { address, mask }: IpRange): boolean {
  return peer.length === address.length &&
    peer.every((byte, at) => ((byte ^ address[at]!) & mask[at]!) === 0);
}

function parseIpv4(text: string): Uint8Array | undefined {
  if (!/^(?:(?:0|[1-9]\d{0,2})(?:\.|$)){4}$/.test(text) || text.endsWith(".")) return undefined;
  const parts = text.split(".").map(Number);
  return parts.every((part) => part <= 255) ? Uint8Array.from(parts) : undefined;
}

function parseIpv6(text: string): Uint8Array | undefined {
  const bytes = ipv6Bytes(text);
  return bytes === undefined ? undefined : unmapped(bytes);
}

/** The 16 bytes of an IPv6 address, whatever it stands for; undefined for what is none. */
export function ipv6Bytes(text: string): Uint8Array | undefined {
  if (!/^[0-9a-fA-F:.]+$/.test(text) || !URL.canParse(`http://[${text}]`)) return undefined;
  const [head = "", tail] = canonicalIpv6(text).split("::");
  const before = groupsOf(head);
  const after = tail === undefined ? [] : groupsOf(tail);
  const zeros = Array<number>(IPV6_BYTES / 2 - before.length - after.length).fill(0);
  const groups = [...before, ...zeros, ...after];
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

function groupsOf(text: string): number[] {
  return text === "" ? [] : text.split(":").map((group) => parseInt(group, 16));
}

/** As the URL standard writes it. */
function canonicalIpv6(text: string): string {
  return new URL(`http://[${text}]`).hostname.slice(1, -1);
}

/** Whether an address is an IPv4 one, written as IPv6. */
export function isMapped(address: IpAddress): boolean {
  return address.length === IPV6_BYTES && address[10] === 0xff && address[11] === 0xff &&
    address.subarray(0, 10).every((byte) => byte === 0);
}

function unmapped(bytes: Uint8Array): Uint8Array {
  return isMapped(bytes) ? bytes.slice(IPV6_BYTES - IPV4_BYTES) : bytes;
}
