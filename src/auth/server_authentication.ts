/**
 * What we answer to a server that asks who we are, step by step, as values. No I/O; awaits only key
 * derivation.
 *
 * Invariants: a server that began SASL must prove that it knows the password before it is believed;
 * each request is answered at most once; nothing that a server sends makes us derive keys with more
 * rounds than `MAX_SCRAM_ITERATIONS`; where channel binding is required, nothing else is answered, not
 * even by a password. A refusal by the server is an ErrorResponse and never comes
 * here.
 * Source: PostgreSQL, "Message Flow" and "SASL Authentication"; texts as PgBouncer's.
 */

import { serialize } from "pg-protocol";
import { assert, unreachable } from "../base/assert.ts";
import type { Random } from "../base/random.ts";
import { type AuthenticationRequest, readAuthentication } from "../wire/authentication_messages.ts";
import { PgError, ProtocolError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import {
  CHANNEL_BINDING_TYPE,
  type ChannelBindingMode,
  type ServerTlsFacts,
} from "./channel_binding.ts";
import type { UserCredential } from "./credential.ts";
import type { KeyDerivation } from "./key_derivation.ts";
import { md5Response, md5Secret } from "./md5.ts";
import {
  clientProof,
  encodeBase64,
  equalBytes,
  MAX_SCRAM_ITERATIONS,
  SCRAM_MECHANISM,
  SCRAM_PLUS_MECHANISM,
  type ScramKeys,
  serverSignature,
} from "./scram.ts";
import {
  buildClientFinal,
  buildClientFinalWithoutProof,
  buildClientFirstBare,
  buildServerFirst,
  channelBindingOf,
  parseServerFinal,
  parseServerFirst,
  type ServerFirst,
} from "./scram_messages.ts";

/** What comes next. */
export type ServerAuthStep =
  /** Send `message` and give the next 'R' message to `receive`. */
  | { readonly kind: "send"; readonly message: Uint8Array }
  /** Send nothing; the next 'R' message is due. */
  | { readonly kind: "wait" }
  /** The server has let us in. */
  | { readonly kind: "ok" }
  /** Close. `error` is for the waiting clients; `reason` is for the log, and may say more. */
  | { readonly kind: "failed"; readonly error: PgError; readonly reason: string };

/** What an exchange needs to know. */
export interface ServerAuthenticationOptions {
  /** As our startup packet says it. */
  readonly userName: string;
  /** Undefined when nothing is known of the user: then only trust will do. */
  readonly credential: UserCredential | undefined;
  /** Where nonces come from. */
  readonly random: Random;
  /** The pooler's one, so that its cap holds for all logins. */
  readonly derivation: KeyDerivation;
  /** Whether SCRAM is bound to TLS; default: "prefer". "require" accepts no other login. */
  readonly channelBinding?: ChannelBindingMode;
}

/** As PostgreSQL's SCRAM_RAW_NONCE_LEN. */
const NONCE_BYTES = 18;

interface SaslState {
  readonly kind: "saslFirst";
  readonly nonce: string;
  /** What `c=` has to say. */
  readonly channelBinding: string;
}

type State =
  /** Nothing was asked yet. */
  | { readonly kind: "new" }
  /** We have answered; only AuthenticationOk may follow. */
  | { readonly kind: "answered" }
  | SaslState
  | { readonly kind: "saslFinal"; readonly signature: Uint8Array }
  /** In, failed, or a `receive` is under way. */
  | { readonly kind: "ended" };

/** How a SASL exchange is begun. */
interface Choice {
  readonly mechanism: string;
  /** What we say of channel binding. */
  readonly flag: string;
  readonly bindsTo?: Uint8Array;
}

/** One login to a server: `receive` for each 'R' message, one at a time. */
export class ServerAuthentication {
  readonly #options: ServerAuthenticationOptions;
  readonly #credential: UserCredential | undefined;
  #state: State = { kind: "new" };
  #tls: ServerTlsFacts | undefined;

  /** Nothing is drawn or derived yet. */
  constructor(options: ServerAuthenticationOptions) {
    this.#options = options;
    this.#credential = options.credential;
  }

  /** Tells that the connection is encrypted, before anything was received over it. */
  noteTls(facts: ServerTlsFacts): void {
    assert(this.#state.kind === "new", "What a login is bound to is known before it begins");
    this.#tls = facts;
  }

  /**
   * Takes the body of an 'R' message, borrowed for the call only. Any bytes at any time are answered
   * by a step. Awaits key derivation, where it answers a promise.
   */
  receive(body: Uint8Array): ServerAuthStep | Promise<ServerAuthStep> {
    const state = this.#state;
    this.#state = { kind: "ended" };
    try {
      return this.#step(state, readAuthentication(body));
    } catch (error) {
      if (error instanceof ProtocolError) return failMalformed(error);
      throw error;
    }
  }

  #step(
    state: State,
    request: AuthenticationRequest,
  ): ServerAuthStep | Promise<ServerAuthStep> {
    const unbound = this.#whyUnbound(state, request);
    if (unbound !== undefined) return fail(unbound);
    switch (request.kind) {
      case "ok":
        return finish(state);
      case "cleartext":
        return this.#sendPassword(state);
      case "md5":
        return this.#sendMd5(state, request.salt);
      case "sasl":
        return this.#startSasl(state, request.mechanisms);
      case "saslContinue":
        if (state.kind !== "saslFirst") throw unexpected(request);
        return this.#answerServerFirst(state, parseServerFirst(request.data, state.nonce));
      case "saslFinal":
        if (state.kind !== "saslFinal") throw unexpected(request);
        return this.#checkSignature(state.signature, request.data);
      case "unsupported":
        return failWrongType(`the server asks for authentication method ${request.code}`);
      default:
        return unreachable(request);
    }
  }

  /** Where only a bound login will do, why this one is none, as libpq says it; else undefined. */
  #whyUnbound(state: State, request: AuthenticationRequest): string | undefined {
    if (this.#options.channelBinding !== "require") return undefined;
    // What was chosen for SASL is bound; after that, only what belongs to it can follow.
    if (state.kind !== "new") return undefined;
    if (request.kind === "ok") {
      return "channel binding required, but server authenticated client without channel binding";
    }
    if (request.kind !== "sasl") {
      return "channel binding required but not supported by server's authentication request";
    }
    if (this.#tls === undefined) return "channel binding required, but SSL not in use";
    if (!request.mechanisms.includes(SCRAM_PLUS_MECHANISM)) {
      return "channel binding is required, but server did not offer an authentication method that supports channel binding";
    }
    return this.#tls.endPoint === undefined
      ? "channel binding is required, but the server's certificate allows none"
      : undefined;
  }

  #send(next: State, message: Uint8Array): ServerAuthStep {
    this.#state = next;
    return { kind: "send", message };
  }

  #sendPassword(state: State): ServerAuthStep {
    if (state.kind !== "new") throw unexpected({ kind: "cleartext" });
    const password = this.#credential?.plainPassword;
    if (password === undefined) return failWrongType(this.#why("cleartext"));
    if (password.includes("\0")) return failWrongType("the password holds a zero byte");
    return this.#send({ kind: "answered" }, serialize.password(password));
  }

  #sendMd5(state: State, salt: Uint8Array): ServerAuthStep {
    if (state.kind !== "new") throw unexpected({ kind: "md5" });
    const password = this.#credential?.plainPassword;
    // A plain secret is hashed for the name that the server knows us by.
    const secret = password === undefined
      ? this.#credential?.md5Secret()
      : md5Secret(password, this.#options.userName);
    if (secret === undefined) return failWrongType(this.#why("md5"));
    return this.#send({ kind: "answered" }, serialize.password(md5Response(secret, salt)));
  }

  #startSasl(state: State, mechanisms: readonly string[]): ServerAuthStep {
    if (state.kind !== "new") throw unexpected({ kind: "sasl" });
    const choice = this.#chooseMechanism(mechanisms);
    if (choice === undefined) {
      return fail("none of the server's SASL authentication mechanisms are supported");
    }
    const credential = this.#credential;
    if (credential?.plainPassword === undefined && credential?.scramKeys === undefined) {
      return failWrongType(this.#why("SCRAM"));
    }
    const { bindsTo, flag, mechanism } = choice;
    const nonce = encodeBase64(this.#options.random.bytes(NONCE_BYTES));
    const gs2Header = `${flag},,`;
    const first = gs2Header + buildClientFirstBare(nonce);
    const message = serialize.sendSASLInitialResponseMessage(mechanism, first);
    const channelBinding = channelBindingOf(gs2Header, bindsTo);
    return this.#send({ kind: "saslFirst", channelBinding, nonce }, message);
  }

  /**
   * The strongest mechanism that both sides can do. Without TLS, or with a certificate that allows no
   * binding, one that the server offers is passed over in silence: a program that ends TLS in front
   * of the server would have it so. `y` lets the server notice if its offer was hidden from us.
   */
  #chooseMechanism(mechanisms: readonly string[]): Choice | undefined {
    const endPoint = this.#options.channelBinding === "disable" ? undefined : this.#tls?.endPoint;
    if (endPoint !== undefined && mechanisms.includes(SCRAM_PLUS_MECHANISM)) {
      const flag = `p=${CHANNEL_BINDING_TYPE}`;
      return { mechanism: SCRAM_PLUS_MECHANISM, flag, bindsTo: endPoint };
    }
    if (!mechanisms.includes(SCRAM_MECHANISM)) return undefined;
    return { mechanism: SCRAM_MECHANISM, flag: endPoint === undefined ? "n" : "y" };
  }

  /** Awaits only when the keys of a plain secret must be derived first. */
  #answerServerFirst(
    state: SaslState,
    first: ServerFirst,
  ): ServerAuthStep | Promise<ServerAuthStep> {
    if (first.iterations > MAX_SCRAM_ITERATIONS) {
      return failWrongType(`the server demands ${first.iterations} rounds of key derivation`);
    }
    const credential = this.#credential;
    const learned = credential?.scramKeys;
    if (learned !== undefined) {
      if (learned.salt !== first.salt || learned.iterations !== first.iterations) {
        return failWrongType("the server's SCRAM verifier is not the one that is stored here");
      }
      return this.#sendProof(learned, state, first);
    }
    if (credential?.plainPassword === undefined) return failWrongType(this.#why("SCRAM"));
    const derived = credential.deriveScramKeys(this.#options.derivation, first);
    return derived.then((keys) => this.#sendProof(keys, state, first));
  }

  #sendProof(keys: ScramKeys, state: SaslState, first: ServerFirst): ServerAuthStep {
    const withoutProof = buildClientFinalWithoutProof(first.nonce, state.channelBinding);
    const authMessage = [
      buildClientFirstBare(state.nonce),
      buildServerFirst(first),
      withoutProof,
    ].join(",");
    const final = buildClientFinal(withoutProof, clientProof(keys, authMessage));
    const signature = serverSignature(keys, authMessage);
    return this.#send(
      { kind: "saslFinal", signature },
      serialize.sendSCRAMClientFinalMessage(final),
    );
  }

  #checkSignature(expected: Uint8Array, data: Uint8Array): ServerAuthStep {
    const final = parseServerFinal(data);
    if (final.kind === "error") {
      return failSignature(`the server says: ${JSON.stringify(final.text.slice(0, 100))}`);
    }
    if (!equalBytes(final.signature, expected)) return failSignature("it does not fit");
    this.#state = { kind: "answered" };
    return { kind: "wait" };
  }

  /** Why the stored secret will not do. */
  #why(method: string): string {
    const kind = this.#credential?.kind ?? "none";
    if (kind === "none") return `the server asks for ${method}, and there is no password`;
    if (kind === "scram" && method === "SCRAM") {
      return "the stored SCRAM verifier is of use only after a client has logged in with SCRAM";
    }
    return `the server asks for ${method}, and the stored secret is of type ${kind}`;
  }
}

/** A server that has begun SASL may not skip its own proof. */
function finish(state: State): ServerAuthStep {
  switch (state.kind) {
    case "new":
    case "answered":
      return { kind: "ok" };
    case "saslFirst":
    case "saslFinal":
      return failSignature("the server ended the exchange without it");
    case "ended":
      throw unexpected({ kind: "ok" });
    default:
      return unreachable(state);
  }
}

function unexpected(request: { readonly kind: AuthenticationRequest["kind"] }): ProtocolError {
  return new ProtocolError(`unexpected authentication request (${request.kind})`);
}

function failWrongType(why: string): ServerAuthStep {
  return fail("wrong password type", why);
}

function failSignature(why: string): ServerAuthStep {
  return fail("invalid server signature", why);
}

function failMalformed(problem: ProtocolError): ServerAuthStep {
  const error = new PgError(SQLSTATE.protocolViolation, `server login failed: ${problem.message}`);
  return { kind: "failed", error, reason: error.message };
}

function fail(what: string, why?: string): ServerAuthStep {
  const text = `server login failed: ${what}`;
  const error = new PgError(SQLSTATE.invalidAuthorizationSpecification, text);
  return { kind: "failed", error, reason: why === undefined ? text : `${text} (${why})` };
}
