/** Lets clients in: what a login asks of the rest of the pooler. */

import { assert } from "../base/assert.ts";
import type { ClientAuthenticationMethod } from "../auth/client_authentication.ts";
import type { UserCredential } from "../auth/credential.ts";
import type { KeyDerivation } from "../auth/key_derivation.ts";
import { MOCK_SECRET_BYTES, mockSecretOf, type UserLooks } from "../auth/mock_challenge.ts";
import type { OutsideQuestion, PasswordDecision } from "../auth/outside_method.ts";
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import type { CancelDesk } from "../client/cancel_request.ts";
import { makeCancelKey } from "../client/cancel_key.ts";
import {
  type Admission,
  ClientLogin,
  CONSOLE_DATABASE,
  type LoginDesk,
  type LoginProof,
} from "../client/client_login.ts";
import type { ClientRegistry } from "../client/client_registry.ts";
import {
  clientLabel,
  type ClientService,
  type ClientSession,
  type SessionDesk,
} from "../client/client_session.ts";
import type { CredentialWait } from "../client/credential_wait.ts";
import type { ProxyRule } from "../client/client_origin.ts";
import type { LoginBrake } from "../client/login_brake.ts";
import type { LoginInput } from "../client/login_input.ts";
import type { LoginLimit } from "../client/login_limit.ts";
import type { TlsOffer } from "../client/client_tls.ts";
import { FeatureWatch } from "../client/feature_watch.ts";
import { Relay, type ServerPool } from "../client/relay.ts";
import type { ClientIntent } from "../client/startup_parameters.ts";
import type { Settings } from "../config/settings.ts";
import { isDemanding } from "../config/tls_needs.ts";
import { Greeting } from "../link/greeting.ts";
import type { TrackedParameters } from "../link/parameter_cache.ts";
import type { StatementRewriter } from "../link/statement_rewriter.ts";
import type { Logger } from "../log/logger.ts";
import type { ByteStream } from "../net/byte_stream.ts";
import { tlsText } from "../net/tls.ts";
import type { ServerSession } from "../server/server_session.ts";
import { PgError } from "../wire/pg_error.ts";
import { hasLongKeys, versionText } from "../wire/protocol_version.ts";
import type { Replication } from "../wire/replication.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { StartupMessage } from "../wire/startup_packet.ts";
import type { AuthLookUp } from "./auth_lookup.ts";
import { clientLimitRefusal, noMoreClients } from "./client_limits.ts";
import type { DatabaseOperations } from "./database_operations.ts";
import type { LiveConfig } from "./live_config.ts";
import type { LoginRules } from "./login_rules.ts";
import type { OutsideLogins } from "./outside_logins.ts";
import type { ServerSecrets } from "./pool_secrets.ts";
import { replicationRefusal } from "./replication_limits.ts";
import type { ServerPools } from "./server_pools.ts";
import type { TlsContexts } from "./tls_contexts.ts";
import { TrustedProxies } from "./trusted_proxies.ts";

/** As the log says what a client asked for, in PgBouncer's words. */
const ASKED_REPLICATION: Readonly<Record<Replication, string>> = {
  none: "no",
  logical: "database",
  physical: "yes",
};

/** What the reception is made of. */
export interface ReceptionOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: Random;
  readonly derivation: KeyDerivation;
  readonly tracked: TrackedParameters;
  /** Prepared statements are shared through it. */
  readonly rewriter: StatementRewriter;
  readonly live: LiveConfig;
  readonly tls: TlsContexts;
  readonly rules: LoginRules;
  readonly clients: ClientRegistry;
  readonly logins: LoginLimit;
  readonly brake: LoginBrake;
  readonly pools: ServerPools;
  readonly authLookUp: AuthLookUp;
  readonly outside: OutsideLogins;
  readonly cancels: CancelDesk;
  /** User ID of this process, where there is such a thing. */
  readonly ownUid: number | undefined;
  /** What only this machine has and keeps, if there is such a thing. */
  readonly hostSecret: string | undefined;
  /** Whether a client is not let in because the pooler is ending. */
  readonly isTurnedAway: (client: ClientSession) => boolean;
  readonly operations: DatabaseOperations;
  /** Told of a server that was running something when its client was lost. */
  readonly onAbandoned: (server: ServerSession, pool: ServerPool) => void;
  readonly openConsole: (client: ClientSession, options: { isOwnProcess: boolean }) => Admission;
}

