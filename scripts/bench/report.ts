/** Makes the benchmark's table, for the terminal and for `docs/benchmarks.md`. Pure. */

import { median } from "../percentiles.ts";
import type { PoolerKind } from "./pooler.ts";
import type { Figure, Goal, Measurement, Scenario } from "./scenario.ts";

/** The measurements of one scenario: one of each pooler a round. */
export interface ScenarioRuns {
  readonly scenario: Pick<Scenario, "title" | "figures">;
  readonly runs: Readonly<Record<PoolerKind, readonly Measurement[]>>;
}

/** What stands above the table in the document. */
export interface ReportFacts {
  readonly date: string;
  readonly versions: readonly string[];
  readonly cpuCount: number;
  readonly rounds: number;
  readonly seconds: number;
}

/** One line of the table, as text. */
export interface ReportRow {
  readonly scenario: string;
  readonly figure: string;
  readonly sluice: string;
  readonly portable: string;
  readonly pgbouncer: string;
  readonly ratio: string;
  readonly portableRatio: string;
  readonly goal: string;
}

const HEADINGS: ReportRow = {
  scenario: "Scenario",
  figure: "Figure",
  sluice: "Sluice",
  portable: "portable",
  pgbouncer: "PgBouncer",
  ratio: "Ratio",
  portableRatio: "portable ratio",
  goal: "Goal",
};

const COLUMNS = [
  "scenario",
  "figure",
  "sluice",
  "portable",
  "pgbouncer",
  "ratio",
  "portableRatio",
  "goal",
] as const;

/** Columns of words; the others are numbers. */
const WORDS: readonly string[] = ["scenario", "figure", "goal"];

/** The lines of a table: medians over the rounds, and the median of the rounds' ratios. */
export function reportRows(all: readonly ScenarioRuns[]): ReportRow[] {
  return all.flatMap(({ scenario, runs }) =>
    scenario.figures.map((figure, i) => {
      const sluice = valuesOf(runs.sluice, figure);
      const pgbouncer = valuesOf(runs.pgbouncer, figure);
      const portable = valuesOf(runs.portable, figure);
      const ratios = ratiosOf(sluice, pgbouncer);
      return {
        scenario: i === 0 ? scenario.title : "",
        figure: figure.unit === "ms" && figure.name.startsWith("p")
          ? `${figure.name}, ms`
          : figure.unit,
        sluice: numberText(sluice, figure.digits),
        portable: numberText(portable, figure.digits),
        pgbouncer: numberText(pgbouncer, figure.digits),
        ratio: numberText(ratios, 2),
        portableRatio: numberText(ratiosOf(portable, pgbouncer), 2),
        goal: goalText(figure.goal, {
          ratio: ratios,
          value: sluice,
          excess: sluice.map((value, n) => value - (portable[n] ?? NaN)),
        }),
      };
    })
  );
}

/** Round by round, since the machine's speed drifts. */
function ratiosOf(values: readonly number[], others: readonly number[]): number[] {
  const pairs = Math.min(values.length, others.length);
  return Array.from({ length: pairs }, (_, n) => (values[n] ?? 0) / (others[n] ?? 0));
}

/** What was measured; not every figure is there for every pooler. */
function valuesOf(runs: readonly Measurement[], { name }: Figure): number[] {
  return runs.map((run) => run[name]).filter((value) => value !== undefined);
}

function numberText(values: readonly number[], digits: number): string {
  // Infinity: a ratio to what took no time that could be measured.
  const value = values.length === 0 ? NaN : median(values);
  return Number.isFinite(value) ? value.toFixed(digits) : "–";
}

const BOUND_UNITS: Readonly<Record<Goal["of"], string>> = {
  ratio: " ×",
  value: "",
  excess: " more than portable",
};

/** The bound, and whether the median of what it is for keeps it. */
function goalText(
  goal: Goal | undefined,
  values: Readonly<Record<Goal["of"], readonly number[]>>,
): string {
  if (goal === undefined) return "";
  const text = `${goal.is} ${goal.bound}${BOUND_UNITS[goal.of]}`;
  const known = values[goal.of].filter((value) => !Number.isNaN(value));
  if (known.length === 0) return text;
  const value = median(known);
  const isReached = goal.is === "at most" ? value <= goal.bound : value >= goal.bound;
  return `${text}: ${isReached ? "reached" : "missed"}`;
}

