import assert from "node:assert/strict";
import { readArguments, type RunInvocation, USAGE } from "../../../src/app/arguments.ts";

const RUN: RunInvocation = {
  kind: "run",
  path: "config.toml",
  isDaemon: false,
  isQuiet: false,
  verbosity: 0,
  user: undefined,
};

for (
  const [args, expected] of [
    ["config.toml", {}],
    ["-d config.toml", { isDaemon: true }],
    ["--daemon config.toml", { isDaemon: true }],
    ["-q config.toml", { isQuiet: true }],
    ["--quiet config.toml", { isQuiet: true }],
    ["-v config.toml", { verbosity: 1 }],
    ["-v -v --verbose config.toml", { verbosity: 3 }],
    ["-vv config.toml", { verbosity: 2 }],
    ["-u nobody config.toml", { user: "nobody" }],
    ["--user=nobody config.toml", { user: "nobody" }],
    ["--user nobody config.toml", { user: "nobody" }],
    ["-dqv config.toml", { isDaemon: true, isQuiet: true, verbosity: 1 }],
    ["config.toml -d", { isDaemon: true }],
    ["/etc/sluice/pooler.ini", { path: "/etc/sluice/pooler.ini" }],
    ["123", { path: "123" }],
  ] as const
) {
  Deno.test(`readArguments() runs with: ${args}`, () => {
    assert.deepEqual(readArguments(args.split(" ")), { ...RUN, ...expected });
  });
}

for (
  const [args, expected] of [
    ["-h", { kind: "help" }],
    ["--help", { kind: "help" }],
    ["-V", { kind: "version" }],
    ["--version", { kind: "version" }],
    ["--version config.toml", { kind: "version" }],
    ["check config.toml", { kind: "check", path: "config.toml", isDiff: false }],
    ["check --diff config.toml", { kind: "check", path: "config.toml", isDiff: true }],
    ["--diff check config.toml", { kind: "check", path: "config.toml", isDiff: true }],
    ["convert pgbouncer.ini", { kind: "convert", path: "pgbouncer.ini" }],
    ["console c.toml RELOAD", { kind: "console", path: "c.toml", command: "RELOAD" }],
    ["console c.toml SHUTDOWN WAIT_FOR_TRANSACTIONS 40", {
      kind: "console",
      path: "c.toml",
      command: "SHUTDOWN WAIT_FOR_TRANSACTIONS 40",
    }],
  ] as const
) {
  Deno.test(`readArguments() reads: ${args}`, () => {
    assert.deepEqual(readArguments(args.split(" ")), expected);
  });
}

for (
  const [args, message] of [
    ["", /^One configuration file is needed$/],
    ["a.toml b.toml", /^One configuration file is needed$/],
    ["check", /^check takes one file$/],
    ["console c.toml", /^console takes a configuration file and a command$/],
    ["--diff a", /^--diff goes with check only$/],
    ["convert --diff a", /^--diff goes with check only$/],
    ["check --diff", /^check takes one file$/],
    ["check a b", /^check takes one file$/],
    ["convert", /^convert takes one file$/],
    ["--nonsense config.toml", /^Unknown option --nonsense$/],
    ["-x -y config.toml", /^Unknown option -x, -y$/],
    ["config.toml -u", /^-u takes the name of a user$/],
    ["config.toml --user=", /^-u takes the name of a user$/],
    ["-R config.toml", /^-R .* is not supported: .*rolling restart.*so_reuseport/],
    ["--reboot config.toml", /not supported/],
  ] as const
) {
  Deno.test(`readArguments() refuses: ${args || "nothing"}`, () => {
    const read = readArguments(args === "" ? [] : args.split(" "));
    assert.equal(read.kind, "usage_error");
    assert.match(read.kind === "usage_error" ? read.message : "", message);
  });
}

Deno.test("USAGE names every option that is taken", () => {
  for (const option of ["daemon", "quiet", "verbose", "user", "version", "help"]) {
    assert.match(
      USAGE,
      new RegExp(`^  -${option === "version" ? "V" : option[0]}, --${option}`, "m"),
    );
  }
});
