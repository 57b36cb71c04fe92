/** TLS on the native engine against others that speak it: OpenSSL's programs and the runtime. */

import assert from "node:assert/strict";
import { connect as connectTls } from "node:tls";
import { Buffer } from "node:buffer";
import type { ByteStream } from "../../../src/net/byte_stream.ts";
import {
  type ClientTlsOptions,
  type ServerTlsOptions,
  type TlsHandshake,
  TlsHandshakeError,
  type TlsVersion,
} from "../../../src/net/tls.ts";
import { bundle } from "../../support/certificates.ts";
import { eventually, within } from "../../support/eventually.ts";
import { textOf, utf8 } from "../../support/messages.ts";
import { makeTlsMaterial, toClients, toServers } from "../../support/tls_material.ts";
import { Acceptor, type NativeUnderTest, STREAM_OPTIONS, withEngine } from "./native_engine.ts";

const MATERIAL = makeTlsMaterial();

/** A program of OpenSSL's that is talked to. */
class OpenSslProgram implements AsyncDisposable {
  output = "";
  readonly #process: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<unknown>;

  constructor(args: readonly string[]) {
    const piped = { stdin: "piped", stdout: "piped", stderr: "piped" } as const;
    this.#process = new Deno.Command("openssl", { ...piped, args: [...args] }).spawn();
    this.#stdin = this.#process.stdin.getWriter();
    const { stderr, stdout } = this.#process;
    this.#reading = Promise.all([stdout, stderr].map(async (stream) => {
      for await (const chunk of stream) this.output += textOf(chunk);
    }));
  }

  /** Types a line. */
  async type(line: string): Promise<void> {
    await this.#stdin.write(utf8(`${line}\n`));
  }

  /** Waits until it has printed something. */
  async prints(what: RegExp): Promise<RegExpExecArray> {
    let found: RegExpExecArray | null = null;
    try {
      await eventually(`openssl prints ${what}`, () => (found = what.exec(this.output)) !== null);
    } catch (error) {
      throw new Error(`${error}, but:\n${this.output}`);
    }
    return found!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
    await this.#stdin.close();
    await this.#reading;
  }
}

/** A server that sends back what it is sent, and what came of each handshake. */
class EchoServer implements AsyncDisposable {
  readonly outcomes: (TlsHandshake | Error)[] = [];
  readonly acceptor: Acceptor;
  readonly #context;
  readonly #serving: Promise<void>;
  readonly #streams: ByteStream[] = [];

  private constructor(acceptor: Acceptor, engine: NativeUnderTest, options: ClientTlsOptions) {
    this.acceptor = acceptor;
    this.#context = engine.tls.makeContext(options);
    this.#serving = this.#serve();
  }

  static async open(
    engine: NativeUnderTest,
    changes: Partial<ClientTlsOptions> = {},
  ): Promise<EchoServer> {
    const options = toClients(MATERIAL.server, changes);
    return new EchoServer(await Acceptor.open(engine), engine, options);
  }

  get address(): string {
    return `127.0.0.1:${this.acceptor.port}`;
  }

  /** What came of the next handshake. */
  async outcome(): Promise<TlsHandshake | Error> {
    await eventually("a handshake ends", () => this.outcomes.length > 0);
    return this.outcomes.shift()!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const stream of this.#streams) stream.close();
    await this.acceptor[Symbol.asyncDispose]();
    await this.#serving;
    this.#context[Symbol.dispose]();
  }

  async #serve(): Promise<void> {
    const serving: Promise<void>[] = [];
    for await (const stream of this.acceptor.accepted) {
      this.#streams.push(stream);
      serving.push(this.#echo(stream));
    }
    await Promise.all(serving);
  }

