/**
 * What is demanded of a client that logs in: `auth_type`, or the HBA rule that decides. The one place
 * that acts upon a method.
 */

import { assert, unreachable } from "../base/assert.ts";
import { errorText } from "../base/error_text.ts";
import { peerIp } from "../base/ip_address.ts";
import { type ClientAuthenticationMethod, PEER_REJECTED } from "../auth/client_authentication.ts";
import { type CertificateRule, checkClientCertificate } from "../auth/certificate_identity.ts";
import {
  type HbaMethod,
  type HbaRule,
  mapOf,
  type OwnNetworks,
  PAM_SERVICE,
} from "../auth/hba_rules.ts";
import { IdentMaps } from "../auth/ident_map.ts";
import { type LdapOptions, USER_PLACEHOLDER } from "../auth/ldap_options.ts";
import { clientLabel, type ClientSession } from "../client/client_session.ts";
import type { ClientIntent } from "../client/startup_parameters.ts";
import type { Logger } from "../log/logger.ts";
import { formatAddress } from "../net/network.ts";
import { PgError } from "../wire/pg_error.ts";
import { SQLSTATE } from "../wire/sqlstate.ts";
import type { LiveConfig } from "./live_config.ts";

/** Name of a user of the system; undefined if there is none. Rejects if it cannot be found out. */
export type SystemUserOf = (uid: number) => Promise<string | undefined>;

/** What the rules are asked with. */
export interface LoginRulesOptions {
  readonly live: LiveConfig;
  readonly log: Logger;
  /** Undefined where the system cannot be asked. */
  readonly systemUserOf: SystemUserOf | undefined;
  readonly ownNetworks: OwnNetworks;
}

/** What a client has to do; a promise where the system is asked who it is. */
export type Demand = ClientAuthenticationMethod | Promise<ClientAuthenticationMethod>;

/** Asked by each login; again if a reload came in between. */
export class LoginRules {
  readonly #options: LoginRulesOptions;

  constructor(options: LoginRulesOptions) {
    this.#options = options;
  }

  /** What is demanded by the rules in force now. @throws {PgError} If the client is not let in. */
  methodFor(client: ClientSession, intent: ClientIntent): Demand {
    const { authType } = this.#options.live.settings;
    switch (authType) {
      case "any":
      case "trust":
      case "plain":
      case "md5":
      case "scram-sha-256":
        return authType;
      case "peer":
        return this.#peer(client, { user: intent.user, map: undefined });
      case "hba": {
        const rule = this.#decide(client, intent);
        return this.#demandOf(rule, { client, user: intent.user });
      }
      case "cert":
        this.#checkCertificate(client, { user: intent.user, check: "verify-full" });
        return authType;
      case "ldap": {
        const options = this.#options.live.loaded.rules?.ldap?.options;
        assert(options !== undefined, "Without options, auth_type ldap is refused");
        return { kind: "ldap", options };
      }
      case "pam":
        return { kind: "pam", service: PAM_SERVICE };
      default:
        return unreachable(authType);
    }
  }

