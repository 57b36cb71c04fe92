/** Takes the samples of a soak. */

import type { ShownRow } from "../../tests/support/console.ts";
import { anonymousBytes, descriptorCount, pssBytes } from "../bench/process_stats.ts";
import type { ChaosWorld } from "../chaos/chaos_world.ts";
import { percentile } from "../percentiles.ts";
import type { Sample, Tolerance } from "./growth.ts";

/** One thing that is watched. */
export interface Series {
  readonly title: string;
  readonly unit: string;
  /** How much it may grow; undefined = it is only shown. */
  readonly tolerance?: Tolerance;
  readonly samples: Sample[];
}

/** Collects the samples. */
export class SoakSampler {
  readonly memory = series("memory that is no part of a file", "MB");
  readonly kept = series("the same after a collection of garbage", "MB", { share: 0.05, least: 2 });
  readonly pss = series("memory with its share of the program's pages (Pss)", "MB");
  readonly heap = series("V8's heap in use", "MB");
  readonly keptHeap = series("the same after a collection", "MB", { share: 0.05, least: 0.5 });
  readonly descriptors = series("descriptors", "", { share: 0, least: 3 });
  readonly servers = series("connections to servers", "");
  readonly ping = series("answer of the console, median", "ms", { share: 1, least: 5 });
  readonly worstPing = series("answer of the console, longest", "ms");
  readonly loopLag = series("event loop's lag since the start, p99 (SHOW HISTOGRAMS)", "ms");
  readonly latency = series("transfer of the ledger, median", "ms", { share: 0.5, least: 10 });
  readonly tail = series("transfer of the ledger, p99", "ms");
  readonly #world: ChaosWorld;
  readonly #beganAtMs = performance.now();
  readonly #pingsMs: number[] = [];
  readonly #transfersMs: number[] = [];

  constructor(world: ChaosWorld) {
    this.#world = world;
  }

  /** All that is watched, in the order of the report. */
  get all(): readonly Series[] {
    return [
      ...[this.memory, this.kept, this.pss, this.heap, this.keptHeap],
      ...[this.descriptors, this.servers, this.ping, this.worstPing, this.loopLag],
      ...[this.latency, this.tail],
    ];
  }

  /** Takes note of how long the console took. */
  notePing(tookMs: number): void {
    this.#pingsMs.push(tookMs);
  }

  /** Takes note of how long a transfer took. */
  noteTransfer(tookMs: number): void {
    this.#transfersMs.push(tookMs);
  }

  /** Takes a sample of everything; times are those since the sample before. */
  async sample(): Promise<void> {
    const { sluice: { pid } } = this.#world;
    const [memory, pss, servers, areas, histograms] = await Promise.all([
      anonymousBytes(pid),
      pssBytes(pid),
      this.#world.show("servers"),
      this.#world.show("mem"),
      this.#world.show("histograms"),
    ]);
    const lag = histograms.find(({ histogram }) => histogram === "event_loop_lag");
    this.#note(this.memory, memory / 2 ** 20);
    this.#note(this.pss, pss / 2 ** 20);
    this.#note(this.heap, heapMegabytes(areas));
    this.#note(this.descriptors, descriptorCount(pid));
    this.#note(this.servers, servers.length);
    this.#note(this.loopLag, Number(lag?.["p99_us"]) / 1000);
    this.#noteTimes(this.#pingsMs, this.ping, { end: this.worstPing, fraction: 1 });
    this.#noteTimes(this.#transfersMs, this.latency, { end: this.tail, fraction: 0.99 });
  }

  /** Takes a sample of what is kept when garbage has been collected, which holds Sluice up for a moment. */
  async sampleKept(): Promise<void> {
    await this.#world.collectGarbage();
    this.#note(this.keptHeap, heapMegabytes(await this.#world.show("mem")));
    this.#note(this.kept, await anonymousBytes(this.#world.sluice.pid) / 2 ** 20);
  }

  /** A sample of the times since the last one, of which there may be none. */
  #noteTimes(
    timesMs: number[],
    middle: Series,
    { end, fraction }: { end: Series; fraction: number },
  ): void {
    const sorted = timesMs.splice(0).sort((a, b) => a - b);
    if (sorted.length === 0) return;
    this.#note(middle, percentile(sorted, 0.5));
    this.#note(end, percentile(sorted, fraction));
  }

  #note({ samples }: Series, value: number): void {
    samples.push({ atMs: performance.now() - this.#beganAtMs, value });
  }
}

/** What SHOW MEM says of V8's heap. */
function heapMegabytes(areas: readonly ShownRow[]): number {
  return Number(areas.find(({ name }) => name === "v8_heap")?.["used"]) / 1024;
}

function series(title: string, unit: string, tolerance?: Tolerance): Series {
  return { title, unit, samples: [], ...(tolerance === undefined ? {} : { tolerance }) };
}
