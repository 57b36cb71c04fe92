/** What the log is told of a server, and how it is called there. */

import assert from "node:assert/strict";
import { Logger } from "../../../src/log/logger.ts";
import { serverLabel, ServerLog } from "../../../src/server/server_log.ts";
import { FakeClock } from "../../support/fake_clock.ts";

const SERVER = {
  id: 0x1f,
  database: "app",
  user: "ada",
  address: { kind: "tcp", host: "db.example", port: 5432 },
} as const;

function linesWith(flags: { logsConnections: boolean; logsDisconnections: boolean }): string[] {
  const lines: string[] = [];
  const sink = { write: (line: string) => lines.push(line.trimEnd().replace(/^.*?LOG /, "")) };
  const log = new Logger({ clock: new FakeClock(), processId: 1, sink, verbosity: 0 });
  const server = new ServerLog(SERVER, { log, ...flags });
  server.tlsStarted({ version: "TLSv1.3", cipher: "TLS_AES_256_GCM_SHA384" });
  server.otherWay(false, "TLS handshake failed: x");
  server.oldProtocol(2, "unsupported");
  server.ended("server lifetime over", 61_999);
  server.noise("login -> idle");
  return lines;
}

Deno.test("the log names a server as PgBouncer does", () => {
  assert.equal(serverLabel(SERVER), "S-0x00000000001f: app/ada@db.example:5432");
  const address = { kind: "unix", path: "/pg/.s.PGSQL.5432", port: 5432 } as const;
  assert.equal(serverLabel({ ...SERVER, address }), "S-0x00000000001f: app/ada@unix:5432");
});

Deno.test("connections and their ends are logged if that is wanted, and surprises always", () => {
  const label = serverLabel(SERVER);
  const surprises = [
    `${label} trying without TLS: TLS handshake failed: x`,
    `${label} speaks no protocol 3.2, only 3.0 (unsupported)`,
  ];
  assert.deepEqual(linesWith({ logsConnections: false, logsDisconnections: false }), surprises);
  assert.deepEqual(linesWith({ logsConnections: true, logsDisconnections: true }), [
    `${label} SSL established: TLSv1.3/TLS_AES_256_GCM_SHA384`,
    ...surprises,
    `${label} closing because: server lifetime over (age=61s)`,
  ]);
});