/** Over unix sockets, as PostgreSQL. */
const NO_TLS: TlsOffer = { tls: undefined, isRequired: false };

/** The desk at which clients log in and out. */
export class Reception implements LoginDesk, SessionDesk {
  readonly random: Random;
  readonly derivation: KeyDerivation;
  readonly tracked: TrackedParameters;
  readonly mockSecret: Uint8Array;
  readonly #options: ReceptionOptions;
  /** By what was reported: as long as clients of any pool are greeted with that. */
  readonly #greetings = new WeakMap<ReadonlyMap<string, string>, Greeting>();
  readonly #proxies = new TrustedProxies(() => this.settings());
  // One of each for all clients: what every client holds is paid for by the thousand.
  readonly #warnsOfFeatures = () => this.settings().warnSessionFeatures;
  readonly #closesFast = () => this.settings().serverFastClose;
  readonly #recovers = () => this.settings().onClientLoss === "recover";

  constructor(options: ReceptionOptions) {
    this.#options = options;
    this.random = options.random;
    this.derivation = options.derivation;
    this.tracked = options.tracked;
    const { hostSecret, random } = options;
    this.mockSecret = hostSecret === undefined
      ? random.bytes(MOCK_SECRET_BYTES)
      : mockSecretOf(hostSecret);
  }

  settings(): Settings {
    return this.#options.live.settings;
  }

  proxyRule(stream: ByteStream): ProxyRule {
    return this.#proxies.ruleFor(stream);
  }

  tlsOffer({ isUnix }: ByteStream): TlsOffer {
    const { client } = this.#options.tls;
    if (isUnix || client === undefined) return NO_TLS;
    const { certificate, context } = client;
    const isRequired = isDemanding(this.settings().clientTlsSslmode);
    return { tls: { context, endPoint: certificate?.endPoint }, isRequired };
  }

  logIn(
    client: ClientSession,
    { input, startup }: { input: LoginInput; startup: StartupMessage },
  ): Promise<ClientService | undefined> {
    return new ClientLogin(client, { desk: this, input }).run(startup);
  }

  refusal(client: ClientSession, database: string): PgError | undefined {
    // The console stays reachable, so that somebody can look and act.
    if (database === CONSOLE_DATABASE) return undefined;
    const { clients, isTurnedAway } = this.#options;
    if (isTurnedAway(client)) {
      return new PgError(SQLSTATE.cannotConnectNow, "pooler is shutting down");
    }
    return clients.admittedCount >= this.settings().maxClientConn ? noMoreClients() : undefined;
  }

  enroll(client: ClientSession): void {
    const { clients, live, logins } = this.#options;
    logins.remove(client);
    clients.admit(client);
    // Not before it has proved who it is; others may have done so at the same time.
    const refusal = clientLimitRefusal(client, { clients, config: live.config });
    if (refusal !== undefined) throw refusal;
  }

  methodFor(
    client: ClientSession,
    intent: ClientIntent,
  ): ClientAuthenticationMethod | Promise<ClientAuthenticationMethod> {
    return this.#options.rules.methodFor(client, intent);
  }

  credentialOf(user: string, database: string): UserCredential | CredentialWait | undefined {
    const { authLookUp, live } = this.#options;
    return live.credentials.get(user) ?? authLookUp.credentialOf(user, database);
  }

  askOutside(
    client: ClientSession,
    question: Pick<OutsideQuestion, "method" | "password">,
  ): Promise<PasswordDecision | undefined> {
    return this.#options.outside.decide(client, question);
  }

  looksFor(database: string): UserLooks {
    const { authLookUp, live } = this.#options;
    return authLookUp.looksFor(database) ?? live.looks;
  }

  noteMismatch(credential: UserCredential): void {
    this.#options.authLookUp.noteMismatch(credential);
  }

  holdAnswer(client: ClientSession, refusal: string | undefined): Promise<void> {
    return this.#options.brake.hold(client, refusal);
  }

  isOwnProcess(client: ClientSession, user: string): boolean {
    const { ownUid } = this.#options;
    return user === CONSOLE_DATABASE && client.stream.isUnix && ownUid !== undefined &&
      client.stream.peerUid === ownUid;
  }

