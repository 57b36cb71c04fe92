import assert from "node:assert/strict";
import { streamOptionsOf } from "../../../src/app/stream_options.ts";
import { loadToml } from "../config/memory_files.ts";

Deno.test("streamOptionsOf() takes each option of TCP from its setting, in the engines' units", async () => {
  const { settings } = await loadToml(`[pooler]
sbuf_loopcnt = 7
tcp_defer_accept = 5
tcp_keepalive = false
tcp_keepcnt = 4
tcp_keepidle = 61
tcp_keepintvl = 17
tcp_socket_buffer = 40000
tcp_user_timeout = 12345
`);
  assert.deepEqual(streamOptionsOf(settings, 512), {
    receiveBytes: 512,
    maxBusyReads: 7,
    tcp: {
      keepAlive: false,
      keepAliveIdleMs: 61_000,
      keepAliveIntervalMs: 17_000,
      keepAliveCount: 4,
      userTimeoutMs: 12_345,
      socketBufferBytes: 40_000,
      deferAcceptSeconds: 5,
    },
  });
});
