/** A whole pooler in memory whose clients may have TLS. */

import { errorText } from "../../src/base/error_text.ts";
import type { TlsContext } from "../../src/net/tls.ts";
import { bundle, type TestCertificate } from "./certificates.ts";
import { PoolerWorld, type WorldOptions } from "./pooler_world.ts";
import { SimTls } from "./sim_tls_context.ts";
import type { LoginOptions, TestClient } from "./test_client.ts";
import { identity, type TlsMaterial, toServers } from "./tls_material.ts";

/** What a world has beside the usual. */
export interface TlsWorldOptions extends WorldOptions {
  /** `client_tls_sslmode`; `require` unless said. */
  readonly sslmode?: string;
  /** Whether there is a `client_tls_ca_file`; only where the mode needs it, unless said. */
  readonly hasAuthority?: boolean;
}

/** How a client goes over to TLS. */
export interface TlsClientOptions {
  /** What it shows, and its key. */
  readonly certificate?: TestCertificate;
  /** Whether it begins by a handshake, without asking. */
  readonly isDirect?: boolean;
  /** What it asks for by ALPN; as PostgreSQL's clients, unless said. */
  readonly protocols?: readonly string[];
}

/** Names of files, by what they are. */
export const TLS_FILES = { certificate: "own.crt", key: "own.key", authority: "ca.crt" } as const;

/** The settings of TLS. */
export function tlsLines({ hasAuthority, sslmode = "require" }: TlsWorldOptions): string {
  const isVerifying = sslmode.startsWith("verify-");
  return [
    `client_tls_sslmode = "${sslmode}"`,
    `client_tls_cert_file = "${TLS_FILES.certificate}"`,
    `client_tls_key_file = "${TLS_FILES.key}"`,
    ...(hasAuthority ?? isVerifying ? [`client_tls_ca_file = "${TLS_FILES.authority}"`] : []),
    "",
  ].join("\n");
}

/** The files that those name. */
export function tlsFiles(material: TlsMaterial): Record<string, Uint8Array<ArrayBuffer>> {
  return {
    [TLS_FILES.certificate]: bundle(material.server.certificate, material.authority.certificate),
    [TLS_FILES.key]: material.server.key,
    [TLS_FILES.authority]: material.authority.certificate,
  };
}

/** Starts a pooler with TLS. */
export function openTlsWorld(
  material: TlsMaterial,
  options: TlsWorldOptions = {},
): Promise<PoolerWorld> {
  return PoolerWorld.open({
    tlsFiles: tlsFiles(material),
    ...options,
    pooler: tlsLines(options) + (options.pooler ?? ""),
  });
}

/** What a client speaks TLS with. */
export function clientContext({ certificate, protocols }: TlsClientOptions = {}): TlsContext {
  const tls = protocols === undefined ? new SimTls() : new SimTls({ protocols });
  return tls.makeContext(toServers(certificate === undefined ? {} : identity(certificate)));
}

/** Connects by TLS. @throws If the pooler has none, or wants none. */
export async function connectByTls(
  world: PoolerWorld,
  options: TlsClientOptions = {},
): Promise<TestClient> {
  const client = await world.connect();
  const context = clientContext(options);
  if (options.isDirect === true) {
    await client.startTls(context);
    return client;
  }
  const answer = await client.requestTls(context);
  if (answer !== "S") throw new Error(`SSLRequest was answered by ${answer}`);
  return client;
}

/** As `TestClient.outcome()`, over TLS; or why there was no answer. */
export async function outcomeByTls(
  world: PoolerWorld,
  login: LoginOptions,
  options: TlsClientOptions = {},
): Promise<string> {
  const client = await connectByTls(world, options);
  try {
    return await client.outcome(login);
  } catch (error) {
    // Whom the handshake does not let in may learn that only now.
    return errorText(error);
  } finally {
    await world.settle();
  }
}
