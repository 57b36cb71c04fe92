/**
 * Records the golden transcripts anew from a real PostgreSQL 18: `deno run --allow-all
 * tests/golden/record.ts`. Not a test. The files it writes are looked through before they are kept;
 * what differs from run to run (keys, salts, process IDs) is no fault.
 */

import { createHash } from "node:crypto";
import { join } from "node:path";
import { serialize } from "pg-protocol";
import { type Postgres, startPostgres } from "../../scripts/postgres_fixture.ts";
import { UserCredential } from "../../src/auth/credential.ts";
import { KeyDerivation } from "../../src/auth/key_derivation.ts";
import { ServerAuthentication } from "../../src/auth/server_authentication.ts";
import { systemRandom } from "../../src/base/random.ts";
import { Secret } from "../../src/base/secret.ts";
import { MessageWriter } from "../../src/wire/message_writer.ts";
import { cancelRequest, startupMessage } from "../../src/wire/startup_packet.ts";
import { type Direction, Transcript } from "../../src/wire/transcript.ts";
import { joined } from "../support/walk.ts";

const FOLDER = new URL(".", import.meta.url).pathname;
const PASSWORD = "sesame";
const SYNC = serialize.sync();
const COPY_DONE = serialize.copyDone();

/** One connection, everything on which is written down. */
class Recorder implements Disposable {
  readonly lines: string[] = [];
  /** Body of the BackendKeyData that was received. */
  key = new Uint8Array();
  readonly #transcript = new Transcript({ showsSecrets: true });
  readonly #conn: Deno.TcpConn;
  #unread = new Uint8Array();

  private constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  static async connect(postgres: Postgres): Promise<Recorder> {
    return new Recorder(await Deno.connect({ hostname: postgres.host, port: postgres.port }));
  }

  /** Sends messages in one go. */
  async send(...messages: readonly Uint8Array[]): Promise<void> {
    for (const one of messages) this.#note("F", one);
    await this.#write(joined(...messages));
  }

  async sendStartup(packet: Uint8Array): Promise<void> {
    this.lines.push(this.#transcript.startupLine(packet));
    await this.#write(packet);
  }

  /** Receives the one byte that answers an encryption request. */
  async receiveAnswer(request: "SSL" | "GSSENC"): Promise<void> {
    const [answer] = await this.#read(1);
    this.lines.push(this.#transcript.encryptionAnswerLine(request, answer!));
  }

  /** Receives messages up to the `count`th of one of the given types; answers that one's bytes. */
  async until(letters: string, count = 1): Promise<Uint8Array> {
    for (let found = 0;;) {
      const received = await this.#receive();
      if (!letters.includes(String.fromCharCode(received[0]!))) continue;
      found += 1;
      if (found === count) return received;
    }
  }

  /** Sends Terminate; nothing more may come. */
  async terminate(): Promise<void> {
    await this.send(serialize.end());
    const rest = await this.#conn.read(new Uint8Array(1));
    if (rest !== null) throw new Error("The server had more to say");
  }

  [Symbol.dispose](): void {
    this.#conn[Symbol.dispose]();
  }

  async #receive(): Promise<Uint8Array> {
    const header = await this.#read(5);
    const body = await this.#read(new DataView(header.buffer).getInt32(1) - 4);
    const received = joined(header, body);
    this.#note("B", received);
    if (received[0] === 0x4b) this.key = body;
    return received;
  }

  #note(direction: Direction, one: Uint8Array): void {
    this.lines.push(this.#transcript.line(direction, one));
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
  }

  async #read(count: number): Promise<Uint8Array<ArrayBuffer>> {
    const chunk = new Uint8Array(65_536);
    while (this.#unread.length < count) {
      const length = await this.#conn.read(chunk);
      if (length === null) throw new Error(`The server hung up after\n${this.lines.join("\n")}`);
      this.#unread = joined(this.#unread, chunk.subarray(0, length));
    }
    const taken = this.#unread.slice(0, count);
    this.#unread = this.#unread.slice(count);
    return taken;
  }
}

