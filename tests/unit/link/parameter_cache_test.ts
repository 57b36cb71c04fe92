import assert from "node:assert/strict";
import fc from "fast-check";
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
  for (const [name, value] of Object.entries(values)) cache.report(name, value);
  return cache;
}

Deno.test("TrackedParameters knows its names in any case, each once", () => {
  const tracked = new TrackedParameters(["IntervalStyle", "datestyle", "intervalstyle"]);
  assert.deepEqual(tracked.names, [...TRACKED.names, "IntervalStyle"]);
  assert.equal(tracked.indexOf("INTERVALSTYLE"), tracked.names.length - 1);
  assert.equal(tracked.indexOf("dateStyle"), tracked.indexOf("DateStyle"));
  assert.equal(tracked.indexOf("work_mem"), undefined);
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
  assert.equal(server(values).statementsFor(client(values)), "");
});

Deno.test("a server is fit for a client that never asked for a value the server reports", () => {
  assert.equal(server({ TimeZone: "UTC" }).isFitFor(client({})), true);
  assert.equal(server({ TimeZone: "UTC" }).statementsFor(client({})), "");
});

Deno.test("values that differ are set, all in one go", () => {
  const mine = server({ DateStyle: "ISO, MDY", TimeZone: "UTC", application_name: "" });
  const wanted = client({ DateStyle: "German", TimeZone: "UTC", application_name: "psql" });
  assert.equal(mine.isFitFor(wanted), false);
  assert.equal(
    mine.statementsFor(wanted),
    "SET DateStyle='German';SET application_name='psql'",
  );
});

Deno.test("values are compared by letter: upper and lower case may matter to the server", () => {
  assert.equal(server({ TimeZone: "UTC" }).isFitFor(client({ TimeZone: "utc" })), false);
});

Deno.test("an empty value is a value", () => {
  const mine = server({ application_name: "psql" });
  assert.equal(mine.statementsFor(client({ application_name: "" })), "SET application_name=''");
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
    mine.statementsFor(first),
    "SELECT pg_catalog.set_config('search_path','app, public',false)",
  );
  assert.deepEqual(mine.settleWith(first), []);
  assert.equal(mine.isFitFor(first), true);
  assert.equal(mine.isFitFor(second), false, "the first client's path must not reach the second");
  assert.equal(mine.statementsFor(second), "RESET search_path");
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
    assert.equal(server({}).statementsFor(client({ application_name: value })), sql);
  }
});

Deno.test("lists of names go through set_config(): SET would take the list for one name", () => {
  const tracked = new TrackedParameters(["temp_tablespaces"]);
  const wanted = client({ search_path: `"$user", o'x`, temp_tablespaces: "a\\b" }, tracked);
  assert.equal(
    new ParameterCache(tracked).statementsFor(wanted),
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
      const set = server({}).statementsFor(client({ application_name: value }));
      const { value: read, rest } = readLiteral(set.slice("SET application_name=".length));
      assert.equal(read, value);
      assert.equal(rest, "");
      const call = "SELECT pg_catalog.set_config('search_path',";
      const list = server({}).statementsFor(client({ search_path: value }));
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
        const sql = mine.statementsFor(wanted);
        assert.equal(isFit, sql === "", "statements exactly where they are needed");
        // The server reports its own spelling of what was set, if it reports the parameter.
        for (const name of Object.keys(reported)) {
          const value = wanted.get(name);
          if (value !== undefined) mine.report(name, value.toUpperCase());
        }
        for (const [name, value] of mine.settleWith(wanted)) {
          assert.equal(mine.get(name), value);
          assert.equal(wanted.get(name), value);
        }
        assert.equal(mine.isFitFor(wanted), true);
        for (const name of names) {
          if (wanted.get(name) !== undefined) assert.equal(mine.get(name), wanted.get(name));
          else assert.equal(mine.get(name) === undefined || name in reported, true);
        }
      }
    }),
  );
});
