import assert from "node:assert/strict";
import fc from "fast-check";
import { ProtocolError } from "../../../src/wire/pg_error.ts";
import { ParameterCache, TrackedParameters } from "../../../src/link/parameter_cache.ts";

const TRACKED = new TrackedParameters([]);

/** Values given at startup or set later. */
function client(values: Record<string, string>, tracked = TRACKED): ParameterCache {
  const cache = new ParameterCache(tracked);
  for (const [name, value] of Object.entries(values)) cache.set(name, value);
  return cache;
}

/** Values a server has reported. */
function server(values: Record<string, string>, tracked = TRACKED): ParameterCache {
  const cache = new ParameterCache(tracked);
  for (const [name, value] of Object.entries(values)) cache.reportDefault(name, value);
  return cache;
}

/** The SQL that makes a server fit for a client. */
function sqlFor(server: ParameterCache, client: ParameterCache): string {
  return server.changesFor(client).map(({ sql }) => sql).join(";");
}

/** Why each change is made. */
function causes(server: ParameterCache, client: ParameterCache): string[] {
  return server.changesFor(client).map(({ cause }) => cause);
}

Deno.test("TrackedParameters knows its names in any case, each once", () => {
  const tracked = new TrackedParameters(["IntervalStyle", "datestyle", "intervalstyle"]);
  assert.deepEqual(tracked.names, TRACKED.names);
  assert.equal(tracked.names[tracked.indexOf("INTERVALSTYLE")!], "IntervalStyle");
  assert.equal(tracked.indexOf("dateStyle"), tracked.indexOf("DateStyle"));
  assert.equal(tracked.indexOf("work_mem"), undefined);
});

/** As PostgreSQL 18 reports them at login, but for those that a session cannot set by SET. */
const REPORTED_BY_18 = [
  ...["application_name", "client_encoding", "DateStyle", "default_transaction_read_only"],
  ...["IntervalStyle", "scram_iterations", "search_path", "standard_conforming_strings"],
  "TimeZone",
];

Deno.test("TrackedParameters knows all that PostgreSQL 18 reports and a session may set", () => {
  assert.deepEqual([...TRACKED.names].sort(), [...REPORTED_BY_18].sort());
  for (const name of REPORTED_BY_18) assert.equal(TRACKED.mayBeAsked(name.toUpperCase()), true);
});

const ONLY_SHOWN = [
  ...["server_version", "server_encoding", "integer_datetimes", "in_hot_standby"],
  ...["is_superuser", "session_authorization"],
];

Deno.test("TrackedParameters leaves out what no session can set, even where it is asked to track it", () => {
  const tracked = new TrackedParameters(ONLY_SHOWN);
  for (const name of ONLY_SHOWN) {
    assert.equal(tracked.learn(name.toUpperCase()), undefined, name);
    assert.equal(tracked.mayBeAsked(name), false, name);
    assert.equal(new ParameterCache(tracked).report(name, "x"), false, name);
  }
  assert.deepEqual(tracked.names, TRACKED.names);
});

Deno.test("TrackedParameters takes in what a server reports, and lets no client ask for it at startup", () => {
  const tracked = new TrackedParameters([]);
  const known = tracked.knownCount;
  assert.equal(tracked.learn("ext.Level"), known);
  assert.equal(tracked.learn("EXT.LEVEL"), known);
  assert.equal(tracked.indexOf("ext.level"), known);
  assert.equal(tracked.knownCount, known);
  assert.equal(tracked.mayBeAsked("ext.Level"), false);
});

Deno.test("TrackedParameters takes no name that could be read as more than a name", () => {
  const tracked = new TrackedParameters([]);
  for (const name of ["", "a b", "a;b", "a.", "1a", "a'", 'a"b', "a=b", "é"]) {
    assert.equal(tracked.learn(name), undefined, name);
  }
  assert.equal(tracked.names.length, tracked.knownCount);
});

Deno.test("TrackedParameters does not let servers fill the memory with names", () => {
  const tracked = new TrackedParameters([]);
  assert.throws(() => {
    for (let i = 0; i < 1_000; i++) tracked.learn(`ext.p${i}`);
  }, ProtocolError);
  assert.equal(tracked.names.length - tracked.knownCount, 100);
});

