/** What a peer may send over TLS that brings no byte of the stream, and what is sent together. */

import assert from "node:assert/strict";
import { ERRNO, type LibcCalls } from "../../../src/net/native/libc.ts";
import { type Handle, LibSsl, TAKE_BYTES } from "../../../src/net/native/libssl.ts";
import { TlsBuffers, TlsChannel } from "../../../src/net/native/tls_channel.ts";
import { NativeTlsContext } from "../../../src/net/native/tls_context.ts";
import { join, textOf, utf8 } from "../../support/messages.ts";
import { makeTlsMaterial, toClients } from "../../support/tls_material.ts";

const MATERIAL = makeTlsMaterial();

const CONTROL_SYMBOLS = {
  SSL_key_update: { parameters: ["pointer", "i32"], result: "i32" },
} as const;

/** A peer of a channel, with nothing but memory between them. */
class Peer implements Disposable {
  readonly channel: TlsChannel;
  readonly #libssl = LibSsl.open();
  readonly #context: NativeTlsContext;
  readonly #library = Deno.dlopen("libssl.so.3", CONTROL_SYMBOLS);
  readonly #connection: Handle;
  /** On its way to the channel, and to the peer. */
  #toChannel: Uint8Array = new Uint8Array();
  #toPeer: Uint8Array = new Uint8Array();

  constructor() {
    const libssl = this.#libssl;
    this.#context = new NativeTlsContext(libssl, new TlsBuffers(), toClients(MATERIAL.server));
    this.channel = this.#context.newChannel(this.#libc(), -1, undefined);
    const context = libssl.newContext();
    this.#connection = libssl.newConnection(context, "client");
    libssl.freeContext(context);
    this.#shakeHands();
  }

  /** Changes its keys so many times. */
  changeKeys(count: number): void {
    for (let i = 0; i < count; i++) {
      this.#library.symbols.SSL_key_update(this.#connection, 0);
      this.#libssl.handshake(this.#connection);
      this.#collect();
    }
  }

  write(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.#libssl.write(this.#connection, bytes, bytes.length);
    this.#collect();
  }

  /** Takes what the channel has sent in another way. */
  take(bytes: Uint8Array): void {
    this.#toPeer = join(this.#toPeer, bytes);
  }

  /** What has come of the channel, as a text. */
  read(): string {
    this.#libssl.feed(this.#toPeer, this.#toPeer.length);
    this.#toPeer = new Uint8Array();
    const buffer = new Uint8Array(new ArrayBuffer(4_096));
    let text = "";
    for (;;) {
      const count = this.#libssl.read(this.#connection, buffer, buffer.length);
      if (count <= 0) return text;
      text += textOf(buffer.slice(0, count));
    }
  }

  [Symbol.dispose](): void {
    this.channel.close();
    this.#libssl.free(this.#connection);
    this.#context[Symbol.dispose]();
    this.#library.close();
    this.#libssl[Symbol.dispose]();
  }

  #shakeHands(): void {
    this.#libssl.handshake(this.#connection);
    this.#collect();
    this.channel.feedFromKernel();
    this.channel.handshake();
    this.#libssl.feed(this.#toPeer, this.#toPeer.length);
    this.#toPeer = new Uint8Array();
    assert.equal(this.#libssl.handshake(this.#connection), 1);
    this.#collect();
    this.channel.feedFromKernel();
    assert.equal(this.channel.handshake(), 1);
  }

  #collect(): void {
    const bytes = new Uint8Array(TAKE_BYTES);
    const count = this.#libssl.take(bytes);
    this.#toChannel = join(this.#toChannel, bytes.subarray(0, Math.max(count, 0)));
  }

  #libc(): LibcCalls {
    const calls: Partial<LibcCalls> = {
      receive: (_descriptor, buffer, length) => {
        const bytes = this.#toChannel.subarray(0, length);
        this.#toChannel = this.#toChannel.subarray(bytes.length);
        buffer.set(bytes);
        return bytes.length === 0 ? -ERRNO.again : bytes.length;
      },
      send: (_descriptor, buffer, start, end) => {
        this.take(buffer.subarray(start, end));
        return end - start;
      },
      close: () => 0,
    };
    return calls as LibcCalls;
  }
}

function test(title: string, run: (peer: Peer) => void): void {
  Deno.test({
    name: `TLS channel: ${title}`,
    ignore: Deno.build.os !== "linux",
    fn() {
      using peer = new Peer();
      run(peer);
    },
  });
}

/** What a channel gives until it gives no more: a text, and why. */
function received({ channel }: Peer): [string, number] {
  const buffer = new Uint8Array(4_096);
  let text = "";
  for (;;) {
    const count = channel.receive(buffer, buffer.length);
    if (count <= 0 && count !== -ERRNO.interrupted) return [text, count];
    text += new TextDecoder().decode(buffer.subarray(0, Math.max(count, 0)));
  }
}

test("a peer that changes its keys between its words is heard", (peer) => {
  for (let i = 0; i < 100; i++) {
    peer.changeKeys(30);
    peer.write("a word of some length");
  }
  const [text, end] = received(peer);
  assert.equal(text, "a word of some length".repeat(100));
  assert.equal(end, -ERRNO.again);
});

test("a peer that does nothing but change its keys is given up", (peer) => {
  peer.changeKeys(3_000);
  assert.deepEqual(received(peer), ["", -ERRNO.brokenPipe]);
});

test("a peer that says little and changes its keys all the time is given up", (peer) => {
  for (let i = 0; i < 100; i++) {
    peer.changeKeys(60);
    peer.write(".");
  }
  const [text, end] = received(peer);
  assert.ok(text.length < 100);
  assert.equal(end, -ERRNO.brokenPipe);
});

for (const takenCount of [0, 5]) {
  test(`a record of which ${takenCount} bytes went with others goes before the next`, (peer) => {
    const { channel } = peer;
    let first: Uint8Array | undefined;
    channel.sendTogether = (bytes, length) => {
      if (first === undefined) {
        first = bytes.slice(0, length);
        return true;
      }
      peer.take(first.subarray(0, takenCount));
      assert.equal(channel.takeBack(first.subarray(takenCount)).length, 0);
      return false;
    };
    assert.equal(channel.send(utf8("one, "), 0, 5), 5);
    assert.equal(peer.read(), "");
    assert.equal(channel.send(utf8("two"), 0, 3), 3);
    assert.equal(peer.read(), "one, two");
  });
}