/** Starts a session as `user`. */
async function logIn(recorder: Recorder, user: string, more: [string, string][] = []) {
  const names: [string, string][] = [["user", user], ["database", "postgres"], ...more];
  await recorder.sendStartup(startupMessage(names));
  await authenticate(recorder, user);
  await recorder.until("Z");
}

/** Answers what the server asks for, up to AuthenticationOk. */
async function authenticate(recorder: Recorder, userName: string): Promise<void> {
  const authentication = new ServerAuthentication({
    userName,
    credential: new UserCredential(userName, new Secret(PASSWORD)),
    random: systemRandom(),
    derivation: new KeyDerivation(),
  });
  for (;;) {
    const request = await recorder.until("R");
    const step = await authentication.receive(request.subarray(5));
    if (step.kind === "ok") return;
    if (step.kind === "failed") throw new Error(step.reason);
    if (step.kind === "send") await recorder.send(step.message);
  }
}

/** A startup packet of another version than ours. */
function startupOf(minor: number, names: readonly (readonly [string, string])[]): Uint8Array {
  const writer = new MessageWriter().beginUntyped().int32(3 << 16 | minor);
  for (const [name, value] of names) writer.cstring(name).cstring(value);
  return writer.int8(0).end().take();
}

function encryptionRequest(code: number): Uint8Array {
  return new MessageWriter().beginUntyped().int32(code).end().take();
}

/** FunctionCall of a function by its OID, arguments and result in text format. */
function functionCall(oid: number, ...values: readonly string[]): Uint8Array {
  const writer = new MessageWriter().begin(0x46).int32(oid).int16(1).int16(0).int16(values.length);
  for (const value of values) writer.int32(value.length).text(value);
  return writer.int16(0).end().take();
}

function query(sql: string): Uint8Array {
  return serialize.query(sql);
}

/** Parse, Bind and Execute of an unnamed statement. */
function execute(sql: string, values: (string | null)[] = [], rows = 0): Uint8Array {
  return joined(
    serialize.parse({ text: sql }),
    serialize.bind({ values }),
    serialize.execute({ rows }),
  );
}

/** Splits bytes into messages. */
function split(bytes: Uint8Array): Uint8Array[] {
  const messages: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const total = new DataView(bytes.buffer, bytes.byteOffset + at).getInt32(1) + 1;
    messages.push(bytes.slice(at, at + total));
    at += total;
  }
  return messages;
}

type Conversation = (recorder: Recorder, postgres: Postgres) => Promise<void>;

/** Conversations before and at the start of a session; the recorder is fresh. */
const STARTUPS: Readonly<Record<string, Conversation>> = {
  startup_scram: async (r) => {
    await r.sendStartup(encryptionRequest(80_877_104));
    await r.receiveAnswer("GSSENC");
    await r.sendStartup(encryptionRequest(80_877_103));
    await r.receiveAnswer("SSL");
    await logIn(r, "scram_user", [["application_name", "golden"], ["client_encoding", "UTF8"]]);
    await r.terminate();
  },
  startup_md5: async (r) => {
    await logIn(r, "md5_user");
    await r.terminate();
  },
  startup_cleartext: async (r) => {
    await logIn(r, "cleartext_user");
    await r.terminate();
  },
  startup_trust: async (r) => {
    await logIn(r, "trust_user");
    await r.terminate();
  },
  startup_wrong_password: async (r) => {
    await r.sendStartup(startupMessage([["user", "cleartext_user"]]));
    await r.until("R");
    await r.send(serialize.password("open up"));
    await r.until("E");
  },
  startup_no_such_database: async (r) => {
    await r.sendStartup(startupMessage([["user", "trust_user"], ["database", "nowhere"]]));
    await r.until("E");
  },
  startup_newer_version: async (r) => {
    const names = [["user", "trust_user"], ["database", "postgres"], ["_pq_.x", "on"]] as const;
    await r.sendStartup(startupOf(9_999, names));
    await r.until("Z");
    await r.terminate();
  },
  startup_3_2: async (r) => {
    await r.sendStartup(startupOf(2, [["user", "trust_user"], ["database", "postgres"]]));
    await r.until("Z");
    await r.terminate();
  },
  copy_both: async (r) => {
    await logIn(r, "replication_user", [["replication", "true"]]);
    await r.send(query("IDENTIFY_SYSTEM"));
    const row = new TextDecoder().decode(await r.until("D"));
    await r.until("Z");
    await r.send(query(`START_REPLICATION ${/[0-9A-F]+\/[0-9A-F]+/.exec(row)![0]}`));
    await r.until("W");
    // A status report that asks for an answer.
    const report = Buffer.alloc(34, 0);
    report[0] = 0x72;
    report[33] = 1;
    await r.send(serialize.copyData(report));
    await r.until("d");
    await r.send(COPY_DONE);
    await r.until("Z");
    await r.terminate();
  },
};

