import assert from "node:assert/strict";
import { AssertionError } from "../../../src/base/assert.ts";
import type { PooledServerKind } from "../../../src/pool/pooled_server.ts";
import { ServerLists } from "../../../src/pool/server_lists.ts";

/** What stands in a list: anything with a state. */
class Item {
  state: { kind: PooledServerKind };
  place = 0;

  constructor(kind: PooledServerKind) {
    this.state = { kind };
  }
}

const KINDS: readonly PooledServerKind[] = [
  ...["login", "idle", "used", "tested", "active", "being_canceled", "recovering"] as const,
];

Deno.test("ServerLists.move() moves a server from any state to any other", () => {
  for (const before of KINDS) {
    for (const after of [...KINDS, "closed"] as const) {
      const lists = new ServerLists<Item>();
      const item = new Item(before);
      lists.add(item);
      item.state = { kind: after };
      lists.move(item, before);
      const isAlive = after !== "closed";
      assert.equal(lists.count, isAlive ? 1 : 0, `${before}→${after}`);
      assert.equal(lists.usableCount, isAlive && after !== "login" ? 1 : 0);
      assert.deepEqual([...lists.all()], isAlive ? [item] : []);
    }
  }
});

Deno.test("ServerLists.move() asserts that the server was where its state said", () => {
  for (const before of KINDS) {
    const lists = new ServerLists<Item>();
    assert.throws(() => lists.move(new Item("idle"), before), AssertionError);
  }
  const lists = new ServerLists<Item>();
  assert.throws(() => lists.move(new Item("idle"), "closed"), TypeError);
});

Deno.test("ServerLists.nextIdle() gives the newest, or the oldest for round robin", () => {
  const lists = new ServerLists<Item>();
  assert.equal(lists.nextIdle(false), undefined);
  const [old, young] = [new Item("idle"), new Item("idle")];
  lists.add(old);
  lists.add(young);
  assert.equal(lists.nextIdle(false), young);
  assert.equal(lists.nextIdle(true), old);
  assert.equal(lists.count, 2);
});

Deno.test("a server that comes back to idle stands last, whoever leaves in between", () => {
  const lists = new ServerLists<Item>();
  const items = [new Item("idle"), new Item("idle"), new Item("idle")];
  for (const item of items) lists.add(item);
  const [first, second, third] = items;
  for (const kind of ["active", "idle"] as const) {
    const before = first!.state.kind;
    first!.state = { kind };
    lists.move(first!, before);
  }
  assert.deepEqual(lists.idle, [second, third, first]);
});

Deno.test("ServerLists finds every server wherever it stands among the active ones", () => {
  const lists = new ServerLists<Item>();
  const items = [new Item("active"), new Item("active"), new Item("active"), new Item("active")];
  for (const item of items) lists.add(item);
  for (const at of [1, 0, 3, 2]) {
    items[at]!.state = { kind: "closed" };
    lists.move(items[at]!, "active");
    const left = items.filter(({ state }) => state.kind === "active");
    assert.deepEqual(new Set(lists.active), new Set(left));
  }
});
