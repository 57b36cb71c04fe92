/**
 * Clients that go on with a session of TLS. The runtime keeps all sessions in one place, whatever
 * they were begun under; nobody may come in on another context's account.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { systemClock } from "../../../src/base/clock.ts";
import type { ByteStream } from "../../../src/net/byte_stream.ts";
import { type TlsContext, type TlsHandshake, TlsHandshakeError } from "../../../src/net/tls.ts";
import type { TestCertificate } from "../../support/certificates.ts";
import { isMissing } from "../../support/requirements.ts";
import { makeTlsMaterial, toClients } from "../../support/tls_material.ts";
import { openPortableEngine } from "./portable_engine.ts";
import { STREAM_OPTIONS, TCP } from "./socket_network_suite.ts";

const MATERIAL = makeTlsMaterial();

const VERSIONS = ["-tls1_2", "-tls1_3"] as const;

/** Connects with OpenSSL's client. */
type Connect = (
  context: TlsContext,
  args: readonly string[],
) => Promise<{ outcome: TlsHandshake | TlsHandshakeError; isResumed: boolean }>;

Deno.test({
  name: "portable TLS: a session that goes on is worth what its certificate is to the context",
  ignore: isMissing("openssl"),
  fn: async () => {
    await using engine = await openPortableEngine(systemClock());
    const folder = await Deno.makeTempDir();
    const listener = await engine.network.listen(TCP, () => STREAM_OPTIONS);
    const accepted = listener.connections();
    const connect: Connect = (context, args) =>
      connectOpenssl({ port: listener.address.port, accepted, context, args });
    const authorities = MATERIAL.authority.certificate;
    const make = (verification: "none" | "optional" | "required") =>
      engine.network.tls.makeContext(toClients(MATERIAL.server, {
        verification,
        authorities: verification === "none" ? undefined : authorities,
      }));
    try {
      for (const version of VERSIONS) {
        const contexts = {
          none: make("none"),
          optional: make("optional"),
          required: make("required"),
        };
        const known = await showing(folder, MATERIAL.client);
        const stranger = await showing(folder, MATERIAL.otherClient);
        await comingBack(connect, { version, folder, ...contexts, args: known });
        await comingAsStranger(connect, { version, folder, ...contexts, args: stranger });
      }
    } finally {
      listener.close();
      await accepted.next();
      await Deno.remove(folder, { recursive: true });
    }
  },
});

interface Case {
  readonly version: typeof VERSIONS[number];
  readonly folder: string;
  readonly none: TlsContext;
  readonly optional: TlsContext;
  readonly required: TlsContext;
  readonly args: readonly string[];
}

async function comingBack(
  connect: Connect,
  { args, folder, none, optional, required, version }: Case,
) {
  const session = join(folder, "known");
  const first = await connect(required, [version, ...args, "-sess_out", session]);
  assert.deepEqual([first.isResumed, isVerified(first.outcome)], [false, true]);
  const again = await connect(required, [version, "-sess_in", session]);
  assert.deepEqual([again.isResumed, isVerified(again.outcome)], [true, true]);
  // Another context has not verified it.
  const elsewhere = await connect(optional, [version, "-sess_in", session]);
  if (elsewhere.isResumed) assert.equal(isVerified(elsewhere.outcome), false);
  const careless = await connect(none, [version, "-sess_in", session]);
  assert.equal(isVerified(careless.outcome), false);
}

async function comingAsStranger(
  connect: Connect,
  { args, folder, optional, required, version }: Case,
) {
  const session = join(folder, "stranger");
  const first = await connect(optional, [version, ...args, "-sess_out", session]);
  assert.equal(isVerified(first.outcome), false);
  const again = await connect(optional, [version, "-sess_in", session]);
  assert.deepEqual([again.isResumed, isVerified(again.outcome)], [true, false]);
  const inside = await connect(required, [version, "-sess_in", session]);
  assert.ok(inside.outcome instanceof TlsHandshakeError);
}

/** `undefined` where there was no handshake. */
function isVerified(outcome: TlsHandshake | TlsHandshakeError): boolean | undefined {
  return outcome instanceof TlsHandshakeError ? undefined : outcome.isPeerVerified;
}

async function showing(folder: string, { certificate, key }: TestCertificate): Promise<string[]> {
  const path = await Deno.makeTempFile({ dir: folder });
  await Deno.writeFile(path, certificate);
  await Deno.writeFile(`${path}.key`, key);
  return ["-cert", path, "-key", `${path}.key`];
}

async function connectOpenssl({ accepted, args, context, port }: {
  port: number;
  accepted: AsyncIterator<ByteStream, void, void>;
  context: TlsContext;
  args: readonly string[];
}) {
  const client = new Deno.Command("openssl", {
    args: ["s_client", "-connect", `127.0.0.1:${port}`, ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const stream = (await accepted.next()).value!;
  const outcome = await greet(stream, context);
  stream.close();
  await client.stdin.close();
  const { stdout } = await client.output();
  const isResumed = new TextDecoder().decode(stdout).includes("Reused, ");
  return { outcome, isResumed };
}

/** Shakes hands, and ends in order: a client keeps a session when it has read something after it. */
async function greet(
  stream: ByteStream,
  context: TlsContext,
): Promise<TlsHandshake | TlsHandshakeError> {
  try {
    const handshake = await stream.startTls({ context });
    await stream.write(new TextEncoder().encode("welcome\n"), 0, 8);
    stream.finishWriting();
    for await (const _chunk of stream.chunks());
    return handshake;
  } catch (error) {
    assert.ok(error instanceof TlsHandshakeError, String(error));
    return error;
  }
}
