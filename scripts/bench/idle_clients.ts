/**
 * A process of its own that logs in many clients, lets each run one query, and then holds them idle until
 * its standard input ends. Prints `ready` when all are idle. It speaks the few messages itself: 5,000
 * clients of a driver would need more memory than what is measured.
 *
 * Arguments: port, count, user; the pooler's certificate, if they are to use TLS.
 */

const TYPE_AUTHENTICATION = 0x52; // "R"
const TYPE_ERROR = 0x45; // "E"
const TYPE_READY = 0x5a; // "Z"

/** How many log in at the same time: listeners' backlogs are short. */
const CONCURRENCY = 50;

/** A startup packet for protocol 3.0. */
function startupPacket(user: string): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(`user\0${user}\0database\0postgres\0\0`);
  const packet = new Uint8Array(8 + text.length);
  const view = new DataView(packet.buffer);
  view.setUint32(0, packet.length);
  view.setUint32(4, 3 << 16);
  packet.set(text, 8);
  return packet;
}

/** A Query message. */
export function query(sql: string): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(`${sql}\0`);
  const message = new Uint8Array(5 + text.length);
  message[0] = "Q".charCodeAt(0);
  new DataView(message.buffer).setUint32(1, 4 + text.length);
  message.set(text, 5);
  return message;
}

/** Reads until ReadyForQuery, which is the last message of its answer. Rejects if there is an error in it. */
export async function untilReady(conn: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(4096);
  let length = 0;
  for (;;) {
    const count = await conn.read(buffer.subarray(length));
    if (count === null) throw new Error("The pooler closed the connection");
    length += count;
    if (hasReady(buffer.subarray(0, length))) return;
    if (length === buffer.length) throw new Error("An answer that is longer than expected");
  }
}

/** Walks whole messages; answers whether one is ReadyForQuery. */
function hasReady(bytes: Uint8Array<ArrayBuffer>): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 5 <= bytes.length;) {
    const type = bytes[at];
    const end = at + 1 + view.getUint32(at + 1);
    if (end > bytes.length) return false;
    if (type === TYPE_READY) return true;
    const isRefused = type === TYPE_AUTHENTICATION && view.getUint32(at + 5) !== 0;
    if (type === TYPE_ERROR || isRefused) {
      throw new Error(`Refused: ${new TextDecoder().decode(bytes.subarray(at, end))}`);
    }
    at = end;
  }
  return false;
}

/** Who logs in, and where. */
export interface Target {
  readonly port: number;
  readonly user: string;
  /** PEM of the certificate to be believed; undefined = plain text. */
  readonly certificate: string | undefined;
}

/** SSLRequest: its length, and the code that stands in the place of a version. */
const SSL_REQUEST: readonly number[] = [0, 0, 0, 8, 4, 210, 22, 47];

async function connect({ certificate, port }: Target): Promise<Deno.Conn> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  if (certificate === undefined) return conn;
  await conn.write(new Uint8Array(SSL_REQUEST));
  await conn.read(new Uint8Array(1));
  return await Deno.startTls(conn, { hostname: "localhost", caCerts: [certificate] });
}

async function logIn(target: Target): Promise<Deno.Conn> {
  const { user } = target;
  const conn = await connect(target);
  await conn.write(startupPacket(user));
  await untilReady(conn);
  await conn.write(query("select 1"));
  await untilReady(conn);
  return conn;
}

/** Logs in `count` clients, some at a time, each of which runs a query. */
export async function logInAll(target: Target, count: number): Promise<Deno.Conn[]> {
  const conns: Deno.Conn[] = [];
  let begun = 0;
  async function some(): Promise<void> {
    while (begun++ < count) conns.push(await logIn(target));
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, some));
  return conns;
}

if (import.meta.main) {
  const [port, count, user = "", path] = Deno.args;
  const certificate = path === undefined ? undefined : await Deno.readTextFile(path);
  const conns = await logInAll({ port: Number(port), user, certificate }, Number(count));
  console.log("ready");
  for await (const _ of Deno.stdin.readable) continue;
  for (const conn of conns) conn.close();
}