/** Conversations within a session of `trust_user`, whose login is not written down. */
const SESSIONS: Readonly<Record<string, Conversation>> = {
  simple_query: async (r) => {
    await r.send(query("SELECT 1 AS one, 'it''s \"q\" \\ é' AS text, NULL AS nothing"));
    await r.until("Z");
    await r.send(query("BEGIN"));
    await r.until("Z");
    await r.send(query("SELECT x FROM generate_series(1, 3) AS x"));
    await r.until("Z");
    await r.send(query("COMMIT"));
    await r.until("Z");
    await r.terminate();
  },
  several_statements: async (r) => {
    await r.send(query("SELECT 1; CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (1), (2);"));
    await r.until("Z");
    await r.send(query("SELECT 1; SELECT 1 / 0; SELECT 2"));
    await r.until("Z");
  },
  empty_query: async (r) => {
    await r.send(query(""));
    await r.until("Z");
    await r.send(query(" ; "));
    await r.until("Z");
    await r.send(...split(execute("")), SYNC);
    await r.until("Z");
  },
  error_simple: async (r) => {
    await r.send(query("SELEC 1"));
    await r.until("Z");
    await r.send(query("BEGIN; SELECT 1 / 0"));
    await r.until("Z");
    await r.send(query("SELECT 1"));
    await r.until("Z");
    await r.send(query("ROLLBACK"));
    await r.until("Z");
  },
  pipelined_queries: async (r) => {
    await r.send(query("SELECT 1"), query("SELECT 1 / 0"), query(""), query("SELECT 2"));
    await r.until("Z", 4);
  },
  extended_query: async (r) => {
    await r.send(
      serialize.parse({ name: "s1", text: "SELECT $1::int AS a, $2::text AS b", types: [23, 25] }),
      serialize.describe({ type: "S", name: "s1" }),
      serialize.bind({ portal: "p1", statement: "s1", values: ["42", null] }),
      serialize.describe({ type: "P", name: "p1" }),
      serialize.execute({ portal: "p1", rows: 0 }),
      SYNC,
    );
    await r.until("Z");
    await r.send(
      serialize.close({ type: "S", name: "s1" }),
      ...split(execute("CREATE TEMP TABLE t (a int)")),
      serialize.describe({ type: "P", name: "" }),
      SYNC,
    );
    await r.until("Z");
  },
  extended_flush: async (r) => {
    await r.send(
      serialize.parse({ text: "SELECT x FROM generate_series(1, 3) AS x" }),
      serialize.describe({ type: "S", name: "" }),
      serialize.flush(),
    );
    await r.until("T");
    await r.send(serialize.bind({}), serialize.execute({ rows: 2 }), serialize.flush());
    await r.until("s");
    await r.send(serialize.execute({ rows: 2 }), serialize.close({ type: "P", name: "" }), SYNC);
    await r.until("Z");
  },
  pipeline: async (r) => {
    await r.send(
      ...split(execute("SELECT $1::int", ["1"])),
      SYNC,
      ...split(execute("SELECT 1 / $1::int", ["0"])),
      ...split(execute("SELECT 'skipped'")),
      SYNC,
      ...split(execute("SELECT $1::int", ["3"])),
      SYNC,
      SYNC,
    );
    await r.until("Z", 4);
  },
  error_extended: async (r) => {
    await r.send(...split(execute("SELEC 1")), serialize.describe({ type: "P", name: "" }), SYNC);
    await r.until("Z");
    await r.send(serialize.bind({ statement: "unknown" }), serialize.flush());
    await r.until("E");
    await r.send(serialize.execute({}), SYNC);
    await r.until("Z");
  },
  copy_in: async (r) => {
    await r.send(query("CREATE TEMP TABLE t (a int, b text)"));
    await r.until("Z");
    await r.send(query("COPY t FROM STDIN"));
    await r.until("G");
    await r.send(serialize.copyData(Buffer.from("1\tone\n2\tt")));
    await r.send(serialize.copyData(Buffer.from("wo\n")), COPY_DONE);
    await r.until("Z");
    await r.send(query("COPY t (a) FROM STDIN (FORMAT binary)"));
    await r.until("G");
    await r.send(serialize.copyFail("changed my mind"));
    await r.until("Z");
    await r.send(query("COPY t FROM STDIN"));
    await r.until("G");
    await r.send(serialize.copyData(Buffer.from("not a number\tx\n")));
    await r.until("E");
    await r.send(serialize.copyData(Buffer.from("3\tthree\n")), COPY_DONE);
    await r.until("Z");
  },
  copy_in_two: async (r) => {
    await r.send(query("CREATE TEMP TABLE t (a int)"));
    await r.until("Z");
    await r.send(query("COPY t FROM STDIN; COPY t FROM STDIN; SELECT count(*) FROM t"));
    for (const data of ["1\n", "2\n"]) {
      await r.until("G");
      await r.send(serialize.copyData(Buffer.from(data)), COPY_DONE);
    }
    await r.until("Z");
  },
  copy_in_pipelined: async (r) => {
    await r.send(query("CREATE TEMP TABLE t (a int)"));
    await r.until("Z");
    await r.send(
      query("COPY t FROM STDIN"),
      serialize.copyData(Buffer.from("1\n")),
      COPY_DONE,
      query("SELECT count(*) FROM t"),
    );
    await r.until("Z", 2);
  },
  copy_in_extended: async (r) => {
    await r.send(query("CREATE TEMP TABLE t (a int)"));
    await r.until("Z");
    // As libpq does it: the first Sync is ignored, the one after CopyDone is answered.
    await r.send(...split(execute("COPY t FROM STDIN")), SYNC);
    await r.until("G");
    await r.send(serialize.copyData(Buffer.from("1\n")), COPY_DONE, SYNC);
    await r.until("Z");
    await r.send(
      ...split(execute("COPY t FROM STDIN")),
      serialize.copyData(Buffer.from("2\n")),
      COPY_DONE,
      ...split(execute("SELECT count(*) FROM t")),
      SYNC,
    );
    await r.until("Z");
  },
  copy_in_extended_refused: async (r) => {
    await r.send(query("CREATE TEMP VIEW v AS SELECT 1 AS a"));
    await r.until("Z");
    // It fails before it has read anything: here the first Sync is answered, and so is the second.
    await r.send(...split(execute("COPY v FROM STDIN")), SYNC);
    await r.until("Z");
    await r.send(serialize.copyData(Buffer.from("1\n")), COPY_DONE, SYNC);
    await r.until("Z");
  },
  copy_out: async (r) => {
    await r.send(query("COPY (SELECT x, NULL FROM generate_series(1, 3) AS x) TO STDOUT"));
    await r.until("Z");
    await r.send(...split(execute("COPY (SELECT 1) TO STDOUT (FORMAT binary)")), SYNC);
    await r.until("Z");
    await r.send(query("COPY (SELECT 1 / (2 - x) FROM generate_series(1, 3) AS x) TO STDOUT"));
    await r.until("Z");
  },
  function_call: async (r) => {
    await r.send(functionCall(1395, "-2.5")); // abs(float8)
    await r.until("Z");
    await r.send(functionCall(1395, "x"));
    await r.until("Z");
  },
  notice_and_notification: async (r) => {
    await r.send(query("LISTEN channel; NOTIFY channel, 'payload'"));
    await r.until("Z");
    await r.send(query("DO $$ BEGIN RAISE WARNING 'mind the gap' USING HINT = 'step'; END $$"));
    await r.until("Z");
  },
  parameter_status: async (r) => {
    await r.send(query("SET application_name = 'golden'; SET DateStyle = german"));
    await r.until("Z");
    await r.send(query("RESET ALL"));
    await r.until("Z");
  },
  query_canceled: async (r, postgres) => {
    const { key } = r;
    await r.send(query("SELECT pg_sleep(600)"));
    using other = await Recorder.connect(postgres);
    await other.sendStartup(cancelRequest(key));
    await save("cancel_request", other.lines);
    await r.until("Z");
  },
};

