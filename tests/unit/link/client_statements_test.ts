/** What one client has prepared. */

import assert from "node:assert/strict";
import { ClientStatements } from "../../../src/link/client_statements.ts";
import { StatementBook } from "../../../src/link/statement_book.ts";

const CONTENT = new TextEncoder().encode("select 1\0\0\0");

/** Statements of a client, and a way to give names in a segment. */
function fixture() {
  const book = new StatementBook();
  const client = new ClientStatements(book);
  const give = (text: string, segment: number) => {
    const name = new TextEncoder().encode(text);
    const statement = book.hold(CONTENT, "");
    client.register({
      ...{ name, statement, segment, index: 0, link: client.link },
      ...{ deallocates: undefined, toldAt: 0, isHolding: true },
    });
  };
  const has = (text: string) => {
    const name = new TextEncoder().encode(text);
    return client.find(name, 0, name.length) !== undefined;
  };
  return { book, client, give, has };
}

Deno.test("ClientStatements forgets, of however many names, those given before all were deallocated", () => {
  for (const count of [1, 1_000]) {
    const { book, client, give, has } = fixture();
    give("before", 0);
    for (let i = 0; i < count; i++) give(`behind${i}`, 2);
    client.forgetAll({ segment: 1, index: 0 });
    assert.deepEqual([has("before"), has("behind0")], [false, true]);
    give("before", 3);
    client.leaveServer();
    assert.equal(client.count, count + 1);
    assert.ok(has("before") && has(`behind${count - 1}`));
    client.end();
    assert.equal(book.count, 0);
  }
});

Deno.test("ClientStatements forgets no more slowly while thousands of names are being given", () => {
  const { book, client, give } = fixture();
  for (let i = 0; i < 60_000; i++) give(`s${i}`, 1_000);
  const startMs = performance.now();
  for (let segment = 0; segment < 1_000; segment++) client.forgetAll({ segment, index: 0 });
  // It was four times as much.
  const tookMs = performance.now() - startMs;
  assert.ok(tookMs < 1_000, `${tookMs} ms`);
  assert.equal(client.count, 60_000);
  client.end();
  assert.equal(book.count, 0);
});
