/** Which sockets a process was started with, and what keeps them from being used. */

import assert from "node:assert/strict";
import {
  type ActivationCalls,
  activationText,
  planActivation,
  takeActivated,
} from "../../../../src/net/native/activated_sockets.ts";
import { encodeIpAddress, encodeUnixAddress } from "../../../../src/net/native/socket_address.ts";

function plan(env: Readonly<Record<string, string>>) {
  return planActivation((name) => env[name], 4_711);
}

/** A kernel in which the descriptors from 3 on listen on these addresses. */
function kernel(
  addresses: readonly (Uint8Array | undefined)[],
): ActivationCalls & { readonly own: number[] } {
  const own: number[] = [];
  return {
    own,
    listeningAddress: (descriptor) => addresses[descriptor - 3],
    setOwn: (descriptor) => {
      own.push(descriptor);
      return 0;
    },
  };
}

Deno.test("no sockets are handed over without the variables, or if they are another process's", () => {
  assert.deepEqual(plan({}), []);
  assert.deepEqual(plan({ LISTEN_FDS: "2" }), []);
  assert.deepEqual(plan({ LISTEN_FDS: "2", LISTEN_PID: "4712" }), []);
  assert.deepEqual(plan({ LISTEN_FDS: "0", LISTEN_PID: "4711" }), []);
});

Deno.test("sockets are handed over from descriptor 3 on, with names or without", () => {
  assert.deepEqual(plan({ LISTEN_FDS: "2", LISTEN_PID: "4711" }), [
    { descriptor: 3, name: undefined },
    { descriptor: 4, name: undefined },
  ]);
  assert.deepEqual(plan({ LISTEN_FDS: "2", LISTEN_PID: "4711", LISTEN_FDNAMES: "tcp:" }), [
    { descriptor: 3, name: "tcp" },
    { descriptor: 4, name: "" },
  ]);
});

Deno.test("variables that make no sense are refused, with what they say", () => {
  const cases: readonly (readonly [Readonly<Record<string, string>>, string])[] = [
    [{ LISTEN_FDS: "two", LISTEN_PID: "4711" }, 'LISTEN_FDS is no number: "two"'],
    [{ LISTEN_FDS: "-1", LISTEN_PID: "4711" }, 'LISTEN_FDS is no number: "-1"'],
    [{ LISTEN_FDS: "1", LISTEN_PID: "" }, 'LISTEN_PID is no number: ""'],
    [{ LISTEN_FDS: "9999", LISTEN_PID: "4711" }, "LISTEN_FDS is 9999: that is too many"],
    [
      { LISTEN_FDS: "2", LISTEN_PID: "4711", LISTEN_FDNAMES: "a" },
      "LISTEN_FDNAMES has 1 names, and LISTEN_FDS says 2 sockets",
    ],
  ];
  for (const [env, message] of cases) {
    assert.throws(() => plan(env), { name: "ActivationError", message });
  }
});

Deno.test("takeActivated() says where the sockets listen, and makes them our own", () => {
  const libc = kernel([
    encodeIpAddress("127.0.0.1", 6432),
    encodeIpAddress("::1", 6433),
    encodeUnixAddress("/run/.s.PGSQL.6434"),
    encodeUnixAddress("\0pooler"),
  ]);
  const taken = takeActivated(libc, plan({ LISTEN_FDS: "4", LISTEN_PID: "4711" }), 5_432);
  assert.deepEqual(taken, [
    { kind: "tcp", host: "127.0.0.1", port: 6432, backlog: 0, descriptor: 3 },
    { kind: "tcp", host: "::1", port: 6433, backlog: 0, descriptor: 4 },
    {
      kind: "unix",
      path: "/run/.s.PGSQL.6434",
      port: 6434,
      mode: 0,
      group: undefined,
      descriptor: 5,
    },
    { kind: "unix", path: "@pooler", port: 5_432, mode: 0, group: undefined, descriptor: 6 },
  ]);
  assert.deepEqual(libc.own, [3, 4, 5, 6]);
  assert.match(activationText(taken), /127\.0\.0\.1:6432, \[::1\]:6433, unix:\/run\/\.s\.PGSQL/);
});

Deno.test("takeActivated() refuses what is no listening socket of a kind it knows, by name", () => {
  const handed = plan({ LISTEN_FDS: "1", LISTEN_PID: "4711", LISTEN_FDNAMES: "pg" });
  assert.throws(() => takeActivated(kernel([undefined]), handed, 1), {
    name: "ActivationError",
    message: 'Descriptor 3 ("pg") of LISTEN_FDS is no stream socket that listens',
  });
  assert.throws(() => takeActivated(kernel([Uint8Array.of(40, 0, 0, 0)]), handed, 1), {
    message: 'Descriptor 3 ("pg") of LISTEN_FDS is neither a TCP nor a unix socket',
  });
  const refusing = { ...kernel([encodeIpAddress("::1", 1)]), setOwn: () => -9 };
  assert.throws(() => takeActivated(refusing, handed, 1), {
    message: 'Descriptor 3 ("pg") of LISTEN_FDS cannot be set up',
  });
});
