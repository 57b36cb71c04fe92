/**
 * What we demand of a client, step by step, as values: each step says which message to send and
 * whether the client is in. No I/O; awaits only key derivation.
 *
 * Invariants: nothing but the right secret leads to "accepted"; an exchange that has ended accepts
 * nothing more. A user who does not exist, or whose stored secret can never fit the method, walks
 * the same steps as one who typed a wrong password, against a secret that nobody has, and is told
 * the same; a refused cleartext password costs one derivation, whatever it was compared with. (Two
 * things still differ: the first SCRAM login of a user with a plain secret takes longer, whose keys
 * are derived then and kept, and so does a verifier of more rounds than `scram_iterations`.)
 * Source: PostgreSQL, "SASL Authentication" and "Message Flow"; which method meets which stored
 * secret, as PgBouncer combines them.
 */

import { assert, unreachable } from "../base/assert.ts";
import type { Random } from "../base/random.ts";
import {
  authenticationCleartextPassword,
  authenticationMd5Password,
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
  MD5_SALT_BYTES,
  readPasswordBytes,
  readSaslInitialResponse,
} from "../wire/authentication_messages.ts";
import { PgError, ProtocolError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import { CERTIFICATE_REJECTED } from "./certificate_identity.ts";
import { CHANNEL_BINDING_TYPE } from "./channel_binding.ts";
import type { UserCredential } from "./credential.ts";
import { KEY_BYTES, type KeyDerivation } from "./key_derivation.ts";
import { md5Response, md5Secret } from "./md5.ts";
import { mockChallenge, mockSalt, SALT_BYTES, type UserLooks } from "./mock_challenge.ts";
import type { OutsideMethod, PasswordDecision } from "./outside_method.ts";
import { decodeUtf8, preparePassword } from "./saslprep.ts";
import {
  decodeBase64,
  encodeBase64,
  equalBytes,
  equalSecrets,
  MAX_SCRAM_ITERATIONS,
  recoverClientKey,
  SCRAM_MECHANISM,
  SCRAM_PLUS_MECHANISM,
  scramKeys,
  type ScramVerifier,
  serverSignature,
} from "./scram.ts";
import {
  buildServerFinal,
  buildServerFirst,
  channelBindingOf,
  type ClientFinal,
  type ClientFirst,
  malformed,
  parseClientFinal,
  parseClientFirst,
  type ServerFirst,
} from "./scram_messages.ts";
import { hmac } from "./sha256.ts";

/**
 * What is demanded of a client; of "peer" and "cert", its part is done, and only the user must exist.
 */
export type ClientAuthenticationMethod =
  | OutsideMethod
  | "any"
  | "trust"
  | "plain"
  | "md5"
  | "scram-sha-256"
  | "peer"
  | "cert";

/** What a client is told that is not who it says, by the system; PgBouncer's words. */
export const PEER_REJECTED = "unix socket login rejected";

/** What comes next. */
export type AuthStep =
  /** Send `message` and give the next 'p' message to `receive`. */
  | { readonly kind: "challenge"; readonly message: Uint8Array }
  /** Ask whether this password is right, and give the answer to `conclude`. Not for messages. */
  | { readonly kind: "outside"; readonly method: OutsideMethod; readonly password: string }
  /** The client is in. Send `message`, if any, and then AuthenticationOk. */
  | { readonly kind: "accepted"; readonly message: Uint8Array | undefined }
  /** Send `error` and close. `reason` is for the log, and may say more than the client is told. */
  | { readonly kind: "rejected"; readonly error: PgError; readonly reason: string };

/** What an exchange needs to know. */
export interface ClientAuthenticationOptions {
  /** What the client must do to get in. */
  readonly method: ClientAuthenticationMethod;
  /** As the startup packet says it. */
  readonly userName: string;
  /** Undefined when there is no such user. */
  readonly credential: UserCredential | undefined;
  /** Where salts and nonces come from. */
  readonly random: Random;
  /** The pooler's one, so that its cap holds for all logins. */
  readonly derivation: KeyDerivation;
  /** Rounds for a verifier made of a plain secret: setting `scram_iterations`. */
  readonly scramIterations: number;
  /** Bytes, `MOCK_SECRET_BYTES` of them, that the pooler keeps to itself and does not change. */
  readonly mockSecret: Uint8Array;
  /** How known users look; unknown ones are asked likewise. */
  readonly looks: UserLooks;
  /**
   * What a login can be bound to, as `tlsServerEndPoint()` makes it of the certificate that the
   * client was shown; with it SCRAM-SHA-256-PLUS is offered too. Undefined without TLS.
   */
  readonly endPoint?: Uint8Array | undefined;
}

/** As PostgreSQL's PG_MAX_AUTH_TOKEN_LENGTH. */
const MAX_BODY_BYTES = 65_535;

/** As PostgreSQL's SCRAM_RAW_NONCE_LEN. */
const NONCE_BYTES = 18;

interface ProofState {
  readonly kind: "saslFinal";
  /** What `c=` has to say. */
  readonly channelBinding: string;
  readonly clientFirst: ClientFirst;
  readonly first: ServerFirst;
}

type State =
  | { readonly kind: "new" }
  | { readonly kind: "password" }
  | { readonly kind: "outsidePassword"; readonly method: OutsideMethod }
  | { readonly kind: "outside"; readonly method: OutsideMethod }
  | { readonly kind: "md5"; readonly salt: Uint8Array }
  | { readonly kind: "saslInitial" }
  | { readonly kind: "saslFirst"; readonly isPlus: boolean }
  | ProofState
  /** Accepted, rejected, or a `receive` is under way. */
  | { readonly kind: "ended" };

/** One client's exchange. `start` once, then `receive` for each 'p' message, one at a time. */
export class ClientAuthentication {
  readonly #options: ClientAuthenticationOptions;
  readonly #credential: UserCredential | undefined;
  #state: State = { kind: "new" };

  /** Nothing is drawn or derived yet. */
  constructor(options: ClientAuthenticationOptions) {
    this.#options = options;
    this.#credential = options.credential;
  }

  /** Returns the first step. To be called once. */
  start(): AuthStep {
    assert(this.#state.kind === "new", "An exchange is started once");
    const method = this.#options.method;
    if (typeof method === "object") {
      return this.#challenge(
        { kind: "outsidePassword", method },
        authenticationCleartextPassword(),
      );
    }
    switch (method) {
      case "any":
        return this.#accept();
      case "trust":
        return this.#admitKnown('"trust" authentication failed');
      case "peer":
        return this.#admitKnown(PEER_REJECTED);
      case "cert":
        return this.#admitKnown(CERTIFICATE_REJECTED);
      case "plain":
        return this.#challenge({ kind: "password" }, authenticationCleartextPassword());
      case "md5":
        return this.#isAskedForScram() ? this.#startSasl() : this.#startMd5();
      case "scram-sha-256":
        return this.#startSasl();
      default:
        return unreachable(method);
    }
  }

  /**
   * Takes the body of a 'p' message, borrowed for the call only. Any bytes at any time are answered
   * by a step. Awaits key derivation, where it answers a promise; there is nothing to cancel, an
   * exchange that is no longer wanted is dropped.
   */
  receive(body: Uint8Array): AuthStep | Promise<AuthStep> {
    const state = this.#state;
    this.#state = { kind: "ended" };
    try {
      return this.#step(state, body);
    } catch (error) {
      if (error instanceof ProtocolError) return rejectMalformed(state, error);
      throw error;
    }
  }

  /** Takes the answer that a step of kind "outside" asked for. */
  conclude(decision: PasswordDecision): AuthStep {
    const state = this.#state;
    assert(state.kind === "outside", "Nobody was asked");
    this.#state = { kind: "ended" };
    const { kind } = state.method;
    if (decision.kind === "wrong") return rejectOutside(kind, decision.why);
    // A user who is not known here has been asked about like one who is.
    const isKnown = kind === "pam" || this.#credential !== undefined;
    return isKnown ? this.#accept() : rejectOutside(kind, "no such user");
  }

  #step(state: State, body: Uint8Array): AuthStep | Promise<AuthStep> {
    if (body.length > MAX_BODY_BYTES) throw new ProtocolError("password too long");
    switch (state.kind) {
      case "password":
        return this.#checkPassword(body);
      case "outsidePassword":
        return this.#passOn(body, state.method);
      case "md5":
        return this.#checkMd5(body, state.salt);
      case "saslInitial":
        return this.#chooseMechanism(body);
      case "saslFirst":
        return this.#answerClientFirst(body, state.isPlus);
      case "saslFinal":
        return this.#checkProof(state, parseClientFinal(body));
      case "new":
      case "outside":
      case "ended":
        throw new ProtocolError("unexpected password message");
      default:
        return unreachable(state);
    }
  }

  #challenge(next: State, message: Uint8Array): AuthStep {
    this.#state = next;
    return { kind: "challenge", message };
  }

  #accept(message?: Uint8Array): AuthStep {
    this.#state = { kind: "ended" };
    return { kind: "accepted", message };
  }

  #admitKnown(refusal: string): AuthStep {
    if (this.#credential !== undefined) return this.#accept();
    this.#state = { kind: "ended" };
    const state = SQLSTATE.invalidAuthorizationSpecification;
    return reject(new PgError(state, refusal), "no such user");
  }

  // --- cleartext ---

  #checkPassword(body: Uint8Array): AuthStep | Promise<AuthStep> {
    const password = readPasswordBytes(body);
    if (password.length === 0) return rejectEmpty();
    const credential = this.#credential;
    if (credential?.kind === "scram") return this.#checkAgainstVerifier(credential, password);
    // A secret that is not there is replaced by one that nobody has; it is compared all the same.
    const isMd5 = credential?.kind === "md5";
    const given = isMd5 ? md5Secret(password, credential.userName) : password;
    const stored = (isMd5 ? credential.md5Secret() : credential?.plainPassword) ??
      this.#options.random.bytes(KEY_BYTES);
    const isRight = equalSecrets(toBytes(given), toBytes(stored));
    return isRight && this.#hasSecret() ? this.#accept() : this.#rejectAfterWork(password);
  }

  /** Takes as long as comparing with a verifier does, or the time would tell who has one. */
  async #rejectAfterWork(given: Uint8Array, why = "wrong password"): Promise<AuthStep> {
    const { derivation, mockSecret, scramIterations: iterations } = this.#options;
    const salt = mockSecret.subarray(0, SALT_BYTES);
    await derivation.derive(preparePassword(new Uint8Array(given)), { salt, iterations });
    return this.#rejectPassword(why);
  }

  async #checkAgainstVerifier(credential: UserCredential, given: Uint8Array): Promise<AuthStep> {
    const verifier = credential.verifier;
    const salt = decodeBase64(verifier?.salt ?? "");
    assert(verifier !== undefined && salt !== undefined, "Kind scram has a verifier");
    const iterations = verifier.iterations;
    if (iterations > MAX_SCRAM_ITERATIONS) {
      return await this.#rejectAfterWork(given, "the stored verifier demands too many rounds");
    }
    // Copied: the bytes are borrowed, and the derivation may have to wait for its turn.
    const prepared = preparePassword(new Uint8Array(given));
    const keys = scramKeys(
      await this.#options.derivation.derive(prepared, { salt, iterations }),
      verifier,
    );
    if (!equalBytes(keys.storedKey, verifier.storedKey)) {
      return this.#rejectPassword("wrong password");
    }
    // The stored ServerKey stands for the derived one: it is what the server itself signs with.
    credential.learnScramKeys({ ...keys, serverKey: verifier.serverKey });
    return this.#accept();
  }

  // --- somebody else says whether it is right ---

  #passOn(body: Uint8Array, method: OutsideMethod): AuthStep {
    const bytes = readPasswordBytes(body);
    // To a directory a name without a password is nobody, who may well be let in.
    if (bytes.length === 0) return rejectEmpty();
    const password = decodeUtf8(bytes);
    if (password === undefined) return rejectOutside(method.kind, "the password is not UTF-8");
    this.#state = { kind: "outside", method };
    return { kind: "outside", method, password };
  }

  // --- md5 ---

  /**
   * By "md5" those with a verifier are asked for SCRAM. Of users without a secret as large a share
   * is, each the same way at each try: else being asked for the one or the other would tell who
   * exists.
   */
  #isAskedForScram(): boolean {
    if (this.#hasSecret()) return this.#credential?.kind === "scram";
    const { looks, mockSecret, userName } = this.#options;
    // No name has a zero byte, so that no other name's salt shows what is drawn here.
    const [byte = 0] = hmac(mockSecret, new TextEncoder().encode(`${userName}\0method`));
    return byte < looks.verifierShare * 256;
  }

  #startMd5(): AuthStep {
    const salt = this.#options.random.bytes(MD5_SALT_BYTES);
    return this.#challenge({ kind: "md5", salt }, authenticationMd5Password(salt));
  }

  #checkMd5(body: Uint8Array, salt: Uint8Array): AuthStep {
    const given = readPasswordBytes(body);
    if (given.length === 0) return rejectEmpty();
    const stored = this.#credential?.md5Secret() ??
      md5Secret(this.#options.random.bytes(KEY_BYTES), "");
    const isRight = equalSecrets(given, toBytes(md5Response(stored, salt)));
    return isRight && this.#hasSecret() ? this.#accept() : this.#rejectPassword("wrong password");
  }

  // --- SCRAM ---

  #startSasl(): AuthStep {
    const isBindable = this.#options.endPoint !== undefined;
    const mechanisms = isBindable ? [SCRAM_PLUS_MECHANISM, SCRAM_MECHANISM] : [SCRAM_MECHANISM];
    return this.#challenge({ kind: "saslInitial" }, authenticationSasl(mechanisms));
  }

  #chooseMechanism(body: Uint8Array): AuthStep {
    const { mechanism, data } = readSaslInitialResponse(body);
    const isPlus = mechanism === SCRAM_PLUS_MECHANISM && this.#options.endPoint !== undefined;
    if (!isPlus && mechanism !== SCRAM_MECHANISM) {
      const text = "client selected an invalid SASL authentication mechanism";
      return reject(new PgError(SQLSTATE.protocolViolation, text));
    }
    if (data !== undefined) return this.#answerClientFirst(data, isPlus);
    // As SASL has it, a client that sent no data is asked for it by an empty challenge.
    const ask = authenticationSaslContinue("");
    return this.#challenge({ kind: "saslFirst", isPlus }, ask);
  }

  #answerClientFirst(data: Uint8Array, isPlus: boolean): AuthStep {
    const clientFirst = parseClientFirst(data);
    const { endPoint } = this.#options;
    checkFlag(clientFirst.flag, { isPlus });
    if (clientFirst.flag === "y" && endPoint !== undefined) return rejectDowngrade();
    const bound = isPlus ? endPoint : undefined;
    const channelBinding = channelBindingOf(clientFirst.gs2Header, bound);
    const { salt, iterations } = this.#verifierFacts();
    const nonce = clientFirst.nonce + encodeBase64(this.#options.random.bytes(NONCE_BYTES));
    const first: ServerFirst = { nonce, salt, iterations };
    const message = authenticationSaslContinue(buildServerFirst(first));
    return this.#challenge({ kind: "saslFinal", channelBinding, clientFirst, first }, message);
  }

  /** Awaits only when the keys of a plain secret must be derived first. */
  #checkProof(
    state: ProofState,
    final: ClientFinal,
  ): AuthStep | Promise<AuthStep> {
    if (final.channelBinding !== state.channelBinding) {
      if (state.clientFirst.flag.startsWith("p=")) return rejectForeignChannel();
      throw malformed("unexpected channel binding data");
    }
    if (final.nonce !== state.first.nonce) {
      throw malformed("the nonce is not the one we gave");
    }
    const credential = this.#credential;
    if (credential?.kind === "plain") {
      const keys = credential.deriveScramKeys(this.#options.derivation, state.first);
      return keys.then((verifier) => this.#checkProofBy(verifier, state, final));
    }
    return this.#checkProofBy(credential?.verifier ?? this.#mockVerifier(), state, final);
  }

  #checkProofBy(
    verifier: ScramVerifier,
    state: ProofState,
    final: ClientFinal,
  ): AuthStep {
    const first = buildServerFirst(state.first);
    const authMessage = `${state.clientFirst.bare},${first},${final.withoutProof}`;
    const proof = final.proof;
    const { clientKey, isRight } = recoverClientKey(verifier.storedKey, { authMessage, proof });
    const signature = serverSignature(verifier, authMessage);
    if (!isRight || !this.#canDoScram()) return this.#rejectSasl();
    if (this.#credential?.kind === "scram") {
      this.#credential.learnScramKeys({ ...verifier, clientKey });
    }
    return this.#accept(authenticationSaslFinal(buildServerFinal(signature)));
  }

  #canDoScram(): boolean {
    return this.#credential?.kind === "scram" || this.#credential?.kind === "plain";
  }

  // --- users without a secret, and answers ---

  /** Keys that nobody has: no proof fits them. */
  #mockVerifier(): ScramVerifier {
    const { random, scramIterations: iterations } = this.#options;
    const storedKey = random.bytes(KEY_BYTES);
    return { iterations, salt: "", storedKey, serverKey: random.bytes(KEY_BYTES) };
  }

  /**
   * Salt and rounds to demand. Made up for every user, so that those with a verifier are not told by
   * the time it takes. A plain secret has the salt that its user would have if unknown.
   */
  #verifierFacts(): Pick<ScramVerifier, "salt" | "iterations"> {
    const { looks, method, mockSecret: secret, scramIterations, userName } = this.#options;
    const shapes = method === "md5" ? looks.verifierShapes : looks.shapes;
    const mock = mockChallenge(userName, { secret, shapes, scramIterations });
    if (this.#credential?.kind !== "plain") return this.#credential?.verifier ?? mock;
    return { salt: mockSalt(userName, { secret }), iterations: scramIterations };
  }

  #hasSecret(): boolean {
    return this.#credential !== undefined && this.#credential.kind !== "none";
  }

  #rejectPassword(why: string): AuthStep {
    const error = new PgError(SQLSTATE.invalidPassword, "password authentication failed");
    return reject(error, this.#whyNever() ?? why);
  }

  #rejectSasl(): AuthStep {
    const error = new PgError(SQLSTATE.invalidPassword, "SASL authentication failed");
    const isMd5 = this.#credential?.kind === "md5";
    const why = isMd5 ? "the stored MD5 hash cannot do SCRAM" : "wrong password";
    return reject(error, this.#whyNever() ?? why);
  }

  #whyNever(): string | undefined {
    if (this.#credential === undefined) return "no such user";
    return this.#credential.kind === "none" ? "the user has no password" : undefined;
  }
}