Deno.test("a parameter that turns up later follows the clients that came before it, too", () => {
  const tracked = new TrackedParameters([]);
  const early = client({ TimeZone: "UTC" }, tracked);
  const old = server({ TimeZone: "UTC" }, tracked);
  assert.equal(old.isFitFor(early), true);
  const mine = server({ TimeZone: "UTC", "ext.level": "1" }, tracked);
  const late = client({ TimeZone: "UTC" }, tracked);
  late.adopt(new Map([["ext.level", "1"]]));
  assert.equal(mine.isFitFor(early), true, "it never heard of it");
  assert.equal(mine.isFitFor(late), true);
  mine.report("ext.level", "2");
  late.set("ext.level", "2");
  assert.equal(sqlFor(mine, early), "RESET ext.level", "a value of another client's");
  assert.equal(mine.isFitFor(early), false);
  mine.report("ext.level", "1");
  mine.settleWith(early);
  assert.equal(mine.isFitFor(early), true);
  assert.equal(sqlFor(mine, late), "SET ext.level='2'");
  assert.equal(sqlFor(old, late), "SET ext.level='2'", "its own, also where nothing is reported");
});

Deno.test("takingBack names what a client changed of parameters that not everybody may set", () => {
  const tracked = new TrackedParameters([]);
  const mine = server({ TimeZone: "UTC", "ext.level": "1", "ext.mode": "a" }, tracked);
  assert.equal(mine.takingBack, "");
  mine.report("TimeZone", "Asia/Tokyo");
  assert.equal(mine.takingBack, "", "this one any client can set back");
  mine.report("ext.level", "2");
  mine.report("ext.mode", "b");
  assert.equal(mine.takingBack, "RESET ext.level;RESET ext.mode");
  mine.reportDefault("ext.level", "3");
  mine.reportDefault("ext.mode", "a");
  assert.equal(mine.takingBack, "");
});

Deno.test("changes tell what the client asked for from what it found, and from what others left", () => {
  const mine = server({ TimeZone: "UTC", DateStyle: "ISO, MDY", IntervalStyle: "postgres" });
  const theirs = client({ TimeZone: "Asia/Tokyo" });
  theirs.adopt(new Map([["DateStyle", "German, DMY"], ["IntervalStyle", "postgres"]]));
  mine.report("IntervalStyle", "iso_8601");
  assert.deepEqual(causes(mine, theirs), ["adopted", "asked", "foreign"]);
});

Deno.test("what a server refused is not tried again for who never asked, who takes the server's value", () => {
  const mine = server({ DateStyle: "ISO, MDY", TimeZone: "UTC" });
  const found = client({});
  found.adopt(new Map([["DateStyle", "German, DMY"], ["TimeZone", "UTC"]]));
  const asking = client({ DateStyle: "German, DMY", TimeZone: "UTC" });
  mine.noteRefusal(mine.changesFor(found)[0]!);
  assert.deepEqual(mine.changesFor(found), []);
  assert.equal(mine.isFitFor(found), false, "it has to be told");
  assert.deepEqual(mine.settleWith(found), [["DateStyle", "ISO, MDY"]]);
  assert.equal(mine.isFitFor(found), true);
  assert.deepEqual(causes(mine, asking), ["asked"]);
});

Deno.test("what a server refused is never kept where another client has set it", () => {
  const mine = server({ DateStyle: "ISO, MDY" });
  const found = client({});
  found.adopt(new Map([["DateStyle", "German, DMY"]]));
  mine.noteRefusal(mine.changesFor(found)[0]!);
  mine.report("DateStyle", "SQL, DMY");
  assert.deepEqual(causes(mine, found), ["foreign"]);
});

Deno.test("a server without a parameter that its pool's first one reported serves who never asked for it", () => {
  const mine = server({ TimeZone: "UTC" });
  const found = client({});
  found.adopt(new Map([["TimeZone", "UTC"], ["scram_iterations", "4096"]]));
  assert.deepEqual(causes(mine, found), ["adopted"]);
  mine.noteRefusal(mine.changesFor(found)[0]!);
  mine.settleWith(found);
  assert.equal(mine.get("scram_iterations"), undefined);
  assert.equal(mine.isFitFor(found), true, "without a query at every link");
  assert.equal(sqlFor(mine, client({ scram_iterations: "5000" })), "SET scram_iterations='5000'");
});

Deno.test("ParameterCache takes what is tracked, in any case, and says whether it is", () => {
  const cache = new ParameterCache(TRACKED);
  assert.equal(cache.get("TimeZone"), undefined);
  assert.equal(cache.set("timezone", "UTC"), true);
  assert.equal(cache.get("TIMEZONE"), "UTC");
  assert.equal(cache.report("DateStyle", "ISO"), true);
  assert.equal(cache.get("datestyle"), "ISO");
  assert.equal(cache.set("work_mem", "1MB"), false);
  assert.equal(cache.report("server_version", "18.0"), false);
  assert.equal(cache.get("work_mem"), undefined);
});

