/** The page of a soak. */

import assert from "node:assert/strict";
import { judgeGrowth } from "../../../../scripts/soak/growth.ts";
import { soakReport, verdictOf } from "../../../../scripts/soak/soak_report.ts";

const SAMPLES = Array.from({ length: 100 }, (_, i) => ({ atMs: i * 1000, value: 50 + i }));

Deno.test("soakReport() draws every series, and a line through those that are judged", () => {
  const growth = judgeGrowth(SAMPLES, { share: 0.05, least: 1 });
  const page = soakReport({ lines: ["a < b"], faults: [] }, [
    { title: "memory", unit: "MB", samples: SAMPLES, growth },
    { title: "servers", unit: "", samples: SAMPLES },
  ]);
  assert.equal(page.match(/<svg /g)?.length, 2);
  assert.equal(page.match(/<polyline /g)?.length, 3);
  const [points = ""] = page.match(/(?<=points=")[^"]+/) ?? [];
  assert.equal(points.split(" ").length, SAMPLES.length);
  assert.match(page, /<h2>memory, MB<\/h2>/);
  assert.match(page, /a &lt; b/);
  assert.match(page, /<h1>Soak: no fault<\/h1>/);
});

Deno.test("soakReport() needs nothing besides itself, and says every fault", () => {
  const page = soakReport({ lines: [], faults: ["it <grew>", "it fell"] }, []);
  assert.doesNotMatch(page, /<script|<link|src=|href=|url\(|@import|https?:/);
  assert.match(page, /<h1>Soak: 2 faults<\/h1>/);
  assert.match(page, /class="bad">it &lt;grew>/);
});

Deno.test("soakReport() draws an empty series as an empty frame", () => {
  const page = soakReport({ lines: [], faults: [] }, [{ title: "x", unit: "", samples: [] }]);
  assert.match(page, /<svg /);
  assert.doesNotMatch(page, /NaN|Infinity/);
});

Deno.test("verdictOf() says by how much a series rises, and what it may", () => {
  const growth = judgeGrowth(SAMPLES, { share: 0, least: 10 });
  const chart = { title: "memory", unit: "MB", samples: SAMPLES };
  const told = verdictOf({ ...chart, growth });
  assert.equal(told, "GROWS: its second half rises by 49.00 MB, 10.00 allowed");
  assert.equal(verdictOf(chart), "shown only");
});
