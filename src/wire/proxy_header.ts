/**
 * The header with which a proxy says for whom it connects, in front of anything else: versions 1
 * (a line of text) and 2 (binary) of the PROXY protocol. Pure. Who is believed is decided elsewhere.
 * Source: HAProxy, "The PROXY protocol, versions 1 & 2", sections 2.1 and 2.2.
 */

import { ipText, parseIp } from "../base/ip_address.ts";
import { ProtocolError } from "./pg_error.ts";

/** Longest header of version 1, its CRLF included. */
const MAX_LINE_BYTES = 107;

/** What a header of version 1 begins with. */
const LINE_START: readonly number[] = [0x50, 0x52, 0x4f, 0x58, 0x59, 0x20]; // "PROXY "

/** What a header of version 2 begins with. */
const SIGNATURE: readonly number[] = [
  ...[0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a],
  ...[0x51, 0x55, 0x49, 0x54, 0x0a],
];

/** Signature, version and command, family and transport, length of the rest. */
const FIXED_BYTES = 16;

/** Longest rest of a header of version 2; ours. Proxies that add certificates stay far below. */
const MAX_REST_BYTES = 4_096;

/** Version 2 in the upper half, the command in the lower. */
const COMMAND = { local: 0x20, proxy: 0x21 } as const;

/** Address family in the upper half, transport (1 = stream) in the lower. */
const FAMILY = { unspecified: 0x00, tcp4: 0x11, tcp6: 0x21, unixStream: 0x31 } as const;

/** Where a client is that a proxy connects for. */
export interface ProxySource {
  readonly host: string;
  readonly port: number;
}

/** A whole header. */
export interface ProxyHeader {
  /** How many bytes it has; what comes behind is the client's. */
  readonly byteCount: number;
  /** Undefined if the proxy speaks for itself, or cannot tell: it is the connection's own address. */
  readonly source: ProxySource | undefined;
}

/** Whether a header may begin so; a startup packet cannot, whose length would be over any limit. */
export function isProxyHeaderStart(firstByte: number): boolean {
  return firstByte === LINE_START[0] || firstByte === SIGNATURE[0];
}

/**
 * The header that these bytes begin with; undefined while more of it has to come.
 * @throws {ProtocolError} As soon as it cannot become a header that is understood.
 */
export function readProxyHeader(bytes: Uint8Array): ProxyHeader | undefined {
  if (bytes.length === 0) return undefined;
  const start = bytes[0] === LINE_START[0] ? LINE_START : SIGNATURE;
  if (start.some((byte, at) => at < bytes.length && bytes[at] !== byte)) {
    throw new ProtocolError("no PROXY header where one is expected");
  }
  return start === LINE_START ? readLine(bytes) : readBinary(bytes);
}

// --- version 1 ---

function readLine(bytes: Uint8Array): ProxyHeader | undefined {
  const lineBytes = bytes.subarray(0, MAX_LINE_BYTES);
  const end = lineBytes.findIndex((byte, at) => byte === 0x0d && lineBytes[at + 1] === 0x0a);
  if (end < 0) {
    if (bytes.length >= MAX_LINE_BYTES) throw badHeader("the line is too long");
    return undefined;
  }
  const line = String.fromCharCode(...lineBytes.subarray(0, end));
  return { byteCount: end + 2, source: sourceOfLine(line) };
}

function sourceOfLine(line: string): ProxySource | undefined {
  const [, family = "", ...fields] = line.split(" ");
  // Whatever stands behind it is to be ignored.
  if (family === "UNKNOWN") return undefined;
  if (family !== "TCP4" && family !== "TCP6") throw badHeader("the family is not known");
  if (fields.length !== 4) throw badHeader("two addresses and two ports are expected");
  const [source, target, sourcePort, targetPort] = fields as [string, string, string, string];
  const isFamily = (text: string) => text.includes(":") === (family === "TCP6");
  const [host, other] = [parseIp(source), parseIp(target)];
  if (host === undefined || other === undefined || !isFamily(source) || !isFamily(target)) {
    throw badHeader("an address is no address of the family");
  }
  parsePort(targetPort);
  return { host: ipText(host), port: parsePort(sourcePort) };
}

function parsePort(text: string): number {
  const port = /^(0|[1-9]\d{0,4})$/.test(text) ? Number(text) : Infinity;
  if (port > 65_535) throw badHeader("a port is no port");
  return port;
}

// --- version 2 ---

function readBinary(bytes: Uint8Array): ProxyHeader | undefined {
  if (bytes.length < FIXED_BYTES) return undefined;
  const command = bytes[12]!;
  if (command !== COMMAND.local && command !== COMMAND.proxy) {
    throw badHeader("version or command are not known");
  }
  const restBytes = uint16(bytes, 14);
  if (restBytes > MAX_REST_BYTES) throw badHeader(`longer than ${MAX_REST_BYTES} bytes`);
  const byteCount = FIXED_BYTES + restBytes;
  if (bytes.length < byteCount) return undefined;
  // What a proxy that speaks for itself says of addresses is to be ignored.
  if (command === COMMAND.local) return { byteCount, source: undefined };
  return { byteCount, source: sourceOf(bytes[13]!, bytes.subarray(FIXED_BYTES, byteCount)) };
}

/** `rest`: source and target address, their ports, and further values, which are not looked at. */
function sourceOf(family: number, rest: Uint8Array): ProxySource | undefined {
  switch (family) {
    case FAMILY.unspecified:
    case FAMILY.unixStream:
      return undefined;
    case FAMILY.tcp4:
      return sourceOfLength(rest, 4);
    case FAMILY.tcp6:
      return sourceOfLength(rest, 16);
    default:
      throw badHeader("family or transport are not known");
  }
}

function sourceOfLength(rest: Uint8Array, addressBytes: number): ProxySource {
  if (rest.length < 2 * addressBytes + 4) throw badHeader("the addresses are cut short");
  return { host: ipText(rest.subarray(0, addressBytes)), port: uint16(rest, 2 * addressBytes) };
}

function uint16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

function badHeader(why: string): ProtocolError {
  return new ProtocolError(`bad PROXY header: ${why}`);
}
