import assert from "node:assert/strict";
import { ListenError } from "../../../src/net/network.ts";

Deno.test("ListenError says the address, the reason, and what named the address", () => {
  const tcp = { kind: "tcp", host: "::1", port: 6432 } as const;
  const unix = { kind: "unix", path: "/run/.s.PGSQL.6432" } as const;
  assert.deepEqual(
    [tcp, unix, { ...tcp, descriptor: 3 }].map((place) => new ListenError(place, "why").message),
    [
      "Cannot listen on [::1]:6432: why (listen_addr)",
      "Cannot listen on unix:/run/.s.PGSQL.6432: why (unix_socket_dir)",
      "Cannot listen on [::1]:6432: why (LISTEN_FDS)",
    ],
  );
});
