/** What is known of the statements on one server. */

import assert from "node:assert/strict";
import { ResultChanges } from "../../../src/link/result_changes.ts";
import { ServerStatements } from "../../../src/link/server_statements.ts";
import { StatementBook } from "../../../src/link/statement_book.ts";
import { utf8 } from "../../support/messages.ts";

function open(): { book: StatementBook; server: ServerStatements; make(name: string): Made } {
  const book = new StatementBook();
  const server = new ServerStatements(book, new ResultChanges());
  return {
    book,
    server,
    make: (name) => {
      const statement = book.hold(utf8(`${name}\0\0\0`), "");
      return server.prepare(statement, 0);
    },
  };
}

type Made = ReturnType<ServerStatements["prepare"]>;

Deno.test("the oldest is the one that was not used for longest, of those that are not closed", () => {
  const { make, server } = open();
  const [a, b, c] = ["a", "b", "c"].map(make);
  server.touch(a!);
  assert.equal(server.oldest, b);
  server.close(b!, 1);
  assert.deepEqual([server.oldest, server.count], [c, 2]);
  server.doubt(b!);
  assert.deepEqual([server.oldest, server.count], [c, 3]);
});

Deno.test("what was sent last of a statement is told apart from what was sent before", () => {
  const { make, server } = open();
  const one = make("a");
  const sendings = [one.sending];
  server.close(one, 0);
  sendings.push(one.sending);
  server.prepare(one.statement, 0);
  sendings.push(one.sending);
  assert.equal(new Set(sendings).size, 3);
  server.remove(one);
  assert.ok(!sendings.includes(one.sending));
});

Deno.test("the end of all that was prepared leaves what was sent, and holds nothing twice", () => {
  const { book, make, server } = open();
  const [present, doubtful, pending, closing] = ["p", "d", "n", "c"].map(make);
  present!.presence = "present";
  server.doubt(doubtful!);
  server.close(closing!, 1);
  server.removePrepared();
  assert.deepEqual([...server.all()], [pending, closing]);
  server.clear();
  assert.equal(server.count, 0);
  for (const { statement } of [present!, doubtful!, pending!, closing!]) {
    assert.equal(statement.holderCount, 1);
    book.release(statement);
  }
  assert.deepEqual([book.count, book.byteCount], [0, 0]);
});
