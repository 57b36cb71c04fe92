/**
 * What a certificate says of itself: whose it is, and until when. Pure; whether it is to be believed
 * is told by who speaks TLS.
 * Source: RFC 5280 section 4.1; X.520 for names; RFC 7468 for PEM.
 */

import { CertificateError, DerReader, Tag } from "./der_reader.ts";

/** What is read of a certificate. */
export interface CertificateFacts {
  /** The CN attributes of its subject, in order. */
  readonly commonNames: readonly string[];
  /** Wall clock, in ms: when it begins and when it ceases to be valid. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

const COMMON_NAME = "2.5.4.3";

/** Version, and the tags of times. */
const Explicit = { version: 0xa0, utcTime: 0x17, generalizedTime: 0x18 } as const;

/** Reads a certificate in DER. @throws {CertificateError} If the bytes are none. */
export function certificateFacts(certificate: Uint8Array): CertificateFacts {
  const parts = new DerReader(certificate).take(Tag.sequence).take(Tag.sequence);
  if (parts.has(Explicit.version)) parts.take(Explicit.version);
  parts.take(Tag.integer);
  // Algorithm and issuer.
  parts.take(Tag.sequence);
  parts.take(Tag.sequence);
  const validity = parts.take(Tag.sequence);
  const notBeforeMs = readTime(validity);
  const notAfterMs = readTime(validity);
  return { commonNames: readCommonNames(parts.take(Tag.sequence)), notBeforeMs, notAfterMs };
}

/** A name is a sequence of sets of attributes; most sets have one. */
function readCommonNames(subject: DerReader): string[] {
  const names: string[] = [];
  while (subject.has(Tag.set)) {
    const set = subject.take(Tag.set);
    while (set.has(Tag.sequence)) {
      const attribute = set.take(Tag.sequence);
      const isName = attribute.takeOid() === COMMON_NAME;
      const value = attribute.takeAny();
      if (value === undefined) throw new CertificateError("not a certificate: a name is cut short");
      if (isName) names.push(readString(value));
    }
    set.expectEnd();
  }
  subject.expectEnd();
  return names;
}

/** Kinds of text, by their encoding; what is no text of its kind is no name. */
const ENCODINGS: ReadonlyMap<number, string> = new Map([
  [0x0c, "utf-8"],
  [0x12, "utf-8"],
  [0x13, "utf-8"],
  [0x16, "utf-8"],
  [0x1a, "utf-8"],
  [0x14, "iso-8859-1"],
  [0x1e, "utf-16be"],
]);

function readString({ content, tag }: { tag: number; content: Uint8Array }): string {
  const encoding = ENCODINGS.get(tag);
  if (encoding === undefined) {
    throw new CertificateError(`not a certificate: a name of type ${tag}`);
  }
  try {
    return new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(content);
  } catch {
    // Its bytes are of no text, which is all that can be said of them.
    throw new CertificateError(`not a certificate: a name that is not ${encoding}`);
  }
}

/** Two digits of the year until 2049, four from then on; always UTC, always with seconds. */
function readTime(validity: DerReader): number {
  const isShort = validity.has(Explicit.utcTime);
  const time = validity.take(isShort ? Explicit.utcTime : Explicit.generalizedTime);
  const text = new TextDecoder().decode(time.rest());
  const [, year = "", rest = ""] = (isShort ? /^(\d\d)(\d{10})Z$/ : /^(\d{4})(\d{10})Z$/)
    .exec(text) ?? [];
  if (year === "") throw new CertificateError(`not a certificate: a time ${JSON.stringify(text)}`);
  const century = !isShort ? "" : year < "50" ? "20" : "19";
  const [month, day, hour, minute, second] = rest.match(/../g)!;
  return Date.parse(`${century}${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}

/** Kinds of PEM blocks. */
export type PemKind = "certificate" | "revocations";

const LABELS: Readonly<Record<PemKind, RegExp>> = {
  certificate: /^(?:X509 |TRUSTED )?CERTIFICATE$/,
  revocations: /^X509 CRL$/,
};

/** The contents of all blocks of a kind in PEM text, in order; what is between them is not read. */
export function pemBlocks(text: string, kind: PemKind): string[] {
  const blocks = text.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----\s*([\s\S]*?)-----END \1-----/g);
  return [...blocks].filter(([, label]) => LABELS[kind].test(label!)).map(([, , body]) => body!);
}

/** The first certificate of PEM text, in DER. @throws {CertificateError} If there is none. */
export function firstCertificate(text: string): Uint8Array<ArrayBuffer> {
  const [block] = pemBlocks(text, "certificate");
  if (block === undefined) throw new CertificateError("there is no certificate in it (PEM)");
  try {
    return Uint8Array.from(atob(block.replace(/\s/g, "")), (character) => character.charCodeAt(0));
  } catch {
    throw new CertificateError("its first certificate is not base64 (PEM)");
  }
}
