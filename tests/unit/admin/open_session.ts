/** A session of the console, with the test at the other end. */

import type { ConsoleRights } from "../../../src/admin/console_context.ts";
import { ConsoleSession } from "../../../src/admin/console_session.ts";
import { frontend, join, readCstrings, readReport, readValues } from "../../support/messages.ts";
import { ConsoleFixture } from "./console_fixture.ts";
import { messagesIn } from "./shown_result.ts";

/** A client of the console, logged in. */
export async function openSession({ rights = "admin" }: { rights?: ConsoleRights } = {}) {
  const fixture = await ConsoleFixture.from();
  const client = fixture.addClient({ user: "root", database: "pgbouncer" });
  const session = new ConsoleSession({ client, context: fixture, rights });
  client.setService(session);
  const stream = fixture.clientStreams.get(client)!;
  return {
    fixture,
    client,
    stream,
    send: (...pieces: Uint8Array[]) => {
      const chunk = join(...pieces);
      return session.onClientChunk(chunk, chunk.length);
    },
    /** The answers, each as one word: type, and tag or SQLSTATE. */
    answers: () =>
      messagesIn(stream.takeSent()).map(({ type, body }) => {
        if (type === "C") return `C ${readCstrings(body)[0]}`;
        return type === "E" || type === "N" ? `${type} ${readReport(body).sqlstate}` : type;
      }),
    /** The error in the next answer. */
    report: () => {
      const [error, ready] = messagesIn(stream.takeSent());
      return { ...readReport(error!.body), types: `${error!.type}${ready?.type}` };
    },
  };
}

/** The same, with three pools. */
export async function openWithPools() {
  const session = await openSession();
  for (const [database, user] of [["shop", "anna"], ["archive", "otto"], ["shop", "otto"]]) {
    session.fixture.addPool({ database: database!, user: user! });
  }
  /** The first two values of each row of a SHOW. */
  const shown = async (text: string) => {
    await session.send(frontend.query(text));
    const rows = messagesIn(session.stream.takeSent()).filter(({ type }) => type === "D");
    return rows.map(({ body }) => readValues(body).slice(0, 2).join("/"));
  };
  return { ...session, shown };
}
