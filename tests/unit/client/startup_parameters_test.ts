import assert from "node:assert/strict";
import { nameWithHost, readIntent } from "../../../src/client/startup_parameters.ts";
import { TrackedParameters } from "../../../src/link/parameter_cache.ts";
import { PgError, ProtocolError } from "../../../src/wire/pg_error.ts";

function intent(startup: Record<string, string>, ignored: readonly string[] = []) {
  const rules = { tracked: new TrackedParameters(["IntervalStyle"]), ignored };
  return readIntent(new Map(Object.entries(startup)), rules);
}

/** How a refusal reads. */
function refusal(startup: Record<string, string>, ignored: readonly string[] = []): string {
  try {
    intent(startup, ignored);
  } catch (error) {
    if (error instanceof ProtocolError) return `08P01 ${error.message}`;
    assert.ok(error instanceof PgError);
    return `${error.sqlstate} ${error.message}`;
  }
  return "accepted";
}

Deno.test("readIntent() takes user, database and tracked parameters in any case", () => {
  const { database, parameters, user } = intent({
    user: "ada",
    database: "app",
    application_name: "psql",
    datestyle: "German",
    intervalstyle: "iso_8601",
  });
  assert.deepEqual([user, database], ["ada", "app"]);
  assert.equal(parameters.get("DateStyle"), "German");
  assert.equal(parameters.get("IntervalStyle"), "iso_8601");
  assert.equal(parameters.get("TimeZone"), undefined);
  assert.equal(parameters.get("application_name"), "psql");
});

Deno.test("readIntent() takes the user's name for a database that is missing or empty", () => {
  assert.equal(intent({ user: "ada" }).database, "ada");
  assert.equal(intent({ user: "ada", database: "" }).database, "ada");
});

Deno.test("readIntent() reads options as PostgreSQL does", () => {
  const { parameters } = intent({
    user: "ada",
    options: "-c datestyle=German --timezone=Europe/Berlin -capplication_name=my\\ app",
  });
  assert.equal(parameters.get("DateStyle"), "German");
  assert.equal(parameters.get("TimeZone"), "Europe/Berlin");
  assert.equal(parameters.get("application_name"), "my app");
});

Deno.test("readIntent() collects the protocol options", () => {
  const { protocolOptions } = intent({ user: "ada", "_pq_.compression": "on", "_pq_.b": "" });
  assert.deepEqual(protocolOptions, ["_pq_.compression", "_pq_.b"]);
});

const REFUSALS: readonly (readonly [Record<string, string>, string])[] = [
  [{ database: "app" }, "28000 no username supplied"],
  [{ user: "" }, "28000 no username supplied"],
  [{ user: "u".repeat(128) }, "28000 username too long"],
  [{ user: "ada", database: "d".repeat(128) }, "3D000 database name too long"],
  [{ user: "ada", work_mem: "1GB" }, "42704 unsupported startup parameter: work_mem"],
  [
    { user: "ada", replication: "maybe" },
    '22023 invalid value for parameter "replication": "maybe"',
  ],
  [
    { user: "ada", options: "-c work_mem=1GB" },
    "42704 unsupported startup parameter in options: work_mem",
  ],
  [
    { user: "ada", options: "-d 5" },
    "08P01 unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed",
  ],
];

for (const [startup, expected] of REFUSALS) {
  Deno.test(`readIntent() refuses ${JSON.stringify(startup).slice(0, 60)}`, () => {
    assert.equal(refusal(startup), expected);
  });
}

Deno.test("readIntent() takes names of 127 characters", () => {
  const name = "u".repeat(127);
  assert.equal(intent({ user: name, database: name }).user, name);
});

Deno.test("readIntent() takes replication that is switched off", () => {
  for (const value of ["false", "off", "no", "0", "FALSE"]) {
    const { passed, replication } = intent({ user: "ada", replication: value, options: "" });
    assert.deepEqual([replication, passed.size], ["none", 0], value);
  }
});