/** What a file is about, where its name does not say it. */
const HEADINGS: Readonly<Record<string, string>> = {
  cancel_request: "The other connection of query_canceled; nothing is answered on it.",
  copy_both: "Physical replication: COPY in both directions.",
  copy_in: "COPY by Query: to its end, given up by the client, failed in the middle.",
  copy_in_extended: "COPY by Execute; the Sync before the data is ignored by the server.",
  copy_in_extended_refused:
    "A COPY that fails before it has read anything: both Syncs are answered.",
  copy_in_pipelined: "COPY by Query, its data and another Query sent without waiting.",
  copy_in_two: "Two COPY in one Query.",
  copy_out: "COPY to the client by Query and by Execute, and one that fails in the middle.",
  empty_query: "Queries without a statement, by Query and by Execute.",
  error_extended: "Errors up to the next Sync, with and without Flush.",
  error_simple: "Errors outside and inside of a transaction.",
  extended_flush: "Flush instead of Sync, and a portal read in two parts.",
  extended_query: "A named statement, described both ways, with a NULL; closed again.",
  function_call: "FunctionCall that works and one that fails.",
  notice_and_notification: "What comes besides the answers.",
  parameter_status: "Parameters that the server reports when they change.",
  pipeline: "Several Syncs in flight, an error in the middle.",
  pipelined_queries: "Several Queries in flight.",
  query_canceled: "A Query that another connection cancels.",
  several_statements: "Several statements in one Query, the second time with an error among them.",
  simple_query: "Queries outside and inside of a transaction.",
  startup_3_2: "A session of protocol 3.2, whose cancel key is longer.",
  startup_cleartext: "A session with a password in clear text.",
  startup_md5: "A session with an MD5 password.",
  startup_newer_version: "A minor version and an option that the server does not know.",
  startup_no_such_database: "A session refused after the login.",
  startup_scram: "Encryption declined, then a session with SCRAM-SHA-256.",
  startup_trust: "A session without a password.",
  startup_wrong_password: "A session refused for its password.",
};

