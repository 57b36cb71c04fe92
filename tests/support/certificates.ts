/**
 * Certificates for tests, made in memory (RFC 5280): authorities, what they issue, and what they
 * have revoked. Their times are fixed, so that nothing depends on the day of the run but that it is
 * before 2049. Keys are on curve P-256 unless asked for otherwise, since those are quick to make.
 */

import { Buffer } from "node:buffer";
import { createPrivateKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import {
  bits,
  type Der,
  explicit,
  integer,
  objectId,
  octets,
  sequence,
  setOf,
  tagged,
  truth,
  utcTime,
  utf8String,
} from "./der.ts";
import { utf8 } from "./messages.ts";

const OIDS = {
  commonName: "2.5.4.3",
  organization: "2.5.4.10",
  keyUsage: "2.5.29.15",
  alternativeNames: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  crlNumber: "2.5.29.20",
} as const;

/** ECDSA, by the hash that is signed. */
const SIGNATURES = { sha256: "1.2.840.10045.4.3.2", sha384: "1.2.840.10045.4.3.3" } as const;

/**
 * How the signature of a certificate begins that has the commonest of the lengths of ECDSA on curve
 * P-256, and where, from the end. Those of one kind are equally long, so that a simulation that
 * sends them can be repeated.
 */
const SIGNATURE = { tag: 0x03, length: 72, at: -74 } as const;

const BEGINNING = new Date("2020-01-01T00:00:00Z");
const SOON_OVER = new Date("2021-01-01T00:00:00Z");
const END = new Date("2049-12-31T00:00:00Z");

/** What a certificate says of its owner. */
export interface CertificateOptions {
  readonly commonName: string;
  readonly organization?: string;
  /** Names and IPv4 addresses that it is good for, beside the common name that few look at. */
  readonly names?: readonly string[];
  readonly addresses?: readonly string[];
  /** Whether its time was over years ago. */
  readonly isExpired?: boolean;
  /** When its time is over, if not then and not in long. */
  readonly notAfter?: Date;
  readonly keyKind?: "ec" | "rsa";
}

/** A certificate with its key. */
export interface TestCertificate {
  /** PEM, as contexts take it. */
  readonly certificate: Uint8Array<ArrayBuffer>;
  readonly key: Uint8Array<ArrayBuffer>;
  readonly der: Der;
  readonly serial: number;
}

/** What issues certificates. */
export class TestAuthority {
  /** Its own certificate, signed by itself or by the authority above it; PEM. */
  readonly certificate: Uint8Array<ArrayBuffer>;
  readonly #commonName: string;
  readonly #keys: KeyPair;
  readonly #serial: number;
  readonly #der: Der;
  readonly #hash: keyof typeof SIGNATURES;
  #lastSerial = 1_000;

  constructor(
    commonName: string,
    { above, hash = "sha256" }: { above?: TestAuthority; hash?: keyof typeof SIGNATURES } = {},
  ) {
    this.#commonName = commonName;
    this.#hash = hash;
    this.#keys = generateKeys("ec");
    const options = { commonName };
    const issuer = above ?? this;
    const owner = this.#keys;
    const { der, serial } = issuer.#number((serial) => issuer.#certify({ options, serial, owner }));
    this.#serial = serial;
    this.#der = der;
    this.certificate = pem("CERTIFICATE", this.#der);
  }

  /** Makes a certificate and its key. */
  issue(options: CertificateOptions): TestCertificate {
    const owner = generateKeys(options.keyKind ?? "ec");
    const { der, serial } = this.#number((serial) =>
      this.#certify({ options, serial, owner, isAuthority: false })
    );
    return { certificate: pem("CERTIFICATE", der), key: keyPem(owner), der, serial };
  }

  /** Its own certificate, for who shows that and no other. */
  itself(): TestCertificate {
    const { certificate } = this;
    return { certificate, key: keyPem(this.#keys), der: this.#der, serial: this.#serial };
  }

  /** The list of those that are valid no longer (CRL), in PEM. */
  revoke(...certificates: readonly TestCertificate[]): Uint8Array<ArrayBuffer> {
    const entries = certificates.map(({ serial }) => sequence(integer(serial), utcTime(BEGINNING)));
    const { der } = this.#number((serial) =>
      this.#sign(sequence(
        integer(1),
        this.#signature(),
        nameOf({ commonName: this.#commonName }),
        utcTime(BEGINNING),
        utcTime(END),
        ...(entries.length === 0 ? [] : [sequence(...entries)]),
        explicit(0, sequence(extension(OIDS.crlNumber, integer(serial)))),
      ))
    );
    return pem("X509 CRL", der);
  }

  #certify({ isAuthority = true, options, owner, serial }: {
    options: CertificateOptions;
    serial: number;
    owner: KeyPair;
    isAuthority?: boolean;
  }): Der {
    const end = options.notAfter ?? (options.isExpired === true ? SOON_OVER : END);
    return this.#sign(sequence(
      explicit(0, integer(2)),
      integer(serial),
      this.#signature(),
      nameOf({ commonName: this.#commonName }),
      sequence(utcTime(BEGINNING), utcTime(end)),
      nameOf(options),
      owner.publicKey.export({ type: "spki", format: "der" }),
      explicit(3, sequence(...(isAuthority ? authorityExtensions() : ownerExtensions(options)))),
    ));
  }

  #signature(): Der {
    return sequence(objectId(SIGNATURES[this.#hash]));
  }

  #sign(content: Der): Der {
    const signature = sign(this.#hash, content, this.#keys.privateKey);
    return sequence(content, this.#signature(), bits(signature));
  }

  /** Makes something with a number that was not used yet, until it is as long as all are. */
  #number(make: (serial: number) => Der): { der: Der; serial: number } {
    for (;;) {
      this.#lastSerial += 1;
      const der = make(this.#lastSerial);
      const { at, length, tag } = SIGNATURE;
      if (der.at(at) === tag && der.at(at + 1) === length) return { der, serial: this.#lastSerial };
    }
  }
}

/** Several PEM texts in one file. */
export function bundle(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.concat(parts));
}

/** A key as PEM that takes a passphrase to be read. */
export function encryptedKey(
  { key }: TestCertificate,
  passphrase: string,
): Uint8Array<ArrayBuffer> {
  const encrypted = createPrivateKey(Buffer.from(key)).export({
    ...{ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase },
  });
  return utf8(encrypted as string);
}

interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

function generateKeys(kind: "ec" | "rsa"): KeyPair {
  return kind === "ec"
    ? generateKeyPairSync("ec", { namedCurve: "P-256" })
    : generateKeyPairSync("rsa", { modulusLength: 2_048 });
}

function keyPem({ privateKey }: KeyPair): Uint8Array<ArrayBuffer> {
  return utf8(privateKey.export({ type: "pkcs8", format: "pem" }) as string);
}

function nameOf({ commonName, organization }: CertificateOptions): Der {
  const parts: Der[] = [];
  if (organization !== undefined) parts.push(attribute(OIDS.organization, organization));
  parts.push(attribute(OIDS.commonName, commonName));
  return sequence(...parts);
}

function attribute(id: string, text: string): Der {
  return setOf(sequence(objectId(id), utf8String(text)));
}

function authorityExtensions(): Der[] {
  // digitalSignature, without which it could not be a server's; keyCertSign and cRLSign.
  const usage = bits(Uint8Array.of(0b1000_0110), 1);
  return [
    extension(OIDS.basicConstraints, sequence(truth()), true),
    extension(OIDS.keyUsage, usage, true),
  ];
}

function ownerExtensions({ addresses = [], names = [] }: CertificateOptions): Der[] {
  const alternatives = [
    ...names.map((name) => tagged(0x82, Buffer.from(name))),
    ...addresses.map((address) => tagged(0x87, Uint8Array.from(address.split(".").map(Number)))),
  ];
  const constraints = extension(OIDS.basicConstraints, sequence(), true);
  if (alternatives.length === 0) return [constraints];
  return [constraints, extension(OIDS.alternativeNames, sequence(...alternatives))];
}

function extension(id: string, value: Der, isCritical = false): Der {
  return sequence(objectId(id), ...(isCritical ? [truth()] : []), octets(value));
}

/** PEM of what is in DER. */
export function pem(label: string, der: Uint8Array): Uint8Array<ArrayBuffer> {
  const lines = Buffer.from(der).toString("base64").replace(/.{64}(?=.)/g, "$&\n");
  return utf8(`-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`);
}