function reject(error: PgError, why?: string): AuthStep {
  const reason = why === undefined ? error.message : `${error.message} (${why})`;
  return { kind: "rejected", error, reason };
}

/** PgBouncer's words. */
function rejectOutside(kind: OutsideMethod["kind"], why: string): AuthStep {
  const text = `${kind.toUpperCase()} authentication failed`;
  return reject(new PgError(SQLSTATE.invalidAuthorizationSpecification, text), why);
}

function rejectEmpty(): AuthStep {
  return reject(new PgError(SQLSTATE.invalidPassword, "empty password returned by client"));
}

/** Throws if a client's word on channel binding does not go with the mechanism it has chosen. */
function checkFlag(flag: string, { isPlus }: { readonly isPlus: boolean }): void {
  const isBound = flag.startsWith("p=");
  if (isPlus && !isBound) throw malformed("channel binding is missing");
  if (!isPlus && isBound) throw malformed("channel binding was not offered or not chosen");
  if (isBound && flag !== `p=${CHANNEL_BINDING_TYPE}`) {
    throw new ProtocolError("unsupported SCRAM channel-binding type");
  }
}

/** Somebody in between has hidden what we offer, so that the login would not be bound. */
function rejectDowngrade(): AuthStep {
  const detail =
    "the client supports channel binding and believes that the server does not, but it does";
  const text = "SCRAM channel binding negotiation error";
  const state = SQLSTATE.invalidAuthorizationSpecification;
  return reject(new PgError(state, text, { detail }), detail);
}

/** The client was shown another certificate: somebody in between has a TLS connection to each side. */
function rejectForeignChannel(): AuthStep {
  const state = SQLSTATE.invalidAuthorizationSpecification;
  const why = "the client was shown another certificate";
  return reject(new PgError(state, "SCRAM channel binding check failed"), why);
}

/** In a SASL exchange the client hears the common text, and in the detail what was wrong. */
function rejectMalformed(state: State, error: ProtocolError): AuthStep {
  const isSasl = state.kind.startsWith("sasl");
  const text = isSasl ? "SASL authentication failed" : error.message;
  const fields = isSasl ? { detail: error.message } : {};
  return reject(new PgError(SQLSTATE.protocolViolation, text, fields), fields.detail);
}

function toBytes(value: string | Uint8Array): Uint8Array {
  return typeof value === "string" ? new TextEncoder().encode(value) : value;
}