async function save(name: string, lines: readonly string[]): Promise<void> {
  const text = [`# ${HEADINGS[name] ?? name} Recorded from PostgreSQL 18.`, ...lines].join("\n");
  await Deno.writeTextFile(join(FOLDER, `${name}.transcript`), `${text}\n`);
}

function md5Hash(user: string): string {
  return "md5" + createHash("md5").update(PASSWORD + user).digest("hex");
}

await using postgres = await startPostgres({
  conf: ["autovacuum = off"],
  hba: [
    "host all scram_user 127.0.0.1/32 scram-sha-256",
    "host all md5_user 127.0.0.1/32 md5",
    "host all cleartext_user 127.0.0.1/32 password",
    "host all trust_user 127.0.0.1/32 trust",
    "host replication replication_user 127.0.0.1/32 trust",
  ],
});
await postgres.sql(`
  CREATE ROLE scram_user LOGIN PASSWORD '${PASSWORD}';
  CREATE ROLE md5_user LOGIN PASSWORD '${md5Hash("md5_user")}';
  CREATE ROLE cleartext_user LOGIN PASSWORD '${PASSWORD}';
  CREATE ROLE trust_user LOGIN;
  CREATE ROLE replication_user LOGIN REPLICATION;
`);
await postgres.sql("CHECKPOINT");
for (const [name, converse] of Object.entries(STARTUPS)) {
  using recorder = await Recorder.connect(postgres);
  await converse(recorder, postgres);
  await save(name, recorder.lines);
}
for (const [name, converse] of Object.entries(SESSIONS)) {
  using recorder = await Recorder.connect(postgres);
  await logIn(recorder, "trust_user");
  recorder.lines.length = 0;
  await converse(recorder, postgres);
  await save(name, recorder.lines);
}
