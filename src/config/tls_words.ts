/**
 * The words of the TLS settings, as PgBouncer reads them, in the words that OpenSSL has. Pure.
 * Source: PgBouncer, "Configuration", `client_tls_protocols` and its neighbours.
 */

/** A version, as OpenSSL spells it. */
export type TlsVersionName = "TLSv1" | "TLSv1.1" | "TLSv1.2" | "TLSv1.3";

const ALL: readonly TlsVersionName[] = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

const SECURE: readonly TlsVersionName[] = ["TLSv1.2", "TLSv1.3"];

const VERSION_WORDS: ReadonlyMap<string, readonly TlsVersionName[]> = new Map([
  ["all", ALL],
  ["legacy", ALL],
  ["tlsv1", ALL],
  ["secure", SECURE],
  ["default", SECURE],
  ["tlsv1.0", ["TLSv1"]],
  ["tlsv1.1", ["TLSv1.1"]],
  ["tlsv1.2", ["TLSv1.2"]],
  ["tlsv1.3", ["TLSv1.3"]],
]);

/** Short words for lists of ciphers; undefined: what the library has by itself. */
const CIPHER_WORDS: ReadonlyMap<string, string | undefined> = new Map([
  ["", undefined],
  ["default", undefined],
  ["secure", undefined],
  ["fast", undefined],
  ["normal", undefined],
  ["compat", "HIGH:!aNULL"],
  ["legacy", "HIGH:MEDIUM:!aNULL"],
  ["all", "ALL:!aNULL:!eNULL"],
  ["insecure", "ALL:!aNULL:!eNULL"],
]);

/** Versions, oldest first, that a list allows: words behind `,` or `:`, with `!` taken away again. */
export function tlsVersionsOf(text: string): readonly TlsVersionName[] {
  const allowed = readVersions(text);
  return typeof allowed === "string" ? [] : allowed;
}

/** What is wrong with such a list; undefined if nothing is. */
export function tlsVersionsProblem(text: string): string | undefined {
  const allowed = readVersions(text);
  if (typeof allowed === "string") return allowed;
  return allowed.length > 0 ? undefined : "no version of TLS is left";
}

/** OpenSSL's list for a word, or the list itself; undefined: the library's own. */
export function tlsCiphersOf(text: string): string | undefined {
  const word = text.toLowerCase();
  return CIPHER_WORDS.has(word) ? CIPHER_WORDS.get(word) : text;
}

/** OpenSSL's list of curves; undefined: the library's own. */
export function tlsCurvesOf(text: string): string | undefined {
  return text === "" || text.toLowerCase() === "auto" ? undefined : text;
}

/** What is wrong with a curve, as far as that can be told without the library. */
export function tlsCurvesProblem(text: string): string | undefined {
  if (text.toLowerCase() !== "none") return undefined;
  return 'expected "auto" or names of curves: without one there is no TLS 1.3';
}

/** The versions, or what is wrong. */
function readVersions(text: string): readonly TlsVersionName[] | string {
  let allowed = new Set<TlsVersionName>();
  for (const [at, item] of text.split(/[,:]/).entries()) {
    const [, not, word = ""] = /^\s*(!?)\s*(.*?)\s*$/s.exec(item) ?? [];
    const versions = VERSION_WORDS.get(word.toLowerCase());
    if (versions === undefined) {
      return `expected ${[...VERSION_WORDS.keys()].join(", ")}, or several of them, found ${
        JSON.stringify(word)
      }`;
    }
    if (not === "") allowed = allowed.union(new Set(versions));
    else allowed = (at === 0 ? new Set(ALL) : allowed).difference(new Set(versions));
  }
  return ALL.filter((version) => allowed.has(version));
}
