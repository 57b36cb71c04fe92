/**
 * The TLS contexts in force. A reload makes new ones first, of the files as they are by then, and
 * puts them in force if all else is good; new connections use those. A context of which neither
 * settings nor files have changed is kept.
 */

import type { Config } from "../config/config.ts";
import type { ServerTlsSettings } from "../config/settings.ts";
import { errorText } from "../base/error_text.ts";
import { isOptional } from "../config/tls_needs.ts";
import { NoTls } from "../net/no_tls.ts";
import {
  type TlsContext,
  type TlsContextOptions,
  type TlsEngine,
  TlsSetupError,
} from "../net/tls.ts";
import { culpritOf } from "./tls_culprit.ts";
import {
  clientTlsFiles,
  clientTlsOptions,
  type ClientTlsSettings,
  type NamedFile,
  type OwnCertificate,
  ownCertificate,
  type ReadTlsFile,
  serverTlsFiles,
  serverTlsOptions,
  TlsFiles,
} from "./tls_files.ts";

/** What contexts are made with. */
export interface TlsContextsOptions {
  readonly engine: TlsEngine;
  readonly read: ReadTlsFile;
  /** What the databases of a configuration have, once each; those without TLS may be among them. */
  readonly serverSettingsOf: (config: Config) => Iterable<ServerTlsSettings>;
}

/** One context, and what is to be known of it. */
export interface TlsSetup {
  readonly context: TlsContext;
  /** The certificate that we show; undefined if we have none. */
  readonly certificate: OwnCertificate | undefined;
  /** What was read for it, by what tells one content from another. */
  readonly digests: readonly FileDigest[];
  /** The same as long as settings and files are the same. */
  readonly fingerprint: string;
}

/** A file that was read. */
export interface FileDigest extends NamedFile {
  readonly digest: string;
}

/** Contexts that are ready; disposed of, those that are new are gone, unless they are in force. */
export interface PreparedTls extends Disposable {
  readonly client: TlsSetup | undefined;
  /** As `TlsContexts.serverFor()`. */
  serverFor(settings: ServerTlsSettings): TlsSetup | undefined;
  /** All files read. */
  readonly digests: readonly FileDigest[];
  putInForce(): void;
}

/** What is in force at one moment. */
interface Setups {
  readonly client: TlsSetup | undefined;
  /** By their settings. */
  readonly servers: ReadonlyMap<string, TlsSetup>;
}

const NOTHING: Setups = { client: undefined, servers: new Map() };

/** Holds the contexts in force. */
export class TlsContexts implements Disposable {
  readonly #options: TlsContextsOptions;
  #setups = NOTHING;
  /** How many hold each one, if any. */
  readonly #holds = new Map<TlsSetup, number>();

  constructor(options: TlsContextsOptions) {
    this.#options = options;
  }

  /** For TLS with clients; undefined: there is none. */
  get client(): TlsSetup | undefined {
    return this.#setups.client;
  }

  /**
   * For TLS with servers by these settings; undefined: there is none, or none is spoken here.
   * Settings that were not part of the configuration when it was taken over have none.
   */
  serverFor(settings: ServerTlsSettings): TlsSetup | undefined {
    return this.#setups.servers.get(serverKey(settings));
  }

