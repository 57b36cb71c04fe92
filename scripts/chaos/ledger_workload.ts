/** Clients of the ledger at work: each does transfer after transfer, and comes back when it is thrown out. */

import { pause, waitUntil } from "../guarded_process.ts";
import { ForeignAnswer, type LedgerBook, type Outcome, type Transfer } from "./ledger.ts";
import {
  LEDGER_CLIENTS,
  type LedgerClient,
  type LedgerClientKind,
  type LedgerTarget,
} from "./ledger_clients.ts";

/** How they work. */
export interface WorkloadOptions {
  /** Where clients log in. With a certificate every other client of each kind uses TLS. */
  readonly target: LedgerTarget;
  /** Clients of each kind. */
  readonly each: number;
  /** Where they write down what they see. */
  readonly book: LedgerBook;
  /** How long an answer or a login may take; who waits for longer leaves without a word. */
  readonly patienceMs: number;
  /** Whether it is a fault when somebody lost patience. */
  readonly isPatienceEnough: boolean;
  /** Told how long each transfer took, in ms. */
  readonly onTransfer?: (tookMs: number) => void;
}

/** Between two attempts to log in. */
const RETRY_MS = 50;

/** What a client waits for. */
const IMPATIENT = Symbol("impatient");

/** One client, through all its connections. */
class Worker {
  /** When it last saw a transfer committed, on `performance.now()`'s clock. */
  committedAtMs = -Infinity;
  readonly #kind: LedgerClientKind;
  readonly #target: LedgerTarget;
  readonly #options: WorkloadOptions;

  constructor(kind: LedgerClientKind, target: LedgerTarget, options: WorkloadOptions) {
    this.#kind = kind;
    this.#target = target;
    this.#options = options;
  }

  get label(): string {
    return `${this.#kind.name}${this.#target.certificate === undefined ? "" : " (TLS)"}`;
  }

  async work(counts: WorkloadCounts, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const client = await this.#connect(counts);
      if (client === undefined) {
        await pause(RETRY_MS);
        continue;
      }
      while (!signal.aborted && !client.isLost) await this.#transferWith(client, counts);
      if (!client.isLost) return await client.end();
      client.vanish();
      counts.lostConnections++;
    }
  }

  async #connect(counts: WorkloadCounts): Promise<LedgerClient | undefined> {
    const connecting = this.#kind.connect(this.#target);
    try {
      const client = await this.#patiently(connecting, "a login");
      if (client !== IMPATIENT) return client;
      counts.impatient++;
    } catch {
      // Refused, or broken off: that is what the workload is there to live through.
    }
    counts.failedLogins++;
    // Who gets in after all has nothing to do there any more.
    connecting.then((client) => client.vanish(), () => {});
    return undefined;
  }

  async #transferWith(client: LedgerClient, counts: WorkloadCounts): Promise<void> {
    const { book, onTransfer } = this.#options;
    const transfer = book.begin();
    const beganAtMs = performance.now();
    try {
      const carrying = client.transfer(transfer);
      const outcome = await this.#patiently(carrying, `transfer ${transfer.id}`);
      if (outcome === IMPATIENT) {
        counts.impatient++;
        client.vanish();
        this.#note(transfer, await carrying);
      } else {
        this.#note(transfer, outcome);
        onTransfer?.(performance.now() - beganAtMs);
      }
    } catch (error) {
      if (!(error instanceof ForeignAnswer)) throw error;
      book.noteFault(`${this.label}: ${error.message}`);
      client.vanish();
    }
  }

  #note({ id }: Transfer, outcome: Outcome): void {
    this.#options.book.note(id, outcome);
    if (outcome === "committed") this.committedAtMs = performance.now();
  }

  async #patiently<T>(promise: Promise<T>, what: string): Promise<T | typeof IMPATIENT> {
    const { book, isPatienceEnough, patienceMs } = this.#options;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const limit = new Promise<typeof IMPATIENT>((resolve) => {
      timer = setTimeout(() => resolve(IMPATIENT), patienceMs);
    });
    try {
      const first = await Promise.race([promise, limit]);
      if (first === IMPATIENT && isPatienceEnough) {
        book.noteFault(`${this.label}: no end of ${what} within ${patienceMs} ms`);
      }
      return first;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** What happened besides transfers. */
export interface WorkloadCounts {
  lostConnections: number;
  failedLogins: number;
  impatient: number;
}

/** All of them. */
export class LedgerWorkload {
  readonly counts: WorkloadCounts = { lostConnections: 0, failedLogins: 0, impatient: 0 };
  readonly #workers: readonly Worker[];
  readonly #stop = new AbortController();
  readonly #working: Promise<unknown>;

  /** Sets them to work. */
  constructor(options: WorkloadOptions) {
    const { certificate: _, ...plain } = options.target;
    this.#workers = LEDGER_CLIENTS.flatMap((kind) =>
      Array.from(
        { length: options.each },
        (_, i) => new Worker(kind, i % 2 === 0 ? plain : options.target, options),
      )
    );
    const { signal } = this.#stop;
    this.#working = Promise.all(this.#workers.map((worker) => worker.work(this.counts, signal)));
  }

  /** How many clients there are. */
  get size(): number {
    return this.#workers.length;
  }

  /**
   * Waits until every client has seen a transfer committed since `sinceMs`; answers how long that took
   * from then, in ms, or the clients that have not within the limit.
   */
  async everyoneCommitted(sinceMs: number, limitMs: number): Promise<number | readonly string[]> {
    const waiting = () => this.#workers.filter(({ committedAtMs }) => committedAtMs < sinceMs);
    const isDone = await waitUntil(() => waiting().length === 0, limitMs);
    if (!isDone) return waiting().map(({ label }) => label);
    return performance.now() - sinceMs;
  }

  /** Lets all finish what they are at and leave. Rejects if one of them failed. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#working;
  }
}
