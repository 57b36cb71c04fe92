/** What the tests of `auth/` share: scripted random bytes, and both sides talking in memory. */

import { Secret } from "../../../src/base/secret.ts";
import type { Random } from "../../../src/base/random.ts";
import {
  type AuthStep,
  ClientAuthentication,
  type ClientAuthenticationMethod,
} from "../../../src/auth/client_authentication.ts";
import type { ChannelBindingMode, ServerTlsFacts } from "../../../src/auth/channel_binding.ts";
import { UserCredential } from "../../../src/auth/credential.ts";
import { KeyDerivation } from "../../../src/auth/key_derivation.ts";
import type { UserLooks } from "../../../src/auth/mock_challenge.ts";
import { encodeBase64, scramKeys } from "../../../src/auth/scram.ts";
import {
  ServerAuthentication,
  type ServerAuthStep,
} from "../../../src/auth/server_authentication.ts";
import { preparePassword } from "../../../src/auth/saslprep.ts";
import { authenticationOk } from "../../../src/wire/authentication_messages.ts";

/** Few rounds, so that a test takes no time. */
export const ROUNDS = 3;

export const SALT = encodeBase64(new TextEncoder().encode("salt of 16 bytes"));

/** Bytes that count up. */
export class CountingRandom implements Random {
  #next: number;

  constructor(first = 1) {
    this.#next = first;
  }

  bytes(count: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length: count }, () => this.#next++ & 0xff);
  }
}

/** A derivation that counts how often it was asked. */
export class CountingDerivation extends KeyDerivation {
  count = 0;
  mostRounds = 0;

  override derive(
    password: Uint8Array,
    options: { readonly salt: Uint8Array; readonly iterations: number },
  ): Promise<Uint8Array<ArrayBuffer>> {
    this.count++;
    this.mostRounds = Math.max(this.mostRounds, options.iterations);
    return super.derive(password, options);
  }
}

export function credential(userName: string, secret?: string): UserCredential {
  return new UserCredential(userName, secret === undefined ? undefined : new Secret(secret));
}

/** The stored form of a password, made as PostgreSQL makes it. */
export async function scramVerifier(
  password: string | Uint8Array,
  options: { readonly salt?: string; readonly iterations?: number } = {},
): Promise<string> {
  const { salt = SALT, iterations = ROUNDS } = options;
  const saltBytes = Uint8Array.from(atob(salt), (c) => c.charCodeAt(0));
  const salted = await new KeyDerivation()
    .derive(preparePassword(password), { salt: saltBytes, iterations });
  const keys = scramKeys(salted, { salt, iterations });
  const [stored, server] = [encodeBase64(keys.storedKey), encodeBase64(keys.serverKey)];
  return `SCRAM-SHA-256$${iterations}:${salt}$${stored}:${server}`;
}

export interface Demand {
  readonly method: ClientAuthenticationMethod;
  readonly userName?: string;
  readonly credential?: UserCredential | undefined;
  readonly random?: Random;
  readonly derivation?: KeyDerivation;
  readonly mockSecret?: Uint8Array;
  readonly looks?: Partial<UserLooks>;
  readonly endPoint?: Uint8Array | undefined;
}

/** What we demand of a client, with what a test does not care about filled in. */
export function clientAuthentication(demand: Demand): ClientAuthentication {
  return new ClientAuthentication({
    method: demand.method,
    userName: demand.userName ?? "ada",
    credential: demand.credential,
    random: demand.random ?? new CountingRandom(),
    derivation: demand.derivation ?? new KeyDerivation(),
    scramIterations: ROUNDS,
    mockSecret: demand.mockSecret ?? new Uint8Array(32).fill(7),
    looks: { verifierShare: 0, shapes: [], verifierShapes: [], ...demand.looks },
    endPoint: demand.endPoint,
  });
}

export interface Answerer {
  readonly userName?: string;
  readonly credential?: UserCredential | undefined;
  readonly random?: Random;
  readonly derivation?: KeyDerivation;
  readonly channelBinding?: ChannelBindingMode;
  readonly tls?: ServerTlsFacts | undefined;
}

/** What we answer to a server, likewise. */
export function serverAuthentication(answerer: Answerer): ServerAuthentication {
  const exchange = new ServerAuthentication({
    userName: answerer.userName ?? "ada",
    credential: answerer.credential,
    random: answerer.random ?? new CountingRandom(100),
    derivation: answerer.derivation ?? new KeyDerivation(),
    channelBinding: answerer.channelBinding ?? "prefer",
  });
  if (answerer.tls !== undefined) exchange.noteTls(answerer.tls);
  return exchange;
}

/** The body of a message. */
export function bodyOf(message: Uint8Array): Uint8Array {
  return new Uint8Array(message.subarray(5));
}

/** A PasswordMessage's body. */
export function passwordBody(password: string): Uint8Array {
  return new TextEncoder().encode(`${password}\0`);
}

/** How a login went for the side that demanded and for the side that answered. */
export interface Outcome {
  readonly demanded: AuthStep;
  readonly answered: ServerAuthStep;
  /** Whole messages in the order they were sent. */
  readonly messages: readonly Uint8Array[];
}

/** What happens to a message on its way: `at` counts them from 0. */
export type Wire = (message: Uint8Array, at: number) => Uint8Array;

/** Lets the one side of Sluice log in to the other, over a wire that may change the bodies. */
export async function login(
  demand: Demand,
  answerer: Answerer,
  wire: Wire = (body) => body,
): Promise<Outcome> {
  const demanding = clientAuthentication(demand);
  const answering = serverAuthentication(answerer);
  const messages: Uint8Array[] = [];
  const carry = (message: Uint8Array): Uint8Array => {
    messages.push(message);
    return wire(bodyOf(message), messages.length - 1);
  };
  let step = demanding.start();
  let answer: ServerAuthStep = { kind: "wait" };
  while (step.kind === "challenge") {
    answer = await answering.receive(carry(step.message));
    if (answer.kind !== "send") return { demanded: step, answered: answer, messages };
    step = await demanding.receive(carry(answer.message));
  }
  if (step.kind === "accepted") {
    if (step.message !== undefined) answer = await answering.receive(carry(step.message));
    if (answer.kind !== "failed") answer = await answering.receive(carry(authenticationOk()));
  }
  return { demanded: step, answered: answer, messages };
}