  /** Keeps a setup good for new connections, though it is in force no longer, until disposed of. */
  hold(setup: TlsSetup): Disposable {
    this.#holds.set(setup, (this.#holds.get(setup) ?? 0) + 1);
    // Of a stack, since that lets go once, however often it is disposed of.
    const hold = new DisposableStack();
    hold.defer(() => this.#letGo(setup));
    return hold;
  }

  #letGo(setup: TlsSetup): void {
    const count = this.#holds.get(setup)! - 1;
    if (count > 0) {
      this.#holds.set(setup, count);
      return;
    }
    this.#holds.delete(setup);
    if (!all(this.#setups).includes(setup)) setup.context[Symbol.dispose]();
  }

  /** Whether TLS is spoken here at all. */
  get isSpoken(): boolean {
    return !(this.#options.engine instanceof NoTls);
  }

  /** All files as they were read. */
  get digests(): readonly FileDigest[] {
    return digestsOf(this.#setups);
  }

  /** The certificates that we show, each once. */
  get certificates(): readonly OwnCertificate[] {
    const byPath = new Map<string, OwnCertificate>();
    for (const { certificate } of all(this.#setups)) {
      if (certificate !== undefined) byPath.set(certificate.file.path, certificate);
    }
    return [...byPath.values()];
  }

  /** Whether a configuration means the contexts that are in force. */
  isMeantBy(config: Config, inForce: Config): boolean {
    const { serverSettingsOf } = this.#options;
    const keys = (each: Config) => [...serverSettingsOf(each)].map(serverKey).sort().join("\n");
    return clientKey(config.settings) === clientKey(inForce.settings) &&
      keys(config) === keys(inForce);
  }

  /**
   * Reads the files of a configuration and makes what is to be in force with it.
   * @throws {TlsSetupError} If anything is no good, with a line for each such thing.
   */
  async prepare(config: Config): Promise<PreparedTls> {
    const { read, serverSettingsOf } = this.#options;
    const used = [...serverSettingsOf(config)].filter((each) => this.#isUsed(each));
    const servers = new Map(used.map((each) => [serverKey(each), each]));
    const wanted = [
      ...clientTlsFiles(config.settings),
      ...[...servers.values()].flatMap(serverTlsFiles),
    ];
    using files = await TlsFiles.read(wanted, read);
    using made = new DisposableStack();
    const make = (key: string, parts: SetupParts) => this.#setUp(key, { ...parts, files, made });
    const { settings } = config;
    const client = make(clientKey(settings), {
      options: clientTlsOptions(settings, files),
      named: clientTlsFiles(settings),
    });
    const serverSetups = new Map<string, TlsSetup>();
    for (const [key, each] of servers) {
      const options = serverTlsOptions(each, files);
      const setup = make(key, { options, named: serverTlsFiles(each) });
      if (setup !== undefined) serverSetups.set(key, setup);
    }
    return this.#prepared({ client, servers: serverSetups }, made.move());
  }

  /** Ends all: connections go on with theirs. */
  [Symbol.dispose](): void {
    this.#replace(NOTHING);
  }

  /** As in libpq: who need not speak TLS does without where there is none. */
  #isUsed({ serverTlsSslmode }: ServerTlsSettings): boolean {
    return this.isSpoken || !isOptional(serverTlsSslmode);
  }

  #prepared(setups: Setups, made: DisposableStack): PreparedTls {
    return {
      client: setups.client,
      serverFor: (settings) => setups.servers.get(serverKey(settings)),
      digests: digestsOf(setups),
      putInForce: () => {
        this.#replace(setups);
        // They are the holder's from now on.
        made.move();
      },
      [Symbol.dispose]: () => made.dispose(),
    };
  }

  #replace(setups: Setups): void {
    const kept = new Set(all(setups));
    const old = all(this.#setups).filter((setup) => !kept.has(setup) && !this.#holds.has(setup));
    this.#setups = setups;
    for (const { context } of old) context[Symbol.dispose]();
  }

  #setUp(
    key: string,
    { files, made, named, options }: SetupParts & { files: TlsFiles; made: DisposableStack },
  ): TlsSetup | undefined {
    if (options === undefined) return undefined;
    const digests = named.map((file) => ({ ...file, digest: files.digest(file.path) }));
    const fingerprint = `${key}\n${digests.map(({ digest }) => digest).join("\n")}`;
    const known = all(this.#setups).find((setup) => setup.fingerprint === fingerprint);
    if (known !== undefined) return known;
    const context = made.use(this.#make(options, named));
    return { context, certificate: ownCertificate(named, files), digests, fingerprint };
  }

  #make(options: TlsContextOptions, named: readonly NamedFile[]): TlsContext {
    const { engine } = this.#options;
    try {
      return engine.makeContext(options);
    } catch (error) {
      if (!(error instanceof TlsSetupError)) throw error;
      const culprit = culpritOf(engine, options, named);
      throw new TlsSetupError(`TLS setup failed: ${culprit}: ${errorText(error)}`);
    }
  }
}

/** What one setup is made of. */
interface SetupParts {
  readonly options: TlsContextOptions | undefined;
  readonly named: readonly NamedFile[];
}

function all({ client, servers }: Setups): TlsSetup[] {
  return [...client === undefined ? [] : [client], ...servers.values()];
}

function digestsOf(setups: Setups): FileDigest[] {
  return all(setups).flatMap(({ digests }) => digests);
}

/** Settings of another kind may be in the object. */
function keyOf(settings: object, side: "clientTls" | "serverTls"): string {
  const entries = Object.entries(settings).filter(([name]) => name.startsWith(side));
  return JSON.stringify(entries.sort(([a], [b]) => a < b ? -1 : 1));
}

function clientKey(settings: ClientTlsSettings): string {
  return keyOf(settings, "clientTls");
}

function serverKey(settings: ServerTlsSettings): string {
  return keyOf(settings, "serverTls");
}
