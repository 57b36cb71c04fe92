import assert from "node:assert/strict";
import { PgError } from "../../../src/wire/pg_error.ts";
import { readReplication } from "../../../src/wire/replication.ts";

Deno.test("readReplication() reads yes and no as PostgreSQL does, shortened and in any case", () => {
  for (const value of ["true", "on", "yes", "1", "TRUE", "t", "tr", "Y"]) {
    assert.equal(readReplication(value), "physical", value);
  }
  for (const value of ["false", "off", "no", "0", "F", "of", "n"]) {
    assert.equal(readReplication(value), "none", value);
  }
  assert.equal(readReplication(undefined), "none");
});

Deno.test("readReplication() knows the word for logical replication in lower case only", () => {
  assert.equal(readReplication("database"), "logical");
  assert.throws(() => readReplication("DATABASE"), PgError);
});

Deno.test("readReplication() refuses with PostgreSQL's words what it would not take", () => {
  for (const value of ["", "o", "10", "truely", "data", "on "]) {
    assert.throws(() => readReplication(value), (error) => {
      assert.ok(error instanceof PgError);
      assert.equal(error.sqlstate, "22023");
      assert.equal(error.message, `invalid value for parameter "replication": "${value}"`);
      return true;
    });
  }
});
