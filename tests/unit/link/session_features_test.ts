import assert from "node:assert/strict";
import { featureUse } from "../../../src/link/session_features.ts";
import { utf8 } from "../../support/messages.ts";

/** What a statement uses, as it stands in a message. */
function used(sql: string): string | undefined {
  const bytes = utf8(`xx${sql}\0`);
  const use = featureUse(bytes, 2, bytes.length);
  if (use === undefined) return undefined;
  return use.parameter === undefined ? use.feature : `${use.feature} ${use.parameter}`;
}

for (
  const [sql, expected] of Object.entries({
    "PREPARE p AS SELECT 1": "prepare",
    "execute p(1)": "prepare",
    "  listen  channel": "listen",
    "LOAD 'auto_explain'": "load",
    "select pg_advisory_lock(1)": "advisory lock",
    "SELECT\n pg_catalog . pg_try_advisory_lock_shared (1, 2)": "advisory lock",
    "declare c cursor with hold for select 1": "cursor with hold",
    "DECLARE c BINARY NO SCROLL CURSOR\nWITH HOLD FOR SELECT 1": "cursor with hold",
    "create temp table t (a int)": "temporary table",
    "CREATE LOCAL TEMPORARY TABLE t AS SELECT 1": "temporary table",
    "set role anna": "set role",
    "SET SESSION AUTHORIZATION anna": "set role",
    "set session role anna": "set role",
    "set statement_timeout = 5": "set statement_timeout",
    'SET "My.Setting" TO on': "set my.setting",
    "set session work_mem to '1MB'": "set work_mem",
    "set search_path=a": "set search_path",
    "SET SCHEMA 'a'": "set search_path",
    "set time zone 'UTC'": "set timezone",
    "set names 'UTF8'": "set client_encoding",
    "set session characteristics as transaction read only": "set",
  })
) {
  Deno.test(`featureUse() sees ${expected} in ${JSON.stringify(sql)}`, () => {
    assert.equal(used(sql), expected);
  });
}

for (
  const sql of [
    ...["select 1", "select pg_sleep(1)", "select pg_advisory_xact_lock(1)", "commit", "x", ""],
    ...["prepare transaction 'x'", "declare c cursor for select 1", "create table t (a int)"],
    ...["create temp table t (a int) on commit drop", "set local work_mem = 1", "unlisten c"],
    ...["set transaction read only", "set constraints all deferred", "explain select 1", "show x"],
    ...["deallocate p", "delete from t", "lock table t", "create index i on t (a)", "settle"],
  ]
) {
  Deno.test(`featureUse() sees nothing in ${JSON.stringify(sql)}`, () => {
    assert.equal(used(sql), undefined);
  });
}