  async #echo(stream: ByteStream): Promise<void> {
    try {
      this.outcomes.push(await stream.startTls({ context: this.#context }));
      await stream.pump((buffer, length) => stream.write(buffer, 0, length));
    } catch (error) {
      this.outcomes.push(error as Error);
    }
    stream.close();
  }
}

function test(title: string, run: (engine: NativeUnderTest) => Promise<void>): void {
  Deno.test({
    name: `native TLS: ${title}`,
    ignore: Deno.build.os !== "linux",
    fn: () => withEngine(run),
  });
}

/** `-tls1_2` and its like. */
function versionFlag(version: TlsVersion): string {
  return `-tls${version.slice("TLSv".length).replace(".", "_")}`;
}

function connectProgram({ address }: EchoServer, ...args: string[]): OpenSslProgram {
  return new OpenSslProgram(["s_client", "-connect", address, ...args]);
}

function withOpenSslClients(): void {
  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    test(`OpenSSL's client is served in ${version}`, async (engine) => {
      await using server = await EchoServer.open(engine);
      await using client = connectProgram(server, versionFlag(version), "-alpn", "postgresql");
      const outcome = await server.outcome() as TlsHandshake;
      assert.deepEqual([outcome.version, outcome.hasProtocol], [version, true]);
      await client.type("good morning");
      await client.prints(/^good morning$/m);
      assert.match(client.output, new RegExp(`${version}, Cipher is ${outcome.cipher}`));
      assert.match(client.output, /ALPN protocol: postgresql/);
      assert.match(client.output, /Compression: NONE/);
    });

    test(`no session is resumed in ${version}`, async (engine) => {
      await using server = await EchoServer.open(engine);
      await using client = connectProgram(server, versionFlag(version), "-reconnect");
      await eventually("it has come again five times", () => server.outcomes.length === 6);
      await client.prints(/(New, [^]*){6}/);
      assert.doesNotMatch(client.output, /^Reused/m);
    });
  }

  test("a client changes its keys, and asks us to, again and again", async (engine) => {
    await using server = await EchoServer.open(engine);
    await using client = connectProgram(server, "-tls1_3");
    for (const word of ["one", "two", "three"]) {
      await client.type(word);
      await client.prints(new RegExp(`^${word}$`, "m"));
      await client.type("K");
      await client.prints(/KEYUPDATE/);
      client.output = "";
    }
    await client.type("last");
    await client.prints(/^last$/m);
  });

  test("a client that wants to renegotiate is refused", async (engine) => {
    await using server = await EchoServer.open(engine);
    await using client = connectProgram(server, "-tls1_2");
    await client.type("before");
    await client.prints(/^before$/m);
    await client.type("R");
    await client.prints(/no renegotiation/);
  });

  test("a client that asks for other protocols only is refused", async (engine) => {
    await using server = await EchoServer.open(engine);
    await using client = connectProgram(server, "-alpn", "http/1.1,h2");
    const outcome = await server.outcome();
    assert.deepEqual(outcome, new TlsHandshakeError("no application protocol"));
    await client.prints(/alert no application protocol/);
  });

  test("a client that asks for no protocol is served", async (engine) => {
    await using server = await EchoServer.open(engine);
    await using _client = connectProgram(server);
    assert.equal((await server.outcome() as TlsHandshake).hasProtocol, false);
  });

  test("a client of the runtime is served", async (engine) => {
    await using server = await EchoServer.open(engine, {
      authorities: MATERIAL.authority.certificate,
      verification: "required",
    });
    const client = connectTls({
      port: server.acceptor.port,
      host: "127.0.0.1",
      ca: textOf(MATERIAL.authority.certificate),
      cert: textOf(MATERIAL.client.certificate),
      key: textOf(MATERIAL.client.key),
      servername: "db.example",
      ALPNProtocols: ["postgresql"],
    });
    let answer = "";
    client.on("data", (chunk) => answer += chunk);
    client.write("good morning");
    await eventually("it is answered", () => answer === "good morning");
    const outcome = await server.outcome() as TlsHandshake;
    assert.equal(outcome.isPeerVerified, true);
    assert.deepEqual(Buffer.from(outcome.peerCertificate!), Buffer.from(MATERIAL.client.der));
    const closed = new Promise((resolve) => client.on("close", resolve));
    client.destroy();
    await within("it is closed", closed);
  });
}

/** A server of OpenSSL's, and a stream to it that speaks TLS. */
async function dialProgram(
  engine: NativeUnderTest,
  { args = [], changes = {} }: { args?: readonly string[]; changes?: Partial<ServerTlsOptions> },
) {
  const folder = await Deno.makeTempDir();
  await Deno.writeFile(`${folder}/pem`, bundle(MATERIAL.server.certificate, MATERIAL.server.key));
  const pem = `${folder}/pem`;
  const program = new OpenSslProgram([
    ...["s_server", "-accept", "127.0.0.1:0", "-cert", pem, "-key", pem, ...args],
  ]);
  const [, port] = await program.prints(/^ACCEPT .*:(\d+)$/m);
  const stream = await engine.network.dial(
    { kind: "tcp", host: "127.0.0.1", port: Number(port) },
    { ...STREAM_OPTIONS, timeoutMs: 0 },
  );
  const context = engine.tls.makeContext(toServers(changes));
  return {
    program,
    stream,
    shake: () => stream.startTls({ context, serverName: "db.example" }),
    async [Symbol.asyncDispose]() {
      stream.close();
      context[Symbol.dispose]();
      await program[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

function withOpenSslServers(): void {
  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    test(`OpenSSL's server is spoken to in ${version}`, async (engine) => {
      const args = [versionFlag(version), "-alpn", "postgresql"];
      const changes = {
        authorities: MATERIAL.authority.certificate,
        verification: "name",
      } as const;
      await using dialed = await dialProgram(engine, { args, changes });
      const outcome = await dialed.shake();
      assert.deepEqual([outcome.version, outcome.hasProtocol], [version, true]);
      assert.deepEqual(dialed.stream.tls, { version, cipher: outcome.cipher });
      await dialed.stream.write(utf8("good morning\n"), 0, 13);
      await dialed.program.prints(/^good morning$/m);
    });
  }

  test("a server changes its keys, and asks us to, again and again", async (engine) => {
    await using dialed = await dialProgram(engine, {});
    const { program, stream } = dialed;
    await dialed.shake();
    let received = "";
    const pumping = stream.pump((buffer, length) => {
      received += textOf(buffer.slice(0, length));
    });
    for (const word of ["one", "two", "three"]) {
      await program.type("K");
      // It looks at what is typed before it looks at what has come.
      await stream.write(utf8(`${word}?\n`), 0, word.length + 2);
      await program.prints(new RegExp(`^${word}\\?$`, "m"));
      await program.type(word);
      await eventually(`${word} comes`, () => received.endsWith(`${word}\n`));
    }
    stream.close();
    await pumping;
  });

  test("a server that renegotiates is refused, and the connection goes on or ends", async (engine) => {
    await using dialed = await dialProgram(engine, { args: ["-tls1_2"] });
    const { program, stream } = dialed;
    await dialed.shake();
    const pumping = stream.pump(() => {});
    await program.type("r");
    await program.prints(/no renegotiation/);
    stream.close();
    await pumping;
  });

  test("a server that takes none of our protocols ends the handshake", async (engine) => {
    await using dialed = await dialProgram(engine, { args: ["-alpn", "http/1.1"] });
    await assert.rejects(dialed.shake(), /alert no application protocol/);
  });
}

withOpenSslClients();
withOpenSslServers();
