/** Certificates that tests of TLS share, and contexts made of them. Made once a file: it takes time. */

import type {
  ClientTlsOptions,
  ServerTlsOptions,
  TlsContextOptions,
  TlsEngine,
  TlsStart,
  TlsVersion,
} from "../../src/net/tls.ts";
import { bundle, TestAuthority, type TestCertificate } from "./certificates.ts";

/** Of everything one, and of everything one that is no good. */
export interface TlsMaterial {
  readonly authority: TestAuthority;
  readonly otherAuthority: TestAuthority;
  /** Issued by `authority` by way of another; its chain is in the certificate. */
  readonly chained: TestCertificate;
  /** Of `db.example`, `*.wild.example`, `localhost` and 127.0.0.1. */
  readonly server: TestCertificate;
  readonly expiredServer: TestCertificate;
  readonly otherServer: TestCertificate;
  /** Of `alice`. */
  readonly client: TestCertificate;
  readonly expiredClient: TestCertificate;
  /** Of another authority. */
  readonly otherClient: TestCertificate;
}

/** Makes them all. */
export function makeTlsMaterial(): TlsMaterial {
  const authority = new TestAuthority("Authority");
  const otherAuthority = new TestAuthority("Other authority");
  const between = new TestAuthority("Authority between", { above: authority });
  const server = {
    commonName: "db.example",
    names: ["db.example", "*.wild.example", "localhost"],
    addresses: ["127.0.0.1"],
  };
  const client = { commonName: "alice", organization: "Example" };
  const chained = between.issue(server);
  return {
    authority,
    otherAuthority,
    chained: { ...chained, certificate: bundle(chained.certificate, between.certificate) },
    server: authority.issue(server),
    expiredServer: authority.issue({ ...server, isExpired: true }),
    otherServer: otherAuthority.issue(server),
    client: authority.issue(client),
    expiredClient: authority.issue({ ...client, isExpired: true }),
    otherClient: otherAuthority.issue(client),
  };
}

/** Both that everything takes. */
const MODERN_VERSIONS: readonly TlsVersion[] = ["TLSv1.2", "TLSv1.3"];

const PLAIN_CONTEXT = {
  authorities: undefined,
  revocations: undefined,
  versions: MODERN_VERSIONS,
  ciphers: undefined,
  cipherSuites: undefined,
};

/** How we are to clients, with a certificate of ours; they are not asked for theirs unless said. */
export function toClients(
  { certificate, key }: TestCertificate,
  changes: Partial<ClientTlsOptions> = {},
): ClientTlsOptions {
  return {
    ...PLAIN_CONTEXT,
    certificateChain: certificate,
    key: key.slice(),
    peer: "client",
    verification: "none",
    curves: undefined,
    dhGroup: "auto",
    ...changes,
  };
}

/** How we are to servers; nothing is verified, and no certificate shown, unless said. */
export function toServers(changes: Partial<ServerTlsOptions> = {}): ServerTlsOptions {
  return {
    ...PLAIN_CONTEXT,
    certificateChain: undefined,
    key: undefined,
    peer: "server",
    verification: "none",
    ...changes,
  };
}

/** What a context says of ourselves. */
export function identity(
  { certificate, key }: TestCertificate,
): Pick<TlsContextOptions, "certificateChain" | "key"> {
  return { certificateChain: certificate, key: key.slice() };
}

/** What a connection goes over to TLS with at both of its ends, each sure of the other. */
export function tlsOfBothEnds(
  engine: TlsEngine,
  { authority, client, server }: TlsMaterial,
): { near: TlsStart; far: TlsStart } {
  const authorities = authority.certificate;
  const toServer = toServers({ ...identity(client), authorities, verification: "name" });
  const toClient = toClients(server, { authorities, verification: "required" });
  return {
    near: { context: engine.makeContext(toServer), serverName: "db.example" },
    far: { context: engine.makeContext(toClient) },
  };
}
