/**
 * A name server that knows what a test tells it. Answers over UDP.
 * Source: RFC 1035, section 4 (messages); RFC 3596 (AAAA).
 */

import { Buffer } from "node:buffer";
import { createSocket, type Socket } from "node:dgram";
import { parseIp } from "../../src/base/ip_address.ts";

/** What is known of one name. */
export interface NameRecords {
  /** IPv4 and IPv6. */
  readonly addresses?: readonly string[];
  readonly ttlSeconds?: number;
  /** Serial number, for a zone. */
  readonly serial?: number;
}

const TYPE = { a: 1, soa: 6, aaaa: 28 } as const;

const CLASS_IN = 1;
const HEADER_BYTES = 12;
/** An answer to a query, with authority; and that there is no such name. */
const FLAGS = { answer: 0x8580, noSuchName: 0x8583 } as const;
/** Stands for the name that was asked for, which begins behind the header. */
const NAME_POINTER = 0xc000 | HEADER_BYTES;

/** A name server on a port of its own, until disposed of. */
export class NameServer implements AsyncDisposable {
  readonly records = new Map<string, NameRecords>();
  /** Names and types, as they were asked for. */
  readonly asked: string[] = [];
  isSilent = false;
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("message", (query, peer) => {
      const answer = this.#answer(query);
      if (!this.isSilent) socket.send(answer, peer.port, peer.address);
    });
  }

  /** Starts to answer. */
  static async start(): Promise<NameServer> {
    const socket = createSocket("udp4");
    await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", () => resolve()));
    return new NameServer(socket);
  }

  /** As a name server is written with its port. */
  get address(): string {
    return `127.0.0.1:${this.#socket.address().port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }

  #answer(query: Buffer): Buffer {
    const { end, name } = readName(query);
    const type = query.readUInt16BE(end);
    this.asked.push(`${name} ${type}`);
    const known = this.records.get(name);
    const records = answersOf(known ?? {}, type);
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt16BE(query.readUInt16BE(0), 0);
    header.writeUInt16BE(known === undefined ? FLAGS.noSuchName : FLAGS.answer, 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(records.length, 6);
    return Buffer.concat([header, query.subarray(HEADER_BYTES, end + 4), ...records]);
  }
}

function readName(query: Buffer): { readonly name: string; readonly end: number } {
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (let length = query[at]!; length > 0; length = query[at]!) {
    labels.push(query.toString("latin1", at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join("."), end: at + 1 };
}

function answersOf(
  { addresses = [], serial, ttlSeconds = 60 }: NameRecords,
  type: number,
): Buffer[] {
  if (type === TYPE.soa) return serial === undefined ? [] : [record(type, 60, soaData(serial))];
  return addresses
    .map((address) => parseIp(address)!)
    .filter(({ length }) => type === (length === 4 ? TYPE.a : TYPE.aaaa))
    .map((bytes) => record(type, ttlSeconds, bytes));
}

function record(type: number, ttlSeconds: number, data: Uint8Array): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(NAME_POINTER, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt16BE(CLASS_IN, 4);
  head.writeUInt32BE(ttlSeconds, 6);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

/** Two names, and five numbers of which the first is the serial number. */
function soaData(serial: number): Buffer {
  const numbers = Buffer.alloc(20, 1);
  numbers.writeUInt32BE(serial, 0);
  return Buffer.concat([Buffer.from("\x01a\0\x01b\0", "latin1"), numbers]);
}
