/** What a connection to a directory takes from whom: beside what `ldap_test.ts` sees of slapd. */

import assert from "node:assert/strict";
import { ldapConnector } from "../../../src/net/ldap_connection.ts";
import { passBothWays, saysItIsOver } from "../../support/connection_end.ts";
import { type Der, integer, octets, sequence, tagged } from "../../support/der.ts";
import { eventTurns } from "../../support/event_turn.ts";
import { eventually } from "../../support/eventually.ts";
import { join, utf8 } from "../../support/messages.ts";
import { isMissing } from "../../support/requirements.ts";
import { makeCertificates } from "../../support/slapd.ts";

/** An answer of success, as BER: to an extended request, or to a bind. */
function answerTo(id: number, tag: 0x78 | 0x61, diagnostic = ""): Der {
  const fields = [tagged(0x0a, Uint8Array.of(0)), octets(), octets(utf8(diagnostic))];
  return sequence(integer(id), tagged(tag, ...fields));
}

/** Where a short request has its number. */
const ID_AT = 4;

/**
 * A server that answers StartTLS, and puts something behind that in plain text; within TLS it answers
 * requests by `last`, given their number.
 */
class StartTlsServer implements AsyncDisposable {
  bindCount = 0;
  readonly #plain = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #secured: Deno.TlsListener;
  readonly #served: Promise<unknown>;

  constructor(
    tls: { readonly cert: string; readonly key: string },
    { behind, last }: { behind: Uint8Array; last: (id: number) => Uint8Array },
  ) {
    this.#secured = Deno.listenTls({ hostname: "127.0.0.1", port: 0, ...tls });
    this.#served = Promise.all([this.#passOn(behind), this.#answer(last)]);
  }

  get port(): number {
    return this.#plain.addr.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#served;
    this.#plain.close();
    this.#secured.close();
  }

  async #passOn(behind: Uint8Array): Promise<void> {
    using client = await this.#plain.accept();
    const bytes = new Uint8Array(1_000);
    await client.read(bytes);
    await client.write(join(answerTo(bytes[ID_AT]!, 0x78), behind));
    using inner = await Deno.connect({ hostname: "127.0.0.1", port: this.#secured.addr.port });
    await passBothWays(client, inner);
  }

  async #answer(last: (id: number) => Uint8Array): Promise<void> {
    using secured = await this.#secured.accept();
    const bytes = new Uint8Array(1_000);
    while (await hasMore(secured.read(bytes))) {
      this.bindCount += 1;
      await secured.write(last(bytes[ID_AT]!));
    }
  }
}

/** Whether a read has brought something; a client leaves without a word within TLS, if at all. */
async function hasMore(reading: Promise<number | null>): Promise<boolean> {
  try {
    return await reading !== null;
  } catch (error) {
    if (!(error instanceof Deno.errors.UnexpectedEof) && !saysItIsOver(error)) throw error;
    return false;
  }
}

/** What becomes of binds, each at a server that does as it is told there. */
async function bindOutcomes(
  servers: readonly ConstructorParameters<typeof StartTlsServer>[1][],
): Promise<string[]> {
  const dir = await Deno.makeTempDir({ prefix: "sluice-ldap-" });
  try {
    await makeCertificates(dir);
    const [cert = "", key = "", authority] = await Promise.all(
      ["server.pem", "server.key", "ca.pem"].map((name) => Deno.readTextFile(`${dir}/${name}`)),
    );
    const outcomes: string[] = [];
    for (const answers of servers) {
      await using server = new StartTlsServer({ cert, key }, answers);
      const isAnswered = answers.behind.length === 0;
      outcomes.push(await bindOutcome(server, { authority: authority!, isAnswered }));
    }
    return outcomes;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** "bound" or "failed": without an answer the connection is closed a moment after the server's words. */
async function bindOutcome(
  server: StartTlsServer,
  { authority, isAnswered }: { authority: string; isAnswered: boolean },
): Promise<string> {
  const abort = new AbortController();
  const to = { host: "localhost", port: server.port };
  const { signal } = abort;
  const connection = await ldapConnector(authority)(to, { protection: "starttls", signal });
  const bound = connection.bind("cn=ada", "x").then(() => "bound", () => "failed");
  await eventually("the bind has been answered", () => server.bindCount > 0);
  if (isAnswered) await bound;
  await eventTurns(TURNS);
  abort.abort();
  return await bound;
}

/** Rounds of the event loop, far more than a few bytes need. */
const TURNS = 100;

const ignore = isMissing("openssl");

Deno.test({
  name: "over StartTLS a bind is answered by what comes within TLS",
  ignore,
  async fn() {
    const last = (id: number) => answerTo(id, 0x61);
    assert.deepEqual(await bindOutcomes([{ behind: utf8(""), last }]), ["bound"]);
  },
});

Deno.test({
  name: "over StartTLS what somebody in between says before TLS is no answer to a bind",
  ignore,
  async fn() {
    // The byte that is missing is the first that the server says.
    const last = () => Uint8Array.of(0x30);
    const ids = [1, 2, 3, 4, 5];
    const parts = ids.map((id) => answerTo(id, 0x61, "0").slice(0, -1));
    const wholes = join(...ids.map((id) => answerTo(id, 0x61)));
    const outcomes = await bindOutcomes([...parts, wholes].map((behind) => ({ behind, last })));
    assert.deepEqual(outcomes, outcomes.map(() => "failed"));
  },
});
