/** What contexts for TLS are made of, and which are in force when. */

import assert from "node:assert/strict";
import { TlsContexts } from "../../../src/app/tls_contexts.ts";
import type { Config } from "../../../src/config/config.ts";
import { allServerTls, serverTlsOf } from "../../../src/config/effective_settings.ts";
import type { Settings } from "../../../src/config/settings.ts";
import { defaultSettings } from "../../../src/config/validate.ts";
import { tlsServerEndPoint } from "../../../src/auth/channel_binding.ts";
import { NoTls } from "../../../src/net/no_tls.ts";
import type { ClientTlsOptions, ServerTlsOptions, TlsEngine } from "../../../src/net/tls.ts";
import { bundle, encryptedKey, TestAuthority } from "../../support/certificates.ts";
import { FakeTls } from "../../support/fake_tls.ts";
import { loadToml } from "../config/memory_files.ts";

const AUTHORITY = new TestAuthority("Authority");
const OWN = AUTHORITY.issue({ commonName: "sluice" });
const NEXT = AUTHORITY.issue({ commonName: "sluice" });

type Files = Record<string, Uint8Array<ArrayBuffer>>;

function filesOf(): Files {
  return {
    "own.crt": bundle(OWN.certificate, AUTHORITY.certificate),
    "own.key": OWN.key,
    "ca.crt": AUTHORITY.certificate,
    "ca.crl": AUTHORITY.revoke(),
  };
}

function configOf(changes: Partial<Settings>): Config {
  const settings = defaultSettings({
    serverTlsSslmode: "disable",
    clientTlsSslmode: "require",
    clientTlsCertFile: "own.crt",
    clientTlsKeyFile: "own.key",
    ...changes,
  });
  const empty = { databases: new Map(), users: new Map(), peers: new Map(), servers: new Map() };
  return { path: "config.toml", settings, ...empty, warnings: [], files: [] };
}

/** Contexts by these files, of which each read makes a copy. */
function contextsBy(files: Files) {
  const engine = new FakeTls();
  const read: Uint8Array<ArrayBuffer>[] = [];
  const contexts = new TlsContexts({
    engine,
    read: (path) => {
      const bytes = files[path];
      if (bytes === undefined) return Promise.reject(new Error("No such file or directory"));
      read.push(new Uint8Array(bytes));
      return Promise.resolve(read.at(-1)!);
    },
    serverSettingsOf: ({ settings }) => [settings],
  });
  return { contexts, engine, read };
}

/** What the context of a configuration is made with. */
async function optionsFor(changes: Partial<Settings>): Promise<ClientTlsOptions | undefined> {
  const { contexts, engine } = contextsBy(filesOf());
  using _prepared = await contexts.prepare(configOf(changes));
  return engine.made[0]?.options as ClientTlsOptions | undefined;
}

Deno.test("TlsContexts makes nothing and reads nothing without TLS", async () => {
  const { contexts, engine, read } = contextsBy({});
  using prepared = await contexts.prepare(configOf({ clientTlsSslmode: "disable" }));
  assert.deepEqual([prepared.client, engine.made.length, read.length], [undefined, 0, 0]);
});

Deno.test("TlsContexts asks clients for certificates as the mode says, and where it can look at them", async () => {
  const withAuthority = { clientTlsCaFile: "ca.crt" };
  const expected = [
    ["allow", {}, "none"],
    ["require", {}, "none"],
    ["prefer", withAuthority, "optional"],
    ["require", withAuthority, "optional"],
    ["verify-ca", withAuthority, "required"],
    ["verify-full", withAuthority, "required"],
  ] as const;
  for (const [clientTlsSslmode, more, verification] of expected) {
    const options = await optionsFor({ clientTlsSslmode, ...more });
    assert.equal(options?.verification, verification, clientTlsSslmode);
  }
});

