import assert from "node:assert/strict";
import fc from "fast-check";
import { serialize } from "pg-protocol";
import {
  authenticationMd5Password,
  authenticationOk,
  authenticationSasl,
  authenticationSaslContinue,
} from "../../../src/wire/authentication_messages.ts";
import {
  backendKeyData,
  dataRow,
  negotiateProtocolVersion,
  parameterStatus,
  readyForQuery,
  rowDescription,
  TransactionStatus,
} from "../../../src/wire/backend_messages.ts";
import { errorResponse } from "../../../src/wire/error_response.ts";
import { Backend, Frontend } from "../../../src/wire/message_type.ts";
import { PgError, ProtocolError } from "../../../src/wire/pg_error.ts";
import { cancelRequest, startupMessage } from "../../../src/wire/startup_packet.ts";
import { type Direction, Transcript } from "../../../src/wire/transcript.ts";
import { parseTranscript } from "../../support/transcript_parser.ts";
import { message } from "../../support/walk.ts";

function line(direction: Direction, one: Uint8Array): string {
  return new Transcript().line(direction, one);
}

Deno.test("Transcript writes direction, length, name and fields as libpq's trace does", () => {
  // As libpq 18 printed the same messages.
  assert.equal(line("F", serialize.sync()), "F\t4\tSync");
  assert.equal(line("F", serialize.query("SELECT 1/0")), 'F\t15\tQuery\t "SELECT 1/0"');
  assert.equal(
    line("F", serialize.bind({ values: ["42", null] })).replace("2 0 0 2", "0 2"),
    'F\t28\tBind\t "" "" 0 2 2 \'42\' -1 1 0',
  );
  assert.equal(line("B", readyForQuery(TransactionStatus.Idle)), "B\t5\tReadyForQuery\t I");
  assert.equal(
    line("B", rowDescription([{ name: "?column?", oid: 23, sizeBytes: 4 }])),
    'B\t33\tRowDescription\t 1 "?column?" 0 0 23 4 -1 0',
  );
  assert.equal(line("B", dataRow(["1", null, ""])), "B\t19\tDataRow\t 3 1 '1' -1 0 ''");
  assert.equal(
    line("B", errorResponse(new PgError("22012", "division by zero", { severity: "ERROR" }))),
    'B\t44\tErrorResponse\t S "ERROR" V "ERROR" C "22012" M "division by zero" \\x00',
  );
  assert.equal(
    line("B", negotiateProtocolVersion(2, ["_pq_.x"])),
    'B\t19\tNegotiateProtocolVersion\t 196610 1 "_pq_.x"',
  );
});

Deno.test("a letter means one thing from a frontend and another from a backend", () => {
  assert.match(line("F", message("C", "S\0")), /Close/);
  assert.match(line("B", message("C", "S\0")), /CommandComplete/);
});

Deno.test("Transcript escapes what could not be read back", () => {
  const [name, value] = ["a\"b\\c'd", "é\n\t"];
  assert.equal(
    line("B", parameterStatus(name, value)),
    'B\t17\tParameterStatus\t "a\\"b\\\\c\'d" "\\xc3\\xa9\\x0a\\x09"',
  );
  assert.equal(line("B", message("Z", " ")), "B\t5\tReadyForQuery\t \\x20");
  assert.equal(line("F", message("d", "'\"\\\0")), "F\t8\tCopyData\t '\\'\"\\\\\\x00'");
});

Deno.test("Transcript names the answers of a login after what was asked", () => {
  const transcript = new Transcript({ showsSecrets: true });
  const answer = message("p", "md5\0");
  assert.match(transcript.line("F", answer), /UnknownAuthenticationResponse\t 'md5\\x00'/);
  transcript.line("B", authenticationMd5Password(Uint8Array.of(1, 2, 3, 4)));
  assert.match(transcript.line("F", answer), /PasswordMessage\t "md5"/);
  transcript.line("B", authenticationSasl(["SCRAM-SHA-256"]));
  const first = serialize.sendSASLInitialResponseMessage("SCRAM-SHA-256", "n,,n=,r=x");
  assert.match(transcript.line("F", first), /SASLInitialResponse\t "SCRAM-SHA-256" 9 'n,,n=,r=x'/);
  transcript.line("B", authenticationSaslContinue("r=x"));
  assert.match(transcript.line("F", message("p", "c=biws")), /SASLResponse\t 'c=biws'/);
});

