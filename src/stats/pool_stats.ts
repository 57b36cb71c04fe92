/** The counters of one pool, with PgBouncer's meaning of each. Times in microseconds. Pure. */

/** Every counter, in the order of SHOW STATS_TOTALS. */
export const STAT_NAMES = [
  "serverAssignmentCount",
  "xactCount",
  "queryCount",
  "bytesReceived",
  "bytesSent",
  "xactTimeUs",
  "queryTimeUs",
  "waitTimeUs",
  "clientParseCount",
  "serverParseCount",
  "bindCount",
  "clientLoginCount",
] as const;

/** The name of a counter. */
export type StatName = (typeof STAT_NAMES)[number];

/** Counters at one moment. */
export type StatValues = Readonly<Record<StatName, number>>;

/** HOT: plain number fields, added to for every transaction. */
export class PoolStats implements Record<StatName, number> {
  /** Times a client was linked to a server. */
  serverAssignmentCount = 0;
  /** Ended at ReadyForQuery with status idle. */
  xactCount = 0;
  /** Ended at every ReadyForQuery. */
  queryCount = 0;
  /** From clients. */
  bytesReceived = 0;
  /** To clients. */
  bytesSent = 0;
  xactTimeUs = 0;
  queryTimeUs = 0;
  /** Clients waiting for a server. */
  waitTimeUs = 0;
  clientParseCount = 0;
  serverParseCount = 0;
  bindCount = 0;
  /** Successful ones only. */
  clientLoginCount = 0;

  /** Adds the counters of `other`. */
  add(other: StatValues): void {
    for (const name of STAT_NAMES) this[name] += other[name];
  }
}

/** Per second for counts and bytes, per event for times, between two snapshots. */
export function averages(
  before: StatValues,
  after: StatValues,
  elapsedMs: number,
): StatValues {
  const result = new PoolStats();
  const seconds = elapsedMs / 1000;
  for (const name of STAT_NAMES) {
    const grown = after[name] - before[name];
    const events = eventsOf(name);
    const per = events === undefined ? seconds : after[events] - before[events];
    result[name] = per > 0 ? Math.trunc(grown / per) : 0;
  }
  return result;
}

/** What a time is averaged over; counts are averaged over time instead. */
function eventsOf(name: StatName): StatName | undefined {
  switch (name) {
    case "xactTimeUs":
      return "xactCount";
    case "queryTimeUs":
      return "queryCount";
    case "waitTimeUs":
      return "serverAssignmentCount";
    default:
      return undefined;
  }
}