Deno.test("TlsContexts hands settings over in OpenSSL's words", async () => {
  const usual = await optionsFor({});
  assert.deepEqual(usual?.versions, ["TLSv1.2", "TLSv1.3"]);
  assert.deepEqual(
    [usual?.ciphers, usual?.cipherSuites, usual?.curves, usual?.dhGroup],
    [undefined, undefined, undefined, "auto"],
  );
  const other = await optionsFor({
    clientTlsProtocols: "tlsv1.3",
    clientTlsCiphers: "HIGH",
    clientTls13Ciphers: "TLS_AES_128_GCM_SHA256",
    clientTlsEcdhcurve: "secp384r1",
    clientTlsDheparams: "legacy",
  });
  assert.deepEqual(other?.versions, ["TLSv1.3"]);
  assert.deepEqual(
    [other?.ciphers, other?.cipherSuites, other?.curves, other?.dhGroup],
    ["HIGH", "TLS_AES_128_GCM_SHA256", "secp384r1", "legacy"],
  );
});

Deno.test("TlsContexts wipes keys when the contexts are made, and when they cannot be", async () => {
  const { contexts, engine, read } = contextsBy(filesOf());
  using _prepared = await contexts.prepare(configOf({}));
  const zeros = () => read.filter((bytes) => bytes.every((byte) => byte === 0)).length;
  assert.deepEqual([read.length, zeros()], [2, 1]);
  engine.failure = "key values mismatch";
  await assert.rejects(contexts.prepare(configOf({ clientTlsCaFile: "ca.crt" })));
  assert.deepEqual([read.length, zeros()], [5, 2]);
});

Deno.test("TlsContexts says of each file by name what is wrong with it", async () => {
  const files = { ...filesOf(), "bad.crt": AUTHORITY.revoke(), "bad.key": OWN.certificate };
  const { contexts, engine } = contextsBy(files);
  const message = async (changes: Partial<Settings>) => {
    const failed = await contexts.prepare(configOf(changes)).catch((error: Error) => error);
    assert.ok(failed instanceof Error);
    return failed.message.split("\n");
  };
  assert.deepEqual(await message({ clientTlsCertFile: "none.crt", clientTlsCaFile: "bad.crt" }), [
    "TLS setup failed: client_tls_cert_file none.crt: No such file or directory",
    "TLS setup failed: client_tls_ca_file bad.crt: there is no certificate in it (PEM)",
  ]);
  assert.deepEqual(await message({ clientTlsKeyFile: "bad.key", clientTlsCrlFile: "ca.crt" }), [
    "TLS setup failed: client_tls_key_file bad.key: there is no private key in it (PEM)",
    "TLS setup failed: client_tls_crl_file ca.crt: there is no revocation list in it (PEM)",
  ]);
  files["bad.key"] = encryptedKey(OWN, "secret");
  assert.deepEqual(await message({ clientTlsKeyFile: "bad.key" }), [
    "TLS setup failed: client_tls_key_file bad.key: the key is encrypted, and there is nobody to ask for the password",
  ]);
  engine.failure = "key values mismatch";
  assert.deepEqual(await message({}), [
    "TLS setup failed: client_tls_cert_file own.crt, client_tls_key_file own.key: key values mismatch",
  ]);
});

Deno.test("TlsContexts knows of our own certificate what logins are bound to and when it ends", async () => {
  const { contexts } = contextsBy(filesOf());
  using prepared = await contexts.prepare(configOf({}));
  const certificate = prepared.client?.certificate;
  assert.deepEqual(certificate?.endPoint, tlsServerEndPoint(OWN.der));
  assert.equal(new Date(certificate!.notAfterMs).getUTCFullYear(), 2049);
  prepared.putInForce();
  assert.deepEqual(contexts.certificates, [certificate]);
});

Deno.test("TlsContexts keeps a context while settings and files are the same, and replaces it else", async () => {
  const files = filesOf();
  const { contexts, engine } = contextsBy(files);
  const take = async (changes: Partial<Settings> = {}) => {
    using prepared = await contexts.prepare(configOf(changes));
    prepared.putInForce();
    return contexts.client?.context;
  };
  const first = await take();
  assert.equal(await take(), first);
  Object.assign(files, { "own.crt": NEXT.certificate, "own.key": NEXT.key });
  const second = await take();
  assert.notEqual(second, first);
  assert.deepEqual(engine.live, [second]);
  const third = await take({ clientTlsProtocols: "tlsv1.3" });
  assert.deepEqual(engine.live, [third]);
  contexts[Symbol.dispose]();
  assert.deepEqual([engine.live.length, contexts.client], [0, undefined]);
});