  poolFor({ database, user }: ClientIntent, proof: LoginProof): ServerPool {
    const refusal = this.#options.operations.refusal(database);
    if (refusal !== undefined) throw refusal;
    return this.#options.pools.poolFor(user, database, this.#secrets(user, proof));
  }

  /** Of users that the configuration knows, that is asked each time. */
  #secrets(user: string, { known, typed }: LoginProof): ServerSecrets {
    return { lookedUp: this.#options.live.credentials.has(user) ? undefined : known, typed };
  }

  openOwnPool(
    { database, passed, replication, user }: ClientIntent,
    proof: LoginProof,
  ): ServerPool {
    assert(replication !== "none", "Who does not replicate shares a pool");
    const { clients, live, operations, pools } = this.#options;
    const refusal = operations.refusal(database) ??
      replicationRefusal(database, { clients: clients.all(), live });
    if (refusal !== undefined) throw refusal;
    return pools.openPrivatePool(user, database, {
      replication,
      startupParameters: passed,
      ...this.#secrets(user, proof),
    });
  }

  greetingOf(reported: ReadonlyMap<string, string>): Greeting {
    const known = this.#greetings.get(reported);
    if (known !== undefined) return known;
    const greeting = new Greeting(reported);
    this.#greetings.set(reported, greeting);
    return greeting;
  }

  openRelay(client: ClientSession, pool: ServerPool): Relay {
    const { clock, live, onAbandoned, operations, rewriter } = this.#options;
    const relay = new Relay({
      host: client,
      stream: client.stream,
      pool,
      parameters: client.parameters!,
      clock,
      maxMessageBytes: live.settings.maxPacketSizeBytes,
      refusesQueries: live.settings.disablePqexec,
      poolMode: () => pool.rules.poolMode,
      rewriter: live.settings.maxPreparedStatements > 0 ? rewriter : undefined,
      features: this.#featureWatch(pool),
      closesFast: this.#closesFast,
      recovers: this.#recovers,
      onAbandoned: (server) => onAbandoned(server, pool),
    });
    client.relay = relay;
    operations.adoptClient(client);
    return relay;
  }

  #featureWatch(pool: ServerPool): FeatureWatch | undefined {
    const { countSessionFeatures, warnSessionFeatures } = this.settings();
    if (!countSessionFeatures && !warnSessionFeatures) return undefined;
    return new FeatureWatch(pool, this.#warnsOfFeatures);
  }

  openConsole(client: ClientSession, options: { isOwnProcess: boolean }): Admission {
    return this.#options.openConsole(client, options);
  }

  giveCancelKey(client: ClientSession): Uint8Array {
    const { clients, live, random } = this.#options;
    const { peerId } = live.settings;
    const key = makeCancelKey(random, { isLong: hasLongKeys(client.protocolMinor), peerId });
    clients.addCancelKey(key, client);
    return key;
  }

  cancel(key: Uint8Array, requester: ClientSession): Promise<void> {
    // It has said all it wants; who logs in must not end it.
    this.#options.logins.remove(requester);
    return this.#options.cancels.cancel(key, requester);
  }

  noteMove(client: ClientSession): void {
    this.#options.logins.move(client);
  }

  noteIdle(change: 1 | -1): void {
    this.#options.clients.noteIdle(change);
  }

  noteEnd(client: ClientSession): void {
    this.#options.logins.remove(client);
    this.#options.clients.dismiss(client);
  }

  forget(client: ClientSession): void {
    this.#options.clients.remove(client);
    const { pool } = client;
    if (pool === undefined) return;
    pool.clientCount -= 1;
    if (pool.isPrivate) this.#options.pools.closePrivatePool(pool);
  }

  noteLogin(client: ClientSession): void {
    if (client.pool !== undefined) client.pool.stats.clientLoginCount += 1;
    const { log } = this.#options;
    if (!log.isNoisy) return;
    log.noise(`${clientLabel(client)} speaks protocol ${versionText(client.protocolMinor)}`);
  }

  noteAttempt(client: ClientSession): void {
    const { live, log } = this.#options;
    if (!live.settings.logConnections) return;
    const { database, replication, stream: { tls }, user } = client;
    const protection = tls === undefined ? "no" : tlsText(tls);
    const asked = ASKED_REPLICATION[replication];
    const attempt = `db=${database} user=${user} tls=${protection} replication=${asked}`;
    log.log(`${clientLabel(client)} login attempt: ${attempt}`);
  }
}
