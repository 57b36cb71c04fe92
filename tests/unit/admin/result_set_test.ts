import assert from "node:assert/strict";
import { int4, numeric, table, text, textRow } from "../../../src/admin/result_set.ts";
import { backend } from "../../support/messages.ts";

interface Fruit {
  readonly name: string | undefined;
  readonly count: number;
}

Deno.test("table() has the columns with their types, and reads rows when they are asked for", () => {
  const columns = [
    text<Fruit>("name", ({ name }) => name),
    int4<Fruit>("count", ({ count }) => count),
    numeric<Fruit>("double", ({ count }) => count * 2),
  ];
  const fruits = [{ name: "pear", count: 3 }];
  const shown = table(columns, fruits);
  fruits.push({ name: "fig", count: 0 });
  assert.deepEqual(
    shown.columns.map(({ name, oid, sizeBytes }) => [name, oid, sizeBytes]),
    [["name", 25, -1], ["count", 23, 4], ["double", 1700, -1]],
  );
  assert.deepEqual([...shown.rows], [["pear", 3, 6], ["fig", 0, 0]]);
});

Deno.test("textRow() sends every value as text, and what there is not as NULL", () => {
  assert.deepEqual(textRow(["pear", 3, ""]), backend.dataRow(["pear", "3", ""]));
  assert.deepEqual(textRow([undefined, -1]), backend.dataRow([null, "-1"]));
});
