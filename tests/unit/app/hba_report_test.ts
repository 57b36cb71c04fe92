import assert from "node:assert/strict";
import { readArguments } from "../../../src/app/arguments.ts";
import { hbaNotes, hbaReport } from "../../../src/app/hba_report.ts";
import { defaultSettings } from "../../../src/config/validate.ts";
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

Deno.test("hbaReport() tells connections with TLS from others, and what is asked of a certificate", async () => {
  const { rules } = await hbaOf(`hostnossl all all all reject
hostssl app all all cert map=m
hostssl all all all scram-sha-256 clientcert=verify-full
`);
  const ask = (isTls: boolean, database = "app") =>
    hbaReport(rules, { ...QUESTION, address: "10.1.2.3", isTls, database }, () => []).lines;
  assert.equal(ask(false).at(-1), "rejected, by hba.conf:1");
  assert.equal(ask(true)[1], "  does not match: the connection has TLS");
  assert.equal(ask(true).at(-1), "method cert map=m, by hba.conf:2");
  assert.equal(
    ask(true, "db2").at(-1),
    "method scram-sha-256 clientcert=verify-full, by hba.conf:3",
  );
});

Deno.test("hbaNotes() says what makes the rules' answer meaningless", () => {
  const notes = (clientTlsSslmode: "disable" | "allow" | "verify-ca", isTls: boolean) =>
    hbaNotes(defaultSettings({ authType: "hba", clientTlsSslmode }), {
      ...QUESTION,
      address: "10.1.2.3",
      isTls,
    });
  assert.deepEqual(notes("disable", false), []);
  assert.deepEqual(notes("disable", true), ["client_tls_sslmode is disable: nobody has TLS"]);
  assert.deepEqual([notes("allow", true), notes("allow", false)], [[], []]);
  assert.deepEqual(notes("verify-ca", false), [
    "client_tls_sslmode is verify-ca: nobody gets so far",
  ]);
  assert.deepEqual(hbaNotes(defaultSettings(), { ...QUESTION, address: undefined }), [
    "auth_type is md5: these rules are not in force",
  ]);
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
