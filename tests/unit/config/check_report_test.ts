/** What `sluice check` tells. */

import assert from "node:assert/strict";
import { checkReport } from "../../../src/config/check_report.ts";
import { loadToml } from "./memory_files.ts";

Deno.test("checkReport() says what would be listened on and connected to", async () => {
  const config = await loadToml(`[pooler]
listen_addr = "127.0.0.1,::1,*"
auth_type = "md5"
auth_file = "/etc/users"
[databases.app]
host = "db,fe80::1,/run/pg"
dbname = "real"
user = "u"
password = "hunter2"
pool_mode = "transaction"
pool_size = 3
[databases."*"]
[users.a]
password = "hunter2"
[peers.2]
host = "10.0.0.2"
`);
  assert.deepEqual(checkReport(config, "portable"), [
    "config.toml: the configuration is good",
    "would listen on 127.0.0.1:6432",
    "would listen on [::1]:6432",
    "would listen on port 6432 of all addresses",
    "would listen on unix socket /tmp/.s.PGSQL.6432",
    'database "app" would connect to db:5432, [fe80::1]:5432, unix socket /run/pg/.s.PGSQL.5432, ' +
    'database "real", as user "u"; transaction pooling, 3 servers a pool',
    "any other database would connect to port 5432 of PostgreSQL's unix socket, " +
    "the database asked for, as the client's user; session pooling, 20 servers a pool",
    "users with a password: 1 here, and those in /etc/users; auth_type md5",
    "I/O engine: portable",
    'warning: config.toml: [peers] has no effect as long as "peer_id" is 0',
  ]);
});

Deno.test("checkReport() tells of free ports, missing sockets, databases and included files", async () => {
  const text = `include = ["x.toml"]
[pooler]
listen_addr = "127.0.0.1"
listen_port = 0
unix_socket_dir = ""
`;
  assert.deepEqual(checkReport(await loadToml(text, { "x.toml": "" }), "portable"), [
    "config.toml: the configuration is good",
    "files read: config.toml, x.toml",
    "would listen on a free port of 127.0.0.1",
    "no databases: clients could only use the console",
    "users with a password: 0 here; auth_type md5",
    "I/O engine: portable",
  ]);
});