Deno.test("a server is fit for a client that expects the values it has", () => {
  const values = { DateStyle: "ISO, MDY", TimeZone: "UTC" };
  assert.equal(server(values).isFitFor(client(values)), true);
  assert.equal(sqlFor(server(values), client(values)), "");
});

Deno.test("a server is fit for a client that never asked for a value the server reports", () => {
  assert.equal(server({ TimeZone: "UTC" }).isFitFor(client({})), true);
  assert.equal(sqlFor(server({ TimeZone: "UTC" }), client({})), "");
});

Deno.test("values that differ are set, all in one go", () => {
  const mine = server({ DateStyle: "ISO, MDY", TimeZone: "UTC", application_name: "" });
  const wanted = client({ DateStyle: "German", TimeZone: "UTC", application_name: "psql" });
  assert.equal(mine.isFitFor(wanted), false);
  assert.equal(
    sqlFor(mine, wanted),
    "SET DateStyle='German';SET application_name='psql'",
  );
});

Deno.test("values are compared by letter: upper and lower case may matter to the server", () => {
  assert.equal(server({ TimeZone: "UTC" }).isFitFor(client({ TimeZone: "utc" })), false);
});

Deno.test("an empty value is a value", () => {
  const mine = server({ application_name: "psql" });
  assert.equal(sqlFor(mine, client({ application_name: "" })), "SET application_name=''");
});

Deno.test("a client takes the spelling that the server reports", () => {
  const mine = server({ DateStyle: "ISO, MDY" });
  const theirs = client({ DateStyle: "german" });
  assert.equal(mine.isFitFor(theirs), false);
  mine.report("DateStyle", "German, DMY");
  assert.deepEqual(mine.settleWith(theirs), [["DateStyle", "German, DMY"]]);
  assert.equal(theirs.get("DateStyle"), "German, DMY");
  assert.equal(mine.isFitFor(theirs), true);
});

Deno.test("a client takes the server's spelling also where the SET changed nothing", () => {
  // "utc" means what the server has; it reports no change.
  const mine = server({ TimeZone: "UTC" });
  const theirs = client({ TimeZone: "utc" });
  assert.deepEqual(mine.settleWith(theirs), [["TimeZone", "UTC"]]);
  assert.equal(mine.isFitFor(theirs), true);
});

Deno.test("settleWith() tells the client nothing it knows already", () => {
  const mine = server({ DateStyle: "ISO, MDY", TimeZone: "UTC" });
  assert.deepEqual(mine.settleWith(client({ DateStyle: "ISO, MDY" })), []);
});

Deno.test("search_path on a server that does not report it is set, and reset for the next client", () => {
  const mine = server({ TimeZone: "UTC" });
  const first = client({ search_path: "app, public" });
  const second = client({});
  assert.equal(mine.isFitFor(first), false);
  assert.equal(
    sqlFor(mine, first),
    "SELECT pg_catalog.set_config('search_path','app, public',false)",
  );
  assert.deepEqual(mine.settleWith(first), []);
  assert.equal(mine.isFitFor(first), true);
  assert.equal(mine.isFitFor(second), false, "the first client's path must not reach the second");
  assert.equal(sqlFor(mine, second), "RESET search_path");
  assert.deepEqual(mine.settleWith(second), []);
  assert.equal(mine.isFitFor(second), true);
  assert.equal(mine.get("search_path"), undefined);
});

Deno.test("search_path on a server that reports it follows the client like any other", () => {
  const mine = server({ search_path: '"$user", public' });
  const theirs = client({ search_path: "app" });
  assert.equal(mine.isFitFor(client({})), true);
  mine.report("search_path", "app");
  assert.deepEqual(mine.settleWith(theirs), []);
  assert.equal(mine.isFitFor(theirs), true);
});

Deno.test("resetUnreported() forgets what DISCARD ALL has undone, and keeps what is reported", () => {
  const mine = server({ TimeZone: "UTC" });
  mine.settleWith(client({ search_path: "app" }));
  mine.resetUnreported();
  assert.equal(mine.get("search_path"), undefined);
  assert.equal(mine.get("TimeZone"), "UTC");
  assert.equal(mine.isFitFor(client({})), true);
});

