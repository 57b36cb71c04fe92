/** The report of a soak: one page that needs nothing besides itself. Pure. */

import type { Growth, Sample } from "./growth.ts";

/** A series and what was found of it. */
export interface Chart {
  readonly title: string;
  readonly unit: string;
  readonly samples: readonly Sample[];
  /** Undefined = not judged. */
  readonly growth?: Growth;
}

/** What stands above and below the charts. */
export interface SoakFacts {
  /** Lines of what was run, on what. */
  readonly lines: readonly string[];
  readonly faults: readonly string[];
}

const WIDTH = 860;
const HEIGHT = 160;
const LEFT = 70;
const BOTTOM = 24;

/** The page. */
export function soakReport({ faults, lines }: SoakFacts, charts: readonly Chart[]): string {
  const verdict = faults.length === 0 ? "no fault" : `${faults.length} faults`;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Sluice: soak, ${verdict}</title>
<style>
  body { font: 14px/1.4 sans-serif; max-width: 900px; margin: 2em auto; color: #222 }
  h2 { font-size: 1em; margin: 1.5em 0 0.2em }
  .bad { color: #b00020 }
  svg { background: #fafafa; border: 1px solid #ddd }
  svg text { font: 11px sans-serif; fill: #555 }
</style>
<h1>Soak: ${verdict}</h1>
<p>${lines.map(escaped).join("<br>\n")}</p>
${faults.map((fault) => `<p class="bad">${escaped(fault)}</p>`).join("\n")}
${charts.map(chartHtml).join("\n")}
</html>
`;
}

/** Says of a series what was found. */
export function verdictOf({ growth, unit }: Chart): string {
  if (growth === undefined) return "shown only";
  const { allowed, isGrowing, rise } = growth;
  const told = `${rise.toFixed(2)} ${unit}, ${allowed.toFixed(2)} allowed`.replace(" ,", ",");
  return `${isGrowing ? "GROWS" : "does not grow"}: its second half rises by ${told}`;
}

function chartHtml(chart: Chart): string {
  const { growth, title, unit } = chart;
  const heading = `<h2>${escaped(unit === "" ? title : `${title}, ${unit}`)}</h2>`;
  const colour = growth?.isGrowing === true ? ' class="bad"' : "";
  return `${heading}\n<p${colour}>${escaped(verdictOf(chart))}</p>\n${svg(chart)}`;
}

function svg({ growth, samples, title }: Chart): string {
  const values = samples.map(({ value }) => value);
  // Without samples there is an empty frame from 0 to 1.
  const top = values.reduce((most, value) => Math.max(most, value), 0) * 1.1 || 1;
  const endMs = samples.at(-1)?.atMs ?? 1;
  const x = (atMs: number) => (LEFT + (WIDTH - LEFT) * atMs / endMs).toFixed(1);
  const y = (value: number) => ((HEIGHT - BOTTOM) * (1 - value / top)).toFixed(1);
  const path = (points: readonly Sample[]) =>
    points.map(({ atMs, value }) => `${x(atMs)},${y(value)}`).join(" ");
  const ticks = [0, 0.5, 1].map((share) => share * top / 1.1);
  return [
    `<svg width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="${escaped(title)}">`,
    ...ticks.map((value) =>
      `<line x1="${LEFT}" x2="${WIDTH}" y1="${y(value)}" y2="${y(value)}" stroke="#ddd"/>` +
      `<text x="${LEFT - 6}" y="${y(value)}" text-anchor="end">${shortNumber(value)}</text>`
    ),
    `<polyline fill="none" stroke="#1565c0" points="${path(samples)}"/>`,
    ...(growth === undefined ? [] : [
      `<polyline fill="none" stroke="#b00020" stroke-dasharray="6 4" points="${
        path(growth.line)
      }"/>`,
    ]),
    ...[0, 0.5, 1].map((share) =>
      `<text x="${x(share * endMs)}" y="${HEIGHT - 8}" text-anchor="${
        share === 0 ? "start" : share === 1 ? "end" : "middle"
      }">${(share * endMs / 60_000).toFixed(1)} min</text>`
    ),
    "</svg>",
  ].join("\n");
}

function shortNumber(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
