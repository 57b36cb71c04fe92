/** Sending datagrams: what is lost, and when it is connected anew. */

import assert from "node:assert/strict";
import { type DatagramCalls, DatagramSender } from "../../../src/net/datagram_sender.ts";
import { ERRNO } from "../../../src/net/native/libc.ts";

const REFUSED = -111;
const NOBODY_THERE = -2;

/** A kernel that answers as it is told, and counts what is open. */
class Kernel implements DatagramCalls {
  connectAnswer = 0;
  /** Answers of the next sends; 0 when there are none. */
  sendAnswers: number[] = [];
  readonly paths: string[] = [];
  readonly sent: string[] = [];
  readonly open = new Set<number>();

  connectDatagrams(path: string): number {
    this.paths.push(path);
    if (this.connectAnswer < 0) return this.connectAnswer;
    const descriptor = 10 + this.paths.length;
    this.open.add(descriptor);
    return descriptor;
  }

  sendDatagram(descriptor: number, bytes: Uint8Array<ArrayBuffer>): number {
    assert.ok(this.open.has(descriptor), "what is used is open");
    const answer = this.sendAnswers.shift() ?? 0;
    if (answer === 0) this.sent.push(new TextDecoder().decode(bytes));
    return answer;
  }

  close(descriptor: number): void {
    assert.ok(this.open.delete(descriptor), "closed once");
  }
}

Deno.test("a sender connects at its first datagram, once, and closes at its end", () => {
  const kernel = new Kernel();
  const sender = new DatagramSender(kernel, "@name");
  assert.deepEqual(kernel.paths, []);
  assert.ok(sender.send("one"));
  assert.ok(sender.send("two"));
  assert.deepEqual([kernel.paths, kernel.sent], [["\0name"], ["one", "two"]]);
  sender[Symbol.dispose]();
  sender[Symbol.dispose]();
  assert.equal(kernel.open.size, 0);
});

Deno.test("a sender that nobody receives from loses datagrams, and tries anew with each", () => {
  const kernel = new Kernel();
  using sender = new DatagramSender(kernel, "/dev/log");
  kernel.connectAnswer = NOBODY_THERE;
  assert.equal(sender.send("one"), false);
  assert.equal(sender.send("two"), false);
  kernel.connectAnswer = 0;
  assert.ok(sender.send("three"));
  assert.deepEqual([kernel.paths.length, kernel.sent], [3, ["three"]]);
});

Deno.test("a receiver that was started again costs no datagram", () => {
  const kernel = new Kernel();
  using sender = new DatagramSender(kernel, "/dev/log");
  assert.ok(sender.send("one"));
  kernel.sendAnswers = [REFUSED];
  assert.ok(sender.send("two"));
  assert.deepEqual([kernel.paths.length, kernel.open.size, kernel.sent], [2, 1, ["one", "two"]]);
});

Deno.test("a full queue loses the datagram and keeps the connection", () => {
  const kernel = new Kernel();
  using sender = new DatagramSender(kernel, "/dev/log");
  kernel.sendAnswers = [-ERRNO.again];
  assert.equal(sender.send("one"), false);
  assert.ok(sender.send("two"));
  assert.equal(kernel.paths.length, 1);
});
