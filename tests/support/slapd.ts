/**
 * Debian's LDAP server as a child process, in a folder of its own: `ldap://` with StartTLS, and
 * `ldaps://`, with a certificate for localhost of an authority that nobody else trusts.
 */

import { join } from "node:path";
import { GuardedDir, GuardedProcess } from "../../scripts/guarded_process.ts";
import { freePort } from "../../scripts/postgres_fixture.ts";
import { giveTo, unprivilegedIds } from "../../scripts/unprivileged.ts";
import { eventually } from "./eventually.ts";

/** Where Debian puts it; not in everybody's PATH. */
export const SLAPD = "/usr/sbin/slapd";

/** Name of all that is in the directory. */
const BASE_DN = "dc=example,dc=net";

/** Who may search. */
export const SEARCHER = { dn: `cn=searcher,${BASE_DN}`, password: "s3archer" };

const CONFIGURATION = `
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
TLSCACertificateFile {dir}/ca.pem
TLSCertificateFile {dir}/server.pem
TLSCertificateKeyFile {dir}/server.key
database ldif
suffix "${BASE_DN}"
rootdn "${SEARCHER.dn}"
rootpw ${SEARCHER.password}
directory {dir}/db
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="${SEARCHER.dn}" read by * none
`;

const ROOT =
  `dn: ${BASE_DN}\nobjectClass: dcObject\nobjectClass: organization\no: x\ndc: example\n`;

/** One of the directory's people. */
export interface Person {
  readonly uid: string;
  readonly mail: string;
  readonly password: string;
}

/** A directory that runs. */
export class Slapd implements AsyncDisposable {
  readonly port: number;
  readonly tlsPort: number;
  /** The authority's certificate, in PEM. */
  readonly authority: string;
  readonly #dir: GuardedDir;
  readonly #process: GuardedProcess;

  private constructor(
    parts: { dir: GuardedDir; process: GuardedProcess; ports: number[]; authority: string },
  ) {
    this.#dir = parts.dir;
    this.#process = parts.process;
    [this.port = 0, this.tlsPort = 0] = parts.ports;
    this.authority = parts.authority;
  }

  /** Starts one with these people in it; it listens when the promise resolves. */
  static async start(people: readonly Person[]): Promise<Slapd> {
    const ids = unprivilegedIds();
    const dir = await GuardedDir.make("sluice-ldap-", ids);
    const path = (name: string) => join(dir.path, name);
    await Deno.mkdir(path("db"));
    await makeCertificates(dir.path);
    await Deno.writeTextFile(path("slapd.conf"), CONFIGURATION.replaceAll("{dir}", dir.path));
    await Deno.writeTextFile(path("people.ldif"), [ROOT, ...people.map(entryOf)].join("\n"));
    await run("/usr/sbin/slapadd", ["-f", path("slapd.conf"), "-l", path("people.ldif")], dir.path);
    await run("chown", ["-R", ids === undefined ? "." : `${ids.uid}:${ids.gid}`, "."], dir.path);
    await giveTo(ids, dir.path);
    const ports = [freePort(), freePort()];
    const urls = `ldap://127.0.0.1:${ports[0]} ldaps://127.0.0.1:${ports[1]}`;
    const process = await GuardedProcess.start({
      command: SLAPD,
      // Debugging level 0 keeps it in the foreground.
      args: ["-d", "0", "-f", path("slapd.conf"), "-h", urls],
      dir,
      ids,
    });
    for (const port of ports) {
      await eventually(`slapd listens: ${process.log()}`, () => canConnect(port));
    }
    const authority = await Deno.readTextFile(path("ca.pem"));
    return new Slapd({ dir, process, ports, authority });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.stop("SIGTERM");
    await this.#dir[Symbol.asyncDispose]();
  }
}

function entryOf({ mail, password, uid }: Person): string {
  const names = `uid: ${uid}\ncn: ${uid}\nsn: ${uid}\nmail: ${mail}\nuserPassword: ${password}`;
  return `dn: uid=${uid},${BASE_DN}\nobjectClass: inetOrgPerson\n${names}\n`;
}

/** Makes `ca.pem`, and `server.pem` and `server.key` for localhost, in a folder. */
export async function makeCertificates(dir: string): Promise<void> {
  const key = (name: string) => ["-newkey", "rsa:2048", "-nodes", "-keyout", `${name}.key`];
  const openssl = (...args: string[]) => run("openssl", args, dir);
  await openssl("req", "-x509", ...key("ca"), "-out", "ca.pem", "-subj", "/CN=Authority");
  await openssl("req", ...key("server"), "-out", "server.csr", "-subj", "/CN=localhost");
  await Deno.writeTextFile(join(dir, "names"), "subjectAltName=DNS:localhost\n");
  const from = ["-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
  await openssl("x509", "-req", ...from, "-extfile", "names", "-out", "server.pem");
}

async function run(command: string, args: readonly string[], cwd: string): Promise<void> {
  const { stderr, success } = await new Deno.Command(command, { args: [...args], cwd }).output();
  if (!success) throw new Error(`${command}: ${new TextDecoder().decode(stderr)}`);
}

async function canConnect(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) return false;
    throw error;
  }
}