/** The table for a terminal. */
export function terminalTable(rows: readonly ReportRow[]): string {
  const all = [HEADINGS, ...rows];
  const widths = COLUMNS.map((name) => Math.max(...all.map((row) => row[name].length)));
  return all.map((row) =>
    COLUMNS.map((name, i) => {
      const width = widths[i] ?? 0;
      return WORDS.includes(name) ? row[name].padEnd(width) : row[name].padStart(width);
    }).join("  ").trimEnd()
  ).join("\n");
}

/** The table in Markdown. */
export function markdownTable(rows: readonly ReportRow[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    line(COLUMNS.map((name) => HEADINGS[name])),
    line(COLUMNS.map((name) => WORDS.includes(name) ? "---" : "---:")),
    ...rows.map((row) => line(COLUMNS.map((name) => row[name]))),
  ].join("\n");
}

/** The whole document. */
export function benchmarkDocument(facts: ReportFacts, rows: readonly ReportRow[]): string {
  return `# Benchmarks

Written by \`deno task bench\`; run it to get your own figures. Last run: ${facts.date}, on ${facts.cpuCount} CPU cores
shared by pgbench, PostgreSQL and the pooler, ${facts.rounds} rounds of ${facts.seconds} seconds.

${facts.versions.map((version) => `- ${version}`).join("\n")}

${markdownTable(rows)}

## How to read it

- The poolers run in turn within one run, in front of the same PostgreSQL, with the same settings: a pool of 10
  server connections, transaction pooling and no TLS unless the scenario says otherwise. _Sluice_ is on the I/O engine
  that it chooses itself, the native one on Linux; _portable_ is Sluice with \`io_engine = "portable"\`. For each
  scenario all are started and warmed up, then measured in turn, round by round, while the others have nothing to do;
  memory, overload, late and start have fresh ones in each round. Figures are medians over the rounds; a ratio is
  the median of each round's figure ÷ PgBouncer's. Absolute figures change from machine to machine and from day to
  day; ratios much less so.
- **Throughput** is limited by whatever is slowest on the machine, mostly pgbench and PostgreSQL, which share the
  cores with the pooler. **CPU µs/transaction** is the pooler's own cost: the user and system time of its
  process, all threads, divided by the transactions of the run. It is the figure to compare.
- **p50 and p99** are what one client waits for one transaction, including the wait for a server connection
  when there are more clients than servers. With a new connection for each transaction they are the whole
  cycle: connect, log in, select, leave; there pgbench's own part of SCRAM (4,096 rounds of hashing for each
  login) limits the throughput, since both poolers are given PostgreSQL's verifier and hash little.
- **Prepared** statements run in session pooling first, where all have them. In transaction pooling, shared by more
  clients than there are servers, PgBouncer has none before 1.21: beside Sluice's it runs the extended protocol.
- **TLS** is between clients and pooler only, TLS 1.3 with a certificate of ECDSA P-256; each new connection makes
  a whole handshake. Sluice speaks it by OpenSSL on the native engine and by the runtime on the portable one.
- **A storm of logins**: a process beside it logs 50 clients in at a time, which leave at once, while 10 clients go on
  with select-only; the latencies are theirs. The clients of the storm keep the keys that they derived once.
- **COPY** is read by psql, with all output thrown away. What limits it is PostgreSQL making the rows, on cores
  that it shares with the pooler and psql.
- **Memory** is the growth of the process's Pss (its private pages and its share of shared ones) when 5,000 more
  clients have logged in and run one query each, divided by their number.
- **Overload**: clients that ask again as soon as they are answered, on connections that stay. A query holds its server
  for 2 ms without using the processor (\`pg_sleep\`), so that it is servers there are too few of. The clients are in
  a process of their own, which takes as much for each query whatever their number. What is kept of the throughput
  with 5,000 is to be 0.9, or as near to it as PgBouncer comes in the same run. The wait is a whole transaction's; its
  longest ÷ its median is 1 in a queue that is perfectly fair. The console is asked every 50 ms meanwhile.
- **Idle** is the CPU time of the whole process while 1,000 clients do nothing, in percent of one core. It
  depends on what the machine does to processors that rest: on that of 2026-11-27 a loop in Python took 0.26 ms thirty
  times in a row and 2.5 ms after a third of a second of rest, and Sluice without a client 3 to 4%; on that of the day
  before, Sluice took 0.25% and PgBouncer 0.00%.
- **Late** says how long, at worst in a thousand times, timers of the pooler's clock and an echo over the runtime's own
  sockets take inside a pooler under full load (select-only, 50 clients): what the native engine keeps from the
  runtime shows as the difference to the portable engine. That is to be 2 ms at most.
- **Start** is the time from starting the process until a TCP connection is accepted; Sluice runs from its
  sources, already compiled once.

## Where the time goes

One profile by \`perf\` (999 samples a second, select-only, simple protocol, 50 clients, 2026-11-26), in CPU µs a
transaction:

| | Sluice, native engine | PgBouncer |
| --- | ---: | ---: |
| kernel: send, waking the receiver included | 14.9 | 13.2 |
| kernel: receive | 2.5 | 2.4 |
| kernel: epoll_wait | 0.9 | 1.4 |
| kernel: epoll_ctl | 0.0 | 3.2 |
| kernel: everything else | 1.6 | 1.0 |
| compiled TypeScript | 8.2 | |
| the runtime and V8's builtins, a fifth to a quarter of it the turn lent to the runtime | 6.7 | |
| PgBouncer, libevent, C library | 0.8 | 4.0 |

- Per transaction the native engine makes two receives, two sends and 0.3 waits; PgBouncer three receives, two
  sends, two changes of its epoll and 0.15 waits.
- A day later, on a machine that was disturbed less, it was 17.7 µs to 13.6: the kernel had 12.7 of Sluice's and 12.1 of
  PgBouncer's, which leaves 5.0 and 1.5.
- The same TypeScript takes about 1 µs a query when nothing else uses the processor's caches (the whole pooler on
  sockets in memory, \`tests/unit/net/native/heap_test.ts\`). On a machine on which memory is far away (110 ns beyond
  the second-level cache were measured on the one of this run) most of the 8 µs is waiting for it. So the ratio to
  PgBouncer varies more from machine to machine than PgBouncer's own figures do.

What the rest of a pooler costs: a sketch of 130 lines, which only frames messages and hands servers from one client to
the next, by the same calls on the same runtime, without states, limits, statistics, prepared statements or batches of
sends. In turn with Sluice and PgBouncer (2026-11-28, medians of nine, nine, seven and seven runs, CPU µs a transaction,
in brackets what is not the kernel's):

| clients, protocol | sketch | Sluice | PgBouncer |
| --- | ---: | ---: | ---: |
| 50, simple | 12.9 (1.3) | 15.9 (4.9) | 14.1 (2.1) |
| 50, extended | 14.7 (1.9) | 19.6 (7.4) | 16.2 (2.7) |
| 500, simple | 22.8 (4.1) | 29.3 (13.5) | 22.7 (3.7) |
| 1, simple | 58.4 (6.4) | 72.1 (24.8) | 62.3 (9.2) |

So what remains to be gained is in how much code and memory a transaction needs: the functions of Sluice's that it
runs through are some 150 KB of compiled code, of which samples hit 45 KB, more than a first-level cache holds; who
comes from another process finds none of it there.

What was tried, and what came of it:

- **Edge-triggered instead of level-triggered events**: no call of epoll_ctl in the linked state. Kept.
- **Accepting in bursts on the listener's own descriptor**, options set once on the listener. Kept.
- **Waiting for a server without a promise** (\`HOLD\`): 464 bytes and 0.5 µs less for each wait. Kept.
- **No object with a getter at each release** (625 bytes, 1.4 µs), no \`Set\` for active servers, one look at the clock
  a round (0.3 µs each, seven a transaction before), shared parameter values: together 50 → 29–33 µs. Kept.
- **The turn lent to the runtime.** With the thread kept for 1 ms at a time, an echo over the runtime's sockets took
  (p99): by immediates 99 ms, by messages 7 s, by a call on another thread 12.9 ms, by a byte through the runtime's own
  input 1.9 ms; that one costs 8 µs a turn. Kept, every 1.5 ms; every 3 ms saves 2 µs a transaction more and makes timers
  late.
- **Its turn every 20 ms when all is calm**: what calls the runtime is heard since, and the pooler's clock knows its
  timers, so that there is nothing to be late. It was 6% of all with 50 clients, when it came every 1.5 ms. In turn
  with its former self (medians of fifteen, fifteen and eleven runs; PgBouncer in brackets), every 5 ms: fifty clients
  16.3 → 14.9 µs (12.7), one client 55.1 → 51.9 (45.6), a new connection 239 → 210 (91); every 20 instead of 5:
  fifty clients 15.7 → 15.1. Kept.
- **No private accessors** (\`get #x()\`): V8 reads each by a call of its runtime, in compiled code too; there were
  eleven a transaction. 1% of all (two series of fifteen runs in turn). Kept, and a lint rule keeps them out.
- **No arrays at the end of a link with nothing planned**: with the extended protocol an empty one was copied and
  reversed each time. Kept.
- **One list of values for all with the same parameters**, instead of the other's for each pair of client and server
  that meets: most links compare a reference. 0.2 µs before, by \`perf\`, and nothing to be seen now. Kept.
- **Limits of what V8 compiles into its callers** a third of, and three times as large: 15% more CPU and no difference
  beyond the noise with 50 clients. Not kept.
- **States compared instead of looked up** in a table of names: some 4% of what is not the kernel's. Kept (it is part of
  the figures above).
- **Longer waits when all is calm.** A wait of at most a millisecond ends before the kernel's next tick (4 ms here),
  so each has the processor's timer set anew, twice; in a virtual machine each time leaves it: 18 µs from waking to
  the end of the call, PgBouncer, whose waits are long, 2 µs. Now up to 5 ms, or until the next timer is due,
  while the runtime has nothing to do; what calls the runtime ends the wait, since its epoll is watched, too. In
  turn with its former self (medians of eight and twelve runs; PgBouncer in brackets): one client 71.7 → 55.5 µs
  (48.2), five 25.1 → 19.0 (17.0), fifty 20.7 → 18.8 (15.6), a new connection 294 → 252 (111). Kept.
- **Waiting a little for more to come**, 20 to 120 µs, before a round: fewer rounds, and 10 to 40% more CPU a
  transaction. Not kept.
- **The runtime's code on large pages** (copied to such, 58 MB): no difference with 500 clients, more CPU with 50.
  Not kept.
- **Letting promises settle by 24 ticks of the microtask queue** instead of a turn of the runtime: 10% less CPU for each
  new connection. Kept.
- **Size of the young heap** 1, 2, 4 or 8 MB from the beginning: a new connection has half as many collections of
  garbage with 2 MB and a fifth with 4, and costs no less beyond the noise (eleven runs in turn). 1 MB saves most
  memory. Kept.
- **Keeping the large buffer while more comes than the ordinary one holds**: COPY 424 → 554–596 MB/s, 1,329 → 960–1,060
  CPU µs/MB (PgBouncer beside it 457–529 and 1,040–1,200; two rounds). Kept.
- **Pauses in reading from who sends much.** PostgreSQL sends 8 KB at a time, and woke Sluice for many of them. After a
  megabyte that nobody asked for meanwhile, a connection is not watched for a tenth of a millisecond, and what has come by
  then is read in one go, into 256 KB instead of 64. COPY 475 → 534 MB/s and 990 → 781 CPU µs/MB (PgBouncer 455 and
  1,219; medians of seven runs in turn), over TLS 406 → 437 and 1,295 → 1,106 (293 and 2,100; five). Pauses of 0.2 ms did
  as well, of 0.4 ms worse; five clients that run select-only beside it noticed nothing. Kept.
- **SHA-256 of our own for SCRAM logins** instead of \`node:crypto\`, whose hashes are streams: 314 → 255 CPU µs a SCRAM
  login (medians of 25 runs of 1,000 logins in turn). Kept. One-shot hashes of the runtime (\`crypto.hash\`) cost as much
  as its streams; adding four bytes at a time or 16 words ahead saves less than 7% of the hashing.
- **A login looks into the receive buffer that it borrows**, gives it back, and awaits chunks without a generator: 113 → 95
  KB of heap a SCRAM login, and 4 KB outside the heap less. Kept.
- **Messages of a login without views and copies on the way**: 24.7 → 21.6 µs and 11.3 → 10.1 KB for the exchange of a
  SCRAM login by itself, which had been 42 µs, 19.9 KB and 2.9 KB outside the heap. Kept.
- **Garbage collection on one thread**: no difference beyond the noise. Not kept.
- **States of a transaction as shared objects**, with the moment of entering noted beside them, and no function that is
  made at each change of state: 607 → 227 bytes of garbage a transaction (sampled; 50 clients on 10 servers), 2 to 3% less
  CPU. Kept.
- **Giving back what the C library keeps of freed memory** (\`malloc_trim\`), when the process has grown: an idle client
  takes 6 to 8 KB instead of 8.5 to 12; 1.2 ms for 14 MB. Kept.
- **Sending at the end of a round** instead of at once: the processor is given away to who is woken as often as before
  (0.7 times a transaction, PgBouncer 0.2), 1 to 2% less CPU. Not kept.
- **SCHED_BATCH, or a longer slice of the scheduler**: some 10% less CPU on a machine that has nothing else to do, and four
  times the latency beside others that work. Not kept.
- **More inlining by the compiler** (V8's \`--max-inlined-bytecode-size\` and its kin): 3 to 4% less CPU, with outliers of
  twice as much. Not kept.
- **PgBouncer 1.24.1**, built from its sources with -O2, takes 5 to 10% more CPU a transaction than Debian's 1.18. With
  prepared statements shared by 100 clients on 5 servers it took 15.2 µs, Sluice 17.7 (1.16 ×), at the same latency
  (\`--pgbouncer=PATH\` compares with any).
- **One call of io_uring for all that a round sends.** A sketch in C (50 clients, each with a server
  of its own) took 10.6 to 12.2 µs of CPU a transaction with a \`send()\` for each piece, 8.4 to 9.4
  with one call for all. Sluice, in turn with its former self (medians of four runs): with 50 clients
  and nothing else on the machine 22.9 and 23.6 µs, no difference beyond the noise, with 500 clients
  41.3 → 38.5; beside other work on the same cores 32.8 → 29.3 µs and 8.5 → 5.0 ms of latency. It
  loses the processor against its will 0.10 times a transaction instead of 0.42. Kept.
- **Receiving by io_uring, too** (one request for all that comes on a connection, into buffers of
  the kernel's choice): in the sketch 8.1 to 9.1 µs, no difference to the line above beyond the
  noise. Not kept.
- **Touching many before the first is served.** What 500 clients have is far from the processor when their
  turn comes. Of three events or more, the fields of all their connections are read in a row, so that memory is
  asked for many at a time; likewise those of who waits longest for a server. In turn with a Sluice that touches
  nothing (medians of ten, nine and nine pairs of runs): 8, 4 and 3% less CPU with 500 clients; with 50, 4 and 8% more
  (thirteen and thirteen). Kept from 200 connections on.
- **No look at each client by the janitor while all are idle**: a process with 1,000 idle clients takes 0.1 to 0.3% of a
  core instead of 0.2 to 0.5 (seven and seven runs of ten seconds in turn, on a machine that varied that much). Kept.
- **Rounds of the janitor half as often when nothing has happened for ten seconds**: 2.0 → 1.0 ms a second of the main
  thread with 1,000 idle clients. Kept.
- **Moments are read from fields and kept in fields** (\`Moment\` in \`base/clock.ts\`): a number with a fraction that
  a function takes or returns is allocated unless that function happens to be inlined, and one for a field that was
  ever undefined always is. With a clock that has fractions, as the system's has, a query left 96 bytes and a
  transaction 184; now it is nothing and 40, its link, also if it had to wait for a server. Kept.
- **No pacing of what does not leave the machine** (\`TCP_CONGESTION\` reno on connections of the loopback, where
  the system has BBR): no difference beyond the noise in CPU, latency or COPY. Not kept. With reno for all of the
  machine, pgbench's and PostgreSQL's own sends too, both poolers took some 15% less CPU (four runs in turn).
- **Logins that await only what is not there yet**, are greeted with messages that are encoded once, and write
  lines of the log whose date is made once a second. In memory, each step by turns with what was before: 49.5 → 46.1,
  51.0 → 48.1 and 55.8 → 51.4 µs a login, and 32 → 22.5 KB of garbage in all. A new connection with one select took
  315 → 274 µs (medians of ten runs in turn), on another hour 251 → 245. Kept.
- **Connections given out by no generator**: 2 to 3 µs less a login. Kept.
- **Promises are not what logins cost.** Of a new connection's CPU (\`perf\`, V8's builtins by name) the kernel has 54%,
  collecting garbage some 20%, compiled TypeScript 15%, the runtime's turns 9% (6% since they are fewer), awaiting and
  settling 2.6%. Not tried: logins without promises.
- **Sending together what logins send by their promises**: no difference. Not kept.
- **Busy polling** (\`SO_BUSY_POLL\`) asks the queue of a network card, of which there is none between
  processes of one machine: not tried.
`;
}
