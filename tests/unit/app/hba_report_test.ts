import assert from "node:assert/strict";
import { readArguments } from "../../../src/app/arguments.ts";
import { hbaReport } from "../../../src/app/hba_report.ts";
import { hbaOf } from "../../support/memory_rules.ts";

const RULES = `local all all peer map=m
host app all 10.0.0.0/8 scram-sha-256
host all all all reject
`;

const QUESTION = { user: "ada", database: "app", isTls: false, isReplication: false };

Deno.test("hbaReport() says which line decides, and why those before it do not", async () => {
  const { rules } = await hbaOf(RULES);
  const ask = (address: string | undefined, database = "app") =>
    hbaReport(rules, { ...QUESTION, address, database }, () => []);
  assert.deepEqual(ask("10.1.2.3"), {
    lines: [
      "hba.conf:1: local all all peer map=m",
      "  does not match: the connection is over TCP",
      "hba.conf:2: host app all 10.0.0.0/8 scram-sha-256",
      "  decides",
      "method scram-sha-256, by hba.conf:2",
    ],
    isAsked: true,
  });
  assert.equal(ask("10.1.2.3", "db2").lines.at(-1), "rejected, by hba.conf:3");
  assert.equal(ask("10.1.2.3", "db2").isAsked, false);
  assert.equal(ask(undefined).lines.at(-1), "method peer map=m, by hba.conf:1");
  const none = hbaReport((await hbaOf("local all all trust")).rules, {
    ...QUESTION,
    address: "::1",
  }, () => []);
  assert.deepEqual([none.lines.at(-1), none.isAsked], ["no line matches", false]);
});

Deno.test("readArguments() reads the command hba, and its options with nothing else", () => {
  assert.deepEqual(
    readArguments([
      "hba",
      "c.toml",
      "--user=ada",
      "--database",
      "app",
      "--address=::1",
      "--tls",
      "--replication",
    ]),
    {
      kind: "hba",
      path: "c.toml",
      question: { user: "ada", database: "app", address: "::1", isTls: true, isReplication: true },
    },
  );
  const wrong: readonly (readonly [string[], RegExp])[] = [
    [["hba", "c.toml", "--database=app"], /--user/],
    [["hba", "c.toml", "--user=ada"], /--database/],
    [["hba", "--user=ada", "--database=app"], /one configuration file/],
    [["hba", "c.toml", "--user=ada", "--database=app", "--address=host"], /IP address/],
    [["hba", "c.toml", "--user=ada", "--database=app", "--tls"], /--tls/],
    [["c.toml", "--database=app"], /--database goes with hba only/],
    [["check", "c.toml", "--replication"], /--replication goes with hba only/],
  ];
  for (const [args, why] of wrong) {
    const read = readArguments(args);
    assert.match(read.kind === "usage_error" ? read.message : read.kind, why);
  }
});