  #demandOf(
    { clientCert, file, line, method }: HbaRule,
    { client, user }: { readonly client: ClientSession; readonly user: string },
  ): Demand {
    if (clientCert !== undefined) this.#checkCertificate(client, { user, check: clientCert });
    switch (method.kind) {
      case "trust":
      case "md5":
      case "scram-sha-256":
        return method.kind;
      case "password":
        return "plain";
      case "reject":
        this.#note(client, `hba: rejected by line ${line} of ${file}`);
        throw rejection("login rejected");
      case "peer":
        return this.#peer(client, { user, map: method.map });
      case "cert":
        this.#checkCertificate(client, { user, check: "verify-full", map: method.map });
        return "cert";
      case "ldap":
      case "pam":
        return method;
      default:
        return unreachable(method);
    }
  }

  #decide(client: ClientSession, { database, replication, user }: ClientIntent): HbaRule {
    const { live, log, ownNetworks } = this.#options;
    const rules = live.loaded.rules?.hba;
    const { remote, stream: { isUnix, tls } } = client;
    const address = isUnix ? undefined : peerIp(remote.host);
    // Where it is not known where somebody comes from, no rule can be right.
    const isKnown = isUnix || address !== undefined;
    const isReplication = replication === "physical";
    const connection = { address, isTls: tls !== undefined, database, user, isReplication };
    const rule = isKnown ? rules?.decide(connection, ownNetworks) : undefined;
    if (rule === undefined) {
      this.#note(client, `hba: no line of ${rules?.path} matches`);
      throw rejection("no authentication method is found");
    }
    if (log.verbosity > 0) {
      log.debug(`${clientLabel(client)} hba: line ${rule.line} of ${rule.file}`);
    }
    return rule;
  }

  /** @throws {PgError} If the client has not shown a certificate by which it may go on. */
  #checkCertificate(
    client: ClientSession,
    { check, map, user }: Pick<CertificateRule, "check"> & {
      user: string;
      map?: string | undefined;
    },
  ): void {
    const decision = checkClientCertificate(user, client.tlsLogin?.certificate, {
      check,
      maps: (name, wanted) => this.#identMaps().allows(map, name, wanted),
    });
    if (decision.kind === "allowed") return;
    this.#note(client, decision.reason);
    throw decision.error;
  }

  #identMaps(): IdentMaps {
    return this.#options.live.loaded.rules?.identMaps ?? new IdentMaps();
  }

  /** Asks the system who is behind the socket. */
  async #peer(
    client: ClientSession,
    { map, user }: { readonly map: string | undefined; readonly user: string },
  ): Promise<ClientAuthenticationMethod> {
    const found = await this.#systemUser(client);
    if ("problem" in found) return this.#rejectPeer(client, found.problem);
    if (this.#identMaps().allows(map, found.name, user)) return "peer";
    const by = map === undefined ? "" : ` by map "${map}"`;
    return this.#rejectPeer(client, `system user "${found.name}" may not be "${user}"${by}`);
  }

  async #systemUser(
    { stream }: ClientSession,
  ): Promise<{ readonly name: string } | { readonly problem: string }> {
    const { systemUserOf } = this.#options;
    const { isUnix, peerUid } = stream;
    if (!isUnix) return { problem: "the connection is not over a unix socket" };
    if (peerUid === undefined || systemUserOf === undefined) {
      return { problem: "it cannot be told who is behind the socket" };
    }
    try {
      const name = await systemUserOf(peerUid);
      return name === undefined ? { problem: `there is no system user ${peerUid}` } : { name };
    } catch (error) {
      return { problem: errorText(error) };
    }
  }

  #rejectPeer(client: ClientSession, why: string): never {
    this.#note(client, `peer: ${why}`);
    throw rejection(PEER_REJECTED);
  }

  /** The log says more than the client is told. */
  #note(client: ClientSession, text: string): void {
    this.#options.log.log(`${clientLabel(client)} ${text}`);
  }
}

function rejection(words: string): PgError {
  return new PgError(SQLSTATE.invalidAuthorizationSpecification, words);
}

/** What a rule demands, as `sluice hba` says it. */
export function methodText({ clientCert, method }: HbaRule): string {
  return [
    method.kind,
    ...optionTexts(method),
    ...(clientCert === undefined ? [] : [`clientcert=${clientCert}`]),
  ].join(" ");
}

function optionTexts(method: HbaMethod): string[] {
  switch (method.kind) {
    case "ldap":
      return [ldapText(method.options)];
    case "pam":
      return [`pamservice=${method.service}`];
    default: {
      const map = mapOf(method);
      return map === undefined ? [] : [`map=${map}`];
    }
  }
}

/** Where users are looked for, and how; without the password for that. */
export function ldapText({ bind, protection, servers }: LdapOptions): string {
  const places = servers.map(({ host, port }) => {
    const scheme = protection === "ldaps" ? "ldaps" : "ldap";
    return `${scheme}://${formatAddress({ kind: "tcp", host, port })}`;
  });
  const tls = protection === "starttls" ? " by StartTLS" : "";
  const how = bind.kind === "simple"
    ? `bind as ${bind.prefix}${USER_PLACEHOLDER}${bind.suffix}`
    : `search ${bind.filter} in "${bind.baseDn}" (${bind.scope})`;
  return `${places.join(" ")}${tls}, ${how}`;
}
