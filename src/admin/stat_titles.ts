/** The counters under the names that each SHOW has for them. */

import type { StatName } from "../stats/pool_stats.ts";

/** The names of one counter; the same figure has up to five. */
export interface StatTitles {
  /** In SHOW STATS after `total_`, and after `avg_`. */
  readonly total: string;
  readonly average: string;
  /** In SHOW STATS_TOTALS, and in SHOW STATS_AVERAGES. */
  readonly ofDatabase: string;
  readonly averageOfDatabase: string;
  /** In SHOW TOTALS after `total_` and `avg_`. */
  readonly overall: string;
}

/** Each counter's. */
export const STAT_TITLES: Readonly<Record<StatName, StatTitles>> = {
  serverAssignmentCount: everywhere("server_assignment_count"),
  xactCount: everywhere("xact_count"),
  queryCount: everywhere("query_count"),
  bytesReceived: {
    ...everywhere("bytes_received"),
    total: "received",
    average: "recv",
    overall: "client_bytes",
  },
  bytesSent: {
    ...everywhere("bytes_sent"),
    total: "sent",
    average: "sent",
    overall: "server_bytes",
  },
  xactTimeUs: everywhere("xact_time"),
  queryTimeUs: everywhere("query_time"),
  waitTimeUs: everywhere("wait_time"),
  clientParseCount: { ...marked("client_parse_count"), overall: "ps_client_parse_count" },
  serverParseCount: { ...marked("server_parse_count"), overall: "ps_server_parse_count" },
  bindCount: { ...marked("bind_count"), overall: "ps_bind_count" },
  clientLoginCount: marked("client_login_count"),
};

function everywhere(name: string): StatTitles {
  return {
    total: name,
    average: name,
    ofDatabase: name,
    averageOfDatabase: name,
    overall: name,
  };
}

/** Of a counter that came late, PgBouncer says also in SHOW STATS_AVERAGES what is an average. */
function marked(name: string): StatTitles {
  return { ...everywhere(name), averageOfDatabase: `avg_${name}` };
}
