/**
 * Whatever is typed into the console, or sent to it: it is a command, or an error that says why not,
 * and after it the console goes on.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { parseAdminCommand } from "../../src/admin/admin_parser.ts";
import { PgError, ProtocolError } from "../../src/wire/pg_error.ts";
import { cstring, frontend, int16, int32, join, message } from "../support/messages.ts";
import { messagesIn } from "../unit/admin/shown_result.ts";
import { openSession } from "../unit/admin/open_session.ts";

/** Texts that look like commands for a while. */
const almostCommands = fc.array(
  fc.oneof(
    fc.constantFrom(
      ...["show", "SHOW CLIENTS", "pools", "where", "AND", "order by", "limit", "set", "to", "is"],
      ...["not", "null", "pause", "resume", "kill_client", "reload dry", "wait_close", "user"],
      ...["'", "''", '"', '""', "=", "<>", "!=", ",", ";", "-", "--", "/*", "*/", "\n", " ", "$1"],
      ...["$0", "$99", "1", "1.5", "'shop'", '"shop"', "shutdown wait_for_transactions"],
    ),
    fc.string({ maxLength: 5, unit: "binary" }),
  ),
  { maxLength: 12 },
).map((pieces) => pieces.join(" "));

Deno.test("parseAdminCommand() answers with a command, nothing, or an ERROR", () => {
  fc.assert(fc.property(almostCommands, (text) => {
    try {
      parseAdminCommand(text);
    } catch (error) {
      assert.ok(error instanceof PgError && error.severity === "ERROR", String(error));
    }
  }));
});

/** SHUTDOWN is left out: it is not answered. */
const texts = almostCommands.filter((text) => !/shutdown|\0/i.test(text));
const names = fc.constantFrom("", "a", "b");

/** Messages of both protocols, in any order. */
const messages = fc.array(
  fc.oneof(
    texts.map(frontend.query),
    fc.tuple(texts, names).map(([text, name]) => frontend.parse(text, name)),
    fc.record({
      statement: names,
      portal: names,
      values: fc.array(fc.constantFrom("1", "shop", null), { maxLength: 2 }),
    }).map(frontend.bind),
    fc.tuple(fc.constantFrom("S" as const, "P" as const), names)
      .chain(([kind, name]) =>
        fc.constantFrom(frontend.describe(kind, name), frontend.close(kind, name))
      ),
    fc.tuple(names, fc.integer({ min: -1, max: 3 })).map(([portal, rows]) =>
      frontend.execute(portal, rows)
    ),
    fc.constantFrom(frontend.sync(), frontend.flush(), frontend.functionCall(1)),
  ),
  { maxLength: 20 },
);

Deno.test("ConsoleSession answers each Sync and each Query it does not skip, and goes on", async () => {
  await fc.assert(
    fc.asyncProperty(messages, async (sent) => {
      const { client, send, stream } = await openSession();
      await send(...sent, frontend.sync());
      stream.takeSent();
      await send(frontend.query("SHOW VERSION"));
      const types = messagesIn(stream.takeSent()).map(({ type }) => type).join("");
      assert.equal(types, "TDCZ");
      assert.ok(client.isOpen);
    }),
    { numRuns: 60 },
  );
});

Deno.test("ConsoleSession takes no broken message for something else than that", async () => {
  const bodies = fc.oneof(
    fc.uint8Array({ maxLength: 30 }),
    fc.constant(join(cstring("a"), cstring("PAUSE $1"), int16(1), int32(23))),
  );
  const broken = fc.tuple(fc.constantFrom("P", "B", "D", "E", "C", "Q", "F"), bodies)
    .map(([type, body]) => message(type, body));
  await fc.assert(
    fc.asyncProperty(fc.array(broken, { maxLength: 5 }), async (sent) => {
      const { send } = await openSession();
      try {
        await send(...sent);
      } catch (error) {
        assert.ok(error instanceof ProtocolError, String(error));
      }
    }),
    { numRuns: 60 },
  );
});