Deno.test("TlsContexts gives up what was made ready and not taken, and keeps what is in force", async () => {
  const { contexts, engine } = contextsBy(filesOf());
  {
    using prepared = await contexts.prepare(configOf({}));
    prepared.putInForce();
  }
  const { client } = contexts;
  {
    using _unused = await contexts.prepare(configOf({ clientTlsCiphers: "HIGH" }));
    using _same = await contexts.prepare(configOf({}));
    assert.equal(engine.live.length, 2);
  }
  assert.equal(contexts.client, client);
  assert.deepEqual(engine.live, [client?.context]);
});

Deno.test("TlsContexts has one context for all databases with the same settings for servers", async () => {
  const engine = new FakeTls();
  const files = filesOf();
  const own = defaultSettings({ serverTlsSslmode: "verify-full", serverTlsCaFile: "ca.crt" });
  const contexts = new TlsContexts({
    engine,
    read: (path) => Promise.resolve(new Uint8Array(files[path]!)),
    serverSettingsOf: ({ settings }) => [settings, own, { ...own }, { ...own, listenPort: 1 }],
  });
  const config = configOf({ serverTlsSslmode: "require", clientTlsSslmode: "disable" });
  using prepared = await contexts.prepare(config);
  prepared.putInForce();
  const verification = (settings: Settings) => {
    const made = engine.made.find((each) => each === contexts.serverFor(settings)?.context);
    return (made?.options as ServerTlsOptions | undefined)?.verification;
  };
  assert.equal(engine.made.length, 2);
  assert.equal(verification(own), "name");
  assert.equal(verification(config.settings), "none");
  assert.equal(contexts.serverFor(defaultSettings()), undefined);
});

/** Contexts as a pooler has them. */
function contextsOfDatabases(engine: TlsEngine): TlsContexts {
  return new TlsContexts({
    engine,
    read: () => Promise.resolve(new Uint8Array(AUTHORITY.certificate)),
    serverSettingsOf: allServerTls,
  });
}

const ALL_ALIKE = `[pooler]
server_tls_sslmode = "verify-full"
server_tls_ca_file = "ca"
[databases."*"]
host = "db.example"
`;

const WITH_OTHERS = `${ALL_ALIKE}[databases.own]
host = "db.example"
server_tls_ca_file = "other"
[databases.b]
host = "b"
[databases.c]
host = "c"
`;

Deno.test("databases that say the same of TLS share a context", async () => {
  const engine = new FakeTls();
  const config = await loadToml(WITH_OTHERS);
  using prepared = await contextsOfDatabases(engine).prepare(config);
  assert.equal(engine.made.length, 2);
  const of = (name: string) => prepared.serverFor(serverTlsOf(config, name));
  assert.equal(of("b"), of("c"));
  assert.notEqual(of("b"), of("own"));
});

Deno.test("where no TLS is spoken, those do without who may, and the others are refused", async () => {
  const contexts = contextsOfDatabases(new NoTls("no library"));
  const own = (mode: string) =>
    `server_tls_sslmode = "disable"\n[databases.a]\nhost = "a"\nserver_tls_sslmode = "${mode}"`;
  for (const mode of ["disable", "allow", "prefer"]) {
    using prepared = await contexts.prepare(await loadToml(`[pooler]\n${own(mode)}`));
    assert.equal(prepared.client, undefined);
  }
  const config = await loadToml(`[pooler]\n${own("require")}`);
  await assert.rejects(contexts.prepare(config), /TlsSetupError: .*no library/);
});

Deno.test("a context that is held is good until it is let go, though another is in force", async () => {
  const engine = new FakeTls();
  const config = await loadToml(ALL_ALIKE);
  const contexts = contextsOfDatabases(engine);
  using prepared = await contexts.prepare(config);
  prepared.putInForce();
  const setup = contexts.serverFor(serverTlsOf(config, "app"))!;
  const [one, two] = [contexts.hold(setup), contexts.hold(setup)];
  contexts[Symbol.dispose]();
  one[Symbol.dispose]();
  one[Symbol.dispose]();
  assert.equal(engine.live.length, 1);
  two[Symbol.dispose]();
  assert.equal(engine.live.length, 0);
});