Deno.test("readIntent() passes on for replication what was asked as it was sent, ignored or not", () => {
  const asked = {
    replication: "database",
    options: "-c datestyle=ISO -c extra_float_digits=3",
    application_name: "sub",
    work_mem: "1GB",
  };
  const startup = { user: "ada", database: "app", "_pq_.x": "on", ...asked };
  const { parameters, passed, protocolOptions, replication } = intent(startup, [
    "options",
    "work_mem",
  ]);
  assert.equal(replication, "logical");
  assert.deepEqual(Object.fromEntries(passed), asked);
  assert.deepEqual(protocolOptions, ["_pq_.x"]);
  assert.equal(parameters.get("application_name"), "sub", "for SHOW CLIENTS");
});

Deno.test("readIntent() drops what is ignored, in any case, also within options", () => {
  assert.equal(refusal({ user: "ada", Work_Mem: "1GB" }, ["work_mem"]), "accepted");
  assert.equal(refusal({ user: "ada", options: "-c work_mem=1GB" }, ["work_mem"]), "accepted");
  assert.equal(refusal({ user: "ada", options: "-d 5" }, ["options"]), "accepted");
});

Deno.test("readIntent() tracks a parameter even where it is also ignored", () => {
  const { parameters } = intent({ user: "ada", datestyle: "German" }, ["datestyle"]);
  assert.equal(parameters.get("DateStyle"), "German");
});

Deno.test("readIntent() drops what is ignored of the parameters that PgBouncer does not track", () => {
  const names = ["search_path", "default_transaction_read_only", "scram_iterations"];
  for (const name of names) {
    assert.equal(intent({ user: "ada", [name]: "on" }, [name]).parameters.get(name), undefined);
    assert.equal(intent({ user: "ada", [name]: "on" }).parameters.get(name), "on");
  }
  // The settings name it twice; PgBouncer looks at track_extra_parameters first.
  const { parameters } = intent({ user: "ada", IntervalStyle: "iso_8601" }, ["IntervalStyle"]);
  assert.equal(parameters.get("IntervalStyle"), "iso_8601");
});

Deno.test("readIntent() takes what JDBC asks for, once extra_float_digits is ignored", () => {
  const startup = {
    ...{ user: "ada", database: "app", client_encoding: "UTF8", DateStyle: "ISO" },
    ...{ TimeZone: "Europe/Berlin", extra_float_digits: "2" },
  };
  assert.equal(refusal(startup), "42704 unsupported startup parameter: extra_float_digits");
  const { parameters } = intent(startup, ["extra_float_digits"]);
  const names = ["client_encoding", "DateStyle", "TimeZone", "extra_float_digits"];
  const values = ["UTF8", "ISO", "Europe/Berlin", undefined];
  assert.deepEqual(names.map((name) => parameters.get(name)), values);
});

Deno.test("readIntent() does not take at startup what servers only turned out to report", () => {
  const tracked = new TrackedParameters([]);
  tracked.learn("ext.level");
  const startup = new Map([["user", "ada"], ["ext.level", "1"]]);
  assert.throws(() => readIntent(startup, { tracked, ignored: [] }), /ext\.level/);
});

/** Name and address of a client, and what that makes together. */
const NAMES_WITH_HOST: readonly (readonly [string | undefined, string, string])[] = [
  ["psql", "10.0.0.7", "psql - 10.0.0.7:53412"],
  [undefined, "10.0.0.7", "app - 10.0.0.7:53412"],
  ["", "10.0.0.7", "app - 10.0.0.7:53412"],
  ["psql", "::1", "psql - [::1]:53412"],
  ["psql", "unix", "psql - unix:53412"],
  ["x".repeat(1_000), "10.0.0.7", `${"x".repeat(46)} - 10.0.0.7:53412`],
  ["é".repeat(40), "10.0.0.71", `${"\\xc3\\xa9".repeat(5)}\\xc3 - 10.0.0.71:53412`],
  ["a\nb", "10.0.0.7", "a\\x0ab - 10.0.0.7:53412"],
];

for (const [name, host, expected] of NAMES_WITH_HOST) {
  Deno.test(`nameWithHost() makes ${expected.slice(-30)} of ${name?.slice(0, 10)} at ${host}`, () => {
    const made = nameWithHost(name, { host, port: 53_412 });
    assert.equal(made, expected);
    assert.ok(made.length <= 63);
  });
}
