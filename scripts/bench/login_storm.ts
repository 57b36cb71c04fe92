/**
 * A process of its own that logs clients in with SCRAM for a while, many at a time, each leaving at once;
 * like drivers that keep their keys, it derives them once. Prints how many logins succeeded.
 *
 * Arguments: port, seconds, user. The password is in PGPASSWORD.
 */

import { UserCredential } from "../../src/auth/credential.ts";
import { KeyDerivation } from "../../src/auth/key_derivation.ts";
import { ServerAuthentication } from "../../src/auth/server_authentication.ts";
import { systemClock } from "../../src/base/clock.ts";
import { systemRandom } from "../../src/base/random.ts";
import { Secret } from "../../src/base/secret.ts";
import type { DialOptions } from "../../src/net/network.ts";
import { PortableNetwork } from "../../src/net/portable/portable_network.ts";
import { logInToServer } from "../../src/server/server_login.ts";

/** How many log in at the same time. */
const CONCURRENCY = 50;

/** A Terminate message. */
const TERMINATE = new Uint8Array([0x58, 0, 0, 0, 4]);

const DIAL_OPTIONS: DialOptions = {
  timeoutMs: 0,
  receiveBytes: 4096,
  maxBusyReads: 0,
  tcp: {
    keepAlive: false,
    keepAliveIdleMs: 0,
    keepAliveIntervalMs: 0,
    keepAliveCount: 0,
    userTimeoutMs: 0,
    socketBufferBytes: 0,
    deferAcceptSeconds: 0,
  },
};

/** Logs in again and again until the time is over. */
class LoginStorm {
  readonly #port: number;
  readonly #credential: UserCredential;
  readonly #random = systemRandom();
  readonly #derivation = new KeyDerivation();
  readonly #network = new PortableNetwork({
    clock: systemClock(),
    peerCredentials: undefined,
    onAcceptError: () => {},
    groupIdOf: () => 0,
  });

  constructor(port: number, credential: UserCredential) {
    this.#port = port;
    this.#credential = credential;
  }

  /** Resolves to how many logins succeeded. */
  async run(seconds: number): Promise<number> {
    const endAtMs = performance.now() + seconds * 1000;
    let count = 0;
    const some = async () => {
      while (performance.now() < endAtMs) {
        await this.#logIn();
        count += 1;
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, some));
    return count;
  }

  async #logIn(): Promise<void> {
    const { userName } = this.#credential;
    const address = { kind: "tcp", host: "127.0.0.1", port: this.#port } as const;
    const stream = await this.#network.dial(address, DIAL_OPTIONS);
    await logInToServer(stream, {
      parameters: new Map([["user", userName], ["database", "postgres"]]),
      authentication: new ServerAuthentication({
        userName,
        credential: this.#credential,
        random: this.#random,
        derivation: this.#derivation,
      }),
      minor: 0,
    });
    await stream.write(TERMINATE, 0, TERMINATE.length);
    stream.close();
  }
}

if (import.meta.main) {
  const [port, seconds, user = ""] = Deno.args;
  const secret = new Secret(Deno.env.get("PGPASSWORD") ?? "");
  const storm = new LoginStorm(Number(port), new UserCredential(user, secret));
  console.log(await storm.run(Number(seconds)));
}