Deno.test("values that need quoting are quoted so that nothing of them is read as SQL", () => {
  const cases: [value: string, sql: string][] = [
    ["it's", "SET application_name='it''s'"],
    ["'; DROP TABLE t; --", "SET application_name='''; DROP TABLE t; --'"],
    ["\\", "SET application_name= E'\\\\'"],
    ["\\'; DROP TABLE t; --", "SET application_name= E'\\\\''; DROP TABLE t; --'"],
    ['"$user"', "SET application_name='\"$user\"'"],
    ["$1 $$ /* */\n", "SET application_name='$1 $$ /* */\n'"],
    ["h\u00e9\u20ac\\", "SET application_name= E'h\\u00e9\\u20ac\\\\'"],
    ["\u{1f418}", "SET application_name= E'\\U0001f418'"],
  ];
  for (const [value, sql] of cases) {
    assert.equal(sqlFor(server({}), client({ application_name: value })), sql);
  }
});

Deno.test("lists of names go through set_config(): SET would take the list for one name", () => {
  const tracked = new TrackedParameters(["temp_tablespaces"]);
  const wanted = client({ search_path: `"$user", o'x`, temp_tablespaces: "a\\b" }, tracked);
  assert.equal(
    sqlFor(new ParameterCache(tracked), wanted),
    `SELECT pg_catalog.set_config('search_path','"$user", o''x',false);` +
      "SELECT pg_catalog.set_config('temp_tablespaces', E'a\\\\b',false)",
  );
});

/**
 * Reads one SQL literal as PostgreSQL does, whatever standard_conforming_strings is. Whatever
 * client_encoding is as well: so it must be ASCII.
 */
function readLiteral(sql: string): { value: string; rest: string } {
  const isEscaped = /^\s*E'/.test(sql);
  let i = sql.indexOf("'") + 1;
  let value = "";
  for (;; i++) {
    assert.ok(i < sql.length, `the literal never ends: ${sql}`);
    const character = sql[i]!;
    if (character === "'") {
      if (sql[i + 1] !== "'") return { value, rest: sql.slice(i + 1) };
      i += 1;
    } else if (character === "\\") {
      assert.ok(isEscaped, "a backslash outside E'' depends on standard_conforming_strings");
      i += 1;
      const digits = { u: 4, U: 8 }[sql[i]!] ?? 0;
      if (digits > 0) {
        value += String.fromCodePoint(parseInt(sql.slice(i + 1, i + 1 + digits), 16));
        i += digits;
        continue;
      }
    }
    assert.ok(character < "\u0080", "what is not ASCII depends on client_encoding");
    value += sql[i]!;
  }
}

Deno.test("any value is read back as it was, and nothing follows it", () => {
  const hostile = fc.string({
    unit: fc.constantFrom(
      "'",
      "\\",
      ";",
      '"',
      "E",
      " ",
      "-",
      "$",
      "\n",
      "a",
      "u",
      "é",
      "中",
      "\u{1f418}",
    ),
  });
  fc.assert(
    fc.property(hostile, (value) => {
      const set = sqlFor(server({}), client({ application_name: value }));
      const { value: read, rest } = readLiteral(set.slice("SET application_name=".length));
      assert.equal(read, value);
      assert.equal(rest, "");
      const call = "SELECT pg_catalog.set_config('search_path',";
      const list = sqlFor(server({}), client({ search_path: value }));
      assert.ok(list.startsWith(call));
      const literal = readLiteral(list.slice(call.length));
      assert.equal(literal.value, value);
      assert.equal(literal.rest, ",false)");
    }),
  );
});

Deno.test("a server is fit for any client once the statements ran and both were settled", () => {
  const names = ["DateStyle", "TimeZone", "application_name", "search_path"];
  const values = fc.dictionary(fc.constantFrom(...names), fc.constantFrom("a", "A", "b", ""));
  fc.assert(
    fc.property(values, fc.array(values, { minLength: 1, maxLength: 6 }), (reported, clients) => {
      const mine = server(reported);
      for (const wanted of clients.map((one) => client(one))) {
        const isFit = mine.isFitFor(wanted);
        const sql = sqlFor(mine, wanted);
        assert.equal(isFit, sql === "", "statements exactly where they are needed");
        // The server reports its own spelling of what was set, if it reports the parameter.
        for (const name of Object.keys(reported)) {
          const value = wanted.get(name);
          if (value !== undefined) mine.report(name, value.toUpperCase());
          else if (sql.includes(`RESET ${name}`)) mine.report(name, reported[name]!);
        }
        for (const [name, value] of mine.settleWith(wanted)) {
          assert.equal(mine.get(name), value);
          assert.equal(wanted.get(name), value);
        }
        assert.equal(mine.isFitFor(wanted), true);
        for (const name of names) {
          if (wanted.get(name) !== undefined) assert.equal(mine.get(name), wanted.get(name));
          else assert.equal(mine.get(name), reported[name], "what another client had set");
        }
      }
    }),
  );
});
