/** Of an end that comes with the last of a handshake the kernel tells but once. */

import assert from "node:assert/strict";
import { FAMILY } from "../../../src/net/native/libc.ts";
import { LibSsl } from "../../../src/net/native/libssl.ts";
import { encodeIpAddress } from "../../../src/net/native/socket_address.ts";
import { eventually } from "../../support/eventually.ts";
import { makeTlsMaterial, toClients } from "../../support/tls_material.ts";
import { Acceptor, NativeUnderTest } from "./native_engine.ts";

/** So many records are more than a step of a handshake reads, and end soon behind it. */
const RECORD_COUNT = 49;
const RECORD_BYTES = 1_000;

Deno.test({
  name: "native TLS: a peer that ends while the handshake does has ended",
  ignore: Deno.build.os !== "linux",
  async fn() {
    await using engine = await NativeUnderTest.open();
    await using acceptor = await Acceptor.open(engine);
    using context = engine.tls.makeContext(toClients(makeTlsMaterial().server));
    // Without waiting in between, so that all of it is there when the engine looks.
    using peer = new BluntPeer(engine, acceptor.port);
    const { value: stream } = await acceptor.accepted.next();
    assert.ok(stream !== undefined);
    const shaken = stream.startTls({ context });
    await eventually("the peer can answer", () => peer.receive());
    peer.sendAllAndEnd();
    await shaken;
    let count = 0;
    await stream.pump((_buffer, length) => {
      count += length;
    });
    assert.equal(count, RECORD_COUNT * RECORD_BYTES);
    stream.close();
  },
});

/** A client that ends without a word (close_notify). */
class BluntPeer implements Disposable {
  readonly #libc;
  readonly #descriptor: number;
  readonly #libssl = LibSsl.open();
  readonly #connection;
  readonly #bytes = new Uint8Array(65_536);

  constructor({ library }: NativeUnderTest, port: number) {
    this.#libc = library;
    this.#descriptor = library.socket(FAMILY.inet);
    library.connect(this.#descriptor, encodeIpAddress("127.0.0.1", port));
    const context = this.#libssl.newContext();
    this.#connection = this.#libssl.newConnection(context, "client");
    this.#libssl.freeContext(context);
    this.#libssl.handshake(this.#connection);
    this.#send();
  }

  /** Goes on with the handshake. Returns whether it is done. */
  receive(): boolean {
    const count = this.#libc.receive(this.#descriptor, this.#bytes, 16_384);
    if (count > 0) this.#libssl.feed(this.#bytes, count);
    return this.#libssl.handshake(this.#connection) === 1;
  }

  sendAllAndEnd(): void {
    const record = new Uint8Array(RECORD_BYTES);
    for (let i = 0; i < RECORD_COUNT; i++) {
      this.#libssl.write(this.#connection, record, record.length);
    }
    this.#send();
    this.#libc.finishSending(this.#descriptor);
  }

  [Symbol.dispose](): void {
    this.#libssl.free(this.#connection);
    this.#libssl[Symbol.dispose]();
    this.#libc.close(this.#descriptor);
  }

  #send(): void {
    const count = this.#libssl.take(this.#bytes);
    assert.equal(this.#libc.send(this.#descriptor, this.#bytes, 0, count), count);
  }
}