Deno.test("Transcript shows no secrets unless it is told to", () => {
  const transcript = new Transcript();
  const key = new TextEncoder().encode("12345678");
  transcript.line("B", authenticationMd5Password(key.subarray(0, 4)));
  const lines = [
    transcript.line("F", serialize.password("secret")),
    transcript.line("B", backendKeyData(key)),
    transcript.startupLine(cancelRequest(key)),
  ];
  assert.deepEqual(lines, [
    "F\t11\tPasswordMessage\t ***",
    "B\t12\tBackendKeyData\t ***",
    "F\t16\tCancelRequest\t 1234 5678 ***",
  ]);
});

Deno.test("Transcript.startupLine() tells the packets without a type byte apart", () => {
  const transcript = new Transcript({ showsSecrets: true });
  assert.equal(
    transcript.startupLine(startupMessage([["user", "a"], ["options", ""]])),
    'F\t25\tStartupMessage\t 3 0 "user" "a" "options" ""',
  );
  assert.equal(transcript.startupLine(serialize.requestSsl()), "F\t8\tSSLRequest\t 1234 5679");
  assert.equal(
    transcript.startupLine(serialize.cancel(7, 0x31323334)),
    "F\t16\tCancelRequest\t 1234 5678 7 '1234'",
  );
  assert.equal(transcript.encryptionAnswerLine("SSL", 0x4e), "B\t1\tSSLResponse\t N");
});

Deno.test("Transcript refuses what is no message with a ProtocolError", () => {
  const broken: [Direction, Uint8Array][] = [
    ["F", message("?")],
    ["B", message("Q", "SELECT 1\0")],
    ["F", message("Q", "SELECT 1")],
    ["F", message("S", "x")],
    ["F", message("Q", "SELECT 1\0x")],
    ["B", message("D", Uint8Array.of(0, 1))],
    ["B", message("D", Uint8Array.of(0, 1, 0, 0, 0, 9, 1))],
    ["B", message("D", Uint8Array.of(0, 1, 0xff, 0xff, 0xff, 0xfe))],
    ["B", message("E", "SERROR\0")],
    ["B", message("R", Uint8Array.of(0, 0))],
    ["B", message("Z")],
    ["F", new Uint8Array()],
  ];
  for (const [direction, one] of broken) {
    assert.throws(() => line(direction, one), ProtocolError, `${direction} ${one}`);
  }
  const transcript = new Transcript();
  const whole = startupMessage([["user", "a"]]);
  assert.throws(() => transcript.startupLine(whole.subarray(0, 12)), ProtocolError);
  const longer = new Uint8Array([...whole, 0]);
  assert.throws(() => transcript.startupLine(longer), /of another length/);
});

Deno.test("Transcript takes any bytes, with nothing worse than ProtocolError", () => {
  const types = [...Object.values(Frontend), ...Object.values(Backend), 0x3f];
  const body = fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ max: 2, maxLength: 40 }));
  fc.assert(
    fc.property(fc.constantFrom(...types), body, fc.boolean(), (type, content, isFrontend) => {
      try {
        line(isFrontend ? "F" : "B", message(type, content));
      } catch (error) {
        assert.ok(error instanceof ProtocolError, String(error));
      }
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("what Transcript prints is read back to the same bytes", () => {
  const types = [...Object.values(Frontend), ...Object.values(Backend)];
  const body = fc.oneof(fc.uint8Array({ maxLength: 30 }), fc.uint8Array({ max: 2, maxLength: 30 }));
  let readCount = 0;
  fc.assert(
    fc.property(fc.constantFrom(...types), body, fc.boolean(), (type, content, isFrontend) => {
      const one = message(type, content);
      let text: string;
      try {
        text = new Transcript({ showsSecrets: true }).line(isFrontend ? "F" : "B", one);
      } catch (error) {
        assert.ok(error instanceof ProtocolError);
        return;
      }
      if (text.includes("Authentication")) return; // Codes that have no name of their own.
      assert.deepEqual(parseTranscript(text).map(({ bytes }) => bytes), [new Uint8Array(one)]);
      readCount += 1;
    }),
    { numRuns: 5_000 },
  );
  assert.ok(readCount > 100, `only ${readCount} messages were well formed`);
});

Deno.test("the lines of a login are read back to the same bytes", () => {
  for (const one of [authenticationOk(), authenticationSasl(["A", "B"])]) {
    const text = line("B", one);
    assert.deepEqual(parseTranscript(text)[0]!.bytes, one);
  }
  const packet = startupMessage([["user", 'zo"ë'], ["options", "\\"]]);
  const [read] = parseTranscript(new Transcript().startupLine(packet));
  assert.deepEqual(read!.bytes, packet);
});
