import assert from "node:assert/strict";
import { int4, numeric, resultSet, table, text } from "../../../src/admin/result_set.ts";
import { backend, cstring, int16, int32, join, message } from "../../support/messages.ts";

interface Fruit {
  readonly name: string | undefined;
  readonly count: number;
}

function column(name: string, oid: number, sizeBytes: number): Uint8Array {
  return join(
    ...[cstring(name), int32(0), int16(0)],
    ...[int32(oid), int16(sizeBytes), int32(-1), int16(0)],
  );
}

Deno.test("resultSet() describes the columns, sends the rows as text and completes with SHOW", () => {
  const columns = [
    text<Fruit>("name", ({ name }) => name),
    int4<Fruit>("count", ({ count }) => count),
    numeric<Fruit>("double", ({ count }) => count * 2),
  ];
  const rows = [{ name: "pear", count: 3 }, { name: undefined, count: 0 }, { name: "", count: -1 }];
  const expected = join(
    message(
      "T",
      int16(3),
      column("name", 25, -1),
      column("count", 23, 4),
      column("double", 1700, -1),
    ),
    backend.dataRow(["pear", "3", "6"]),
    backend.dataRow([null, "0", "0"]),
    backend.dataRow(["", "-1", "-2"]),
    backend.complete("SHOW"),
  );
  assert.deepEqual(resultSet(table(columns, rows)), expected);
});

Deno.test("resultSet() without rows still describes its columns", () => {
  const bytes = resultSet(table([text<Fruit>("name", ({ name }) => name)], []));
  const expected = join(
    message("T", int16(1), column("name", 25, -1)),
    backend.complete("SHOW"),
  );
  assert.deepEqual(bytes, expected);
});
