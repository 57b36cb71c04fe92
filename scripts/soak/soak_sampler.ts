/** Takes the samples of a soak. */

import { anonymousBytes, pssBytes } from "../bench/process_stats.ts";
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
  readonly memory = series("memory that is no part of a file", "MB", { share: 0.05, least: 2 });
  readonly pss = series("memory with its share of the program's pages (Pss)", "MB");
  readonly heap = series("V8's heap in use", "MB", { share: 0.1, least: 2 });
  readonly descriptors = series("descriptors", "", { share: 0, least: 1 });
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
    const { descriptors, heap, latency, loopLag, memory, ping, pss, servers, tail, worstPing } =
      this;
    return [memory, pss, heap, descriptors, servers, ping, worstPing, loopLag, latency, tail];
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
    const heap = areas.find(({ name }) => name === "v8_heap");
    const atMs = performance.now() - this.#beganAtMs;
    const note = (to: Series, value: number) => {
      if (Number.isFinite(value)) to.samples.push({ atMs, value });
    };
    note(this.memory, memory / 2 ** 20);
    note(this.pss, pss / 2 ** 20);
    note(this.heap, Number(heap?.["used"]) / 1024);
    note(this.descriptors, [...Deno.readDirSync(`/proc/${pid}/fd`)].length);
    note(this.servers, servers.length);
    note(this.loopLag, Number(lag?.["p99_us"]) / 1000);
    for (
      const [times, middle, end, fraction] of [
        [this.#pingsMs, this.ping, this.worstPing, 1],
        [this.#transfersMs, this.latency, this.tail, 0.99],
      ] as const
    ) {
      const sorted = times.splice(0).sort((a, b) => a - b);
      note(middle, percentile(sorted, 0.5));
      note(end, percentile(sorted, fraction));
    }
  }
}

function series(title: string, unit: string, tolerance?: Tolerance): Series {
  return { title, unit, samples: [], ...(tolerance === undefined ? {} : { tolerance }) };
}
