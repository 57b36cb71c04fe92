/** A session of the console, with the test at the other end. */

import type { ConsoleRights } from "../../../src/admin/console_context.ts";
import { ConsoleSession } from "../../../src/admin/console_session.ts";
import { join, readCstrings, readReport } from "../../support/messages.ts";
import { ConsoleFixture, messagesIn } from "./console_fixture.ts";

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
