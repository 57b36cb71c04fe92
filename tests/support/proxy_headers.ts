/** PROXY headers, as a proxy writes them. */

import { join, utf8 } from "./messages.ts";

/** Who connects to whom through the proxy; addresses as bytes, 4 or 16 of them. */
export interface ProxiedAddresses {
  readonly source: readonly number[];
  readonly target: readonly number[];
  readonly sourcePort: number;
  readonly targetPort: number;
}

const SIGNATURE = Uint8Array.of(13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10);

/** A header of version 1 for a client of IPv4 or IPv6. */
export function proxyLine(source: string, sourcePort: number): Uint8Array<ArrayBuffer> {
  const [family, target] = source.includes(":") ? ["TCP6", "fd00::1"] : ["TCP4", "192.0.2.1"];
  return utf8(`PROXY ${family} ${source} ${target} ${sourcePort} 6432\r\n`);
}

/** A header of version 2 with any command, family and rest. */
export function proxyBinary(
  { command, family, rest }: { command: number; family: number; rest: Uint8Array },
): Uint8Array<ArrayBuffer> {
  const lengthBytes = Uint8Array.of(rest.length >> 8, rest.length & 0xff);
  return join(SIGNATURE, Uint8Array.of(command, family), lengthBytes, rest);
}

/** A header of version 2 for a client of IPv4 or IPv6, with further values behind the addresses. */
export function proxied(
  { source, sourcePort, target, targetPort }: ProxiedAddresses,
  further: Uint8Array = new Uint8Array(),
): Uint8Array<ArrayBuffer> {
  const ports = [sourcePort >> 8, sourcePort & 0xff, targetPort >> 8, targetPort & 0xff];
  const addresses = Uint8Array.from([...source, ...target, ...ports]);
  const family = source.length === 4 ? 0x11 : 0x21;
  return proxyBinary({ command: 0x21, family, rest: join(addresses, further) });
}

/** The header of a proxy that speaks for itself, as for a health check. */
export function proxyLocal(): Uint8Array<ArrayBuffer> {
  return proxyBinary({ command: 0x20, family: 0, rest: new Uint8Array() });
}
