import assert from "node:assert/strict";
import { culpritOf } from "../../../src/app/tls_culprit.ts";
import {
  type ClientTlsOptions,
  type TlsContextOptions,
  type TlsEngine,
  TlsSetupError,
} from "../../../src/net/tls.ts";

const BYTES = new Uint8Array(1);

const OPTIONS: ClientTlsOptions = {
  peer: "client",
  certificateChain: BYTES,
  key: BYTES,
  authorities: BYTES,
  revocations: BYTES,
  versions: ["TLSv1.1"],
  ciphers: "HIGH",
  cipherSuites: "TLS_A",
  verification: "required",
  curves: "P-1",
  dhGroup: "legacy",
};

const NAMED = [
  { setting: "client_tls_cert_file", kind: "certificate", path: "a.crt" },
  { setting: "client_tls_key_file", kind: "key", path: "a.key" },
  { setting: "client_tls_ca_file", kind: "authorities", path: "ca.crt" },
  { setting: "client_tls_crl_file", kind: "revocations", path: "ca.crl" },
] as const;

/** Refuses what is meant; how many contexts are left open is counted. */
class Refusing implements TlsEngine {
  readonly name = "refusing";
  openCount = 0;
  readonly #isBad: (options: TlsContextOptions) => boolean;

  constructor(isBad: (options: TlsContextOptions) => boolean) {
    this.#isBad = isBad;
  }

  makeContext(options: TlsContextOptions) {
    if (this.#isBad(options)) throw new TlsSetupError("no good");
    this.openCount += 1;
    return { peer: options.peer, [Symbol.dispose]: () => void (this.openCount -= 1) };
  }
}

const CASES: readonly (readonly [string, (options: ClientTlsOptions) => boolean])[] = [
  ["client_tls_ciphers HIGH", ({ ciphers }) => ciphers !== undefined],
  ["client_tls13_ciphers TLS_A", ({ cipherSuites }) => cipherSuites !== undefined],
  ["client_tls_ecdhcurve P-1", ({ curves }) => curves !== undefined],
  ["client_tls_dheparams legacy", ({ dhGroup }) => dhGroup !== "auto"],
  ["client_tls_protocols", ({ versions }) => versions.length === 1],
  ["client_tls_crl_file ca.crl", ({ revocations }) => revocations !== undefined],
  ["client_tls_ca_file ca.crt", ({ authorities }) => authorities !== undefined],
  ["client_tls_cert_file a.crt, client_tls_key_file a.key", () => true],
];

for (const [culprit, isBad] of CASES) {
  Deno.test(`culpritOf() names ${culprit}`, () => {
    const engine = new Refusing((options) => isBad(options as ClientTlsOptions));
    assert.equal(culpritOf(engine, OPTIONS, NAMED), culprit);
    assert.equal(engine.openCount, 0);
  });
}

Deno.test("culpritOf() names the mode where nothing else is set", () => {
  const bare = {
    ...OPTIONS,
    peer: "server",
    verification: "none",
    authorities: undefined,
    revocations: undefined,
  } as const;
  assert.equal(culpritOf(new Refusing(() => true), bare, []), "server_tls_sslmode");
});
