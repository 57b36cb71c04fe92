/** TLS from the pooler to its servers: every mode against every kind of server. */

import assert from "node:assert/strict";
import type { ListenAddress } from "../../../src/net/network.ts";
import { FakePostgres, type FakePostgresTls } from "../../support/fake_postgres.ts";
import { backend as say, frontend, join, type ReportFields, utf8 } from "../../support/messages.ts";
import { PoolerWorld, type WorldOptions } from "../../support/pooler_world.ts";
import { SimTls } from "../../support/sim_tls_context.ts";
import { SYSTEM_TCP } from "../../support/stream_options.ts";
import { makeTlsMaterial, toClients } from "../../support/tls_material.ts";

const MATERIAL = makeTlsMaterial();

const ELSEWHERE = MATERIAL.authority.issue({ commonName: "db", names: ["elsewhere.example"] });

const HOST = "db.example";

const FILES = {
  ca: MATERIAL.authority.certificate,
  "own.crt": MATERIAL.client.certificate,
  "own.key": MATERIAL.client.key,
};

const NO_HBA_LINE: ReportFields = {
  severity: "FATAL",
  sqlstate: "28000",
  message: "no pg_hba.conf entry",
};

const STARTING_UP: ReportFields = {
  severity: "FATAL",
  sqlstate: "57P03",
  message: "the database system is starting up",
};

const TLS: FakePostgresTls = { context: new SimTls().makeContext(toClients(MATERIAL.server)) };

const answering = (answer: Uint8Array): FakePostgresTls => ({ ...TLS, answer });

const showing = (...[certificate, changes]: Parameters<typeof toClients>): FakePostgresTls => ({
  context: new SimTls().makeContext(toClients(certificate, changes)),
});

/** A kind of server, and what it asks of logins. */
interface Kind {
  readonly tls?: FakePostgresTls;
  readonly onLogin?: (isTls: boolean) => ReportFields | undefined;
}

const refusing =
  (isRefused: (isTls: boolean) => boolean, report = NO_HBA_LINE) => (isTls: boolean) =>
    isRefused(isTls) ? report : undefined;

const KINDS = {
  "has TLS": { tls: TLS },
  "has none": {},
  "answers an error": { tls: answering(say.error("53300", "spoofed words", "FATAL")) },
  "answers nonsense": { tls: answering(utf8("220 smtp ready")) },
  "says more than yes": { tls: answering(utf8("SE")) },
  "says more than no": { tls: answering(join(utf8("N"), say.authentication(0), say.ready())) },
  "hangs up": { tls: answering(new Uint8Array()) },
  "has an old version": { tls: showing(MATERIAL.server, { versions: ["TLSv1"] }) },
  "is somebody else's": { tls: showing(MATERIAL.otherServer) },
  "is of another name": { tls: showing(ELSEWHERE) },
  "demands TLS": { tls: TLS, onLogin: refusing((isTls) => !isTls) },
  "forbids TLS": { tls: TLS, onLogin: refusing((isTls) => isTls) },
  "refuses all": { tls: TLS, onLogin: refusing(() => true) },
  "is not ready": { tls: TLS, onLogin: refusing(() => true, STARTING_UP) },
  // As in TLS 1.3: with its own handshake the client is done by then.
  "refuses our certificate": {
    tls: showing(MATERIAL.server, { authorities: FILES.ca, verification: "required" }),
  },
} satisfies Record<string, Kind>;

const MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] as const;

async function open(kind: Kind, options: WorldOptions & { mode?: string; host?: string }) {
  const { host = HOST, mode = "require", pooler = "", sections = "" } = options;
  const verifies = mode.startsWith("verify-") ? 'server_tls_ca_file = "ca"\n' : "";
  const world = await PoolerWorld.open({
    tlsFiles: FILES,
    ...options,
    pooler: `server_tls_sslmode = "${mode}"\n${verifies}${pooler}`,
    sections: `[users.ada]\npassword = "secret"\n[databases.app]\nhost = "${host}"\n${sections}`,
    postgres: {
      address: { kind: "tcp", host, port: 5432, backlog: 16 },
      ...options.postgres,
    },
  });
  world.postgres.tls = kind.tls;
  world.postgres.onLogin = kind.onLogin;
  return world;
}

/** What came of a server that is opened for a client, and what it was sent. */
async function course(kind: Kind, mode: string): Promise<string> {
  await using world = await open(kind, { mode });
  const client = await world.connect();
  await client.send(frontend.startup({ user: "ada", database: "app" }));
  await world.settle();
  const packets = world.postgres.packets.join(", ");
  return `${packets} -> ${cameOf(world)}`;
}

function cameOf(world: PoolerWorld): string {
  if (world.postgres.live.length > 0) return "in";
  const end = world.log.findLast((line) => / S-.* closing because: /.test(line)) ?? "nothing";
  return end.replace(/.* closing because: (.*) \(age=\d+s\)$/, "$1");
}

const WITHOUT = "login plain -> in";
const WITH = "request, login tls -> in";
const NOT_TWICE = "request, login tls, login plain -> in";
const REFUSED = "request -> server refused SSL";
const OLD = "request -> TLS handshake failed: The peer says: unsupported protocol version";
const UNKNOWN = "request -> TLS handshake failed: unknown certificate authority";
const NO_LINE = "server login failed: FATAL no pg_hba.conf entry";
const NOT_READY = "server login failed: FATAL the database system is starting up";

/** By kind: what comes of `prefer`, `require`, `verify-ca` and `verify-full`. */
const COURSES: Readonly<Record<keyof typeof KINDS, readonly (string | RegExp)[]>> = {
  "has TLS": [WITH, WITH, WITH, WITH],
  "has none": ["request, login plain -> in", REFUSED, REFUSED, REFUSED],
  "answers an error": four("request -> server sent an error response during SSL exchange"),
  "answers nonsense": four("request -> bad sslreq answer"),
  "says more than yes": four("request -> received unencrypted data after SSL response"),
  "says more than no": four("request -> received unencrypted data after SSL response"),
  "hangs up": four("request -> server conn crashed?"),
  "has an old version": ["request, login plain -> in", OLD, OLD, OLD],
  "is somebody else's": [WITH, WITH, UNKNOWN, UNKNOWN],
  "is of another name": [WITH, WITH, WITH, /^request -> TLS handshake failed: .*altnames/],
  "demands TLS": [WITH, WITH, WITH, WITH],
  "forbids TLS": [NOT_TWICE, ...four(`request, login tls -> ${NO_LINE}`).slice(1)],
  "refuses all": [
    `request, login tls, login plain -> ${NO_LINE}`,
    ...four(`request, login tls -> ${NO_LINE}`).slice(1),
  ],
  "is not ready": four(`request, login tls -> ${NOT_READY}`),
  "refuses our certificate": four(
    "request -> TLS handshake failed: The peer says: certificate required",
  ),
};

/** The same of `disable` and `allow`, for kinds that do not let everybody in without TLS. */
const PLAIN_FIRST: Readonly<Record<string, readonly [disable: string, allow: string]>> = {
  "demands TLS": [`login plain -> ${NO_LINE}`, "login plain, request, login tls -> in"],
  "refuses all": [`login plain -> ${NO_LINE}`, `login plain, request, login tls -> ${NO_LINE}`],
  "is not ready": [`login plain -> ${NOT_READY}`, `login plain -> ${NOT_READY}`],
};

function four(course: string): string[] {
  return [course, course, course, course];
}

for (const [name, kind] of Object.entries(KINDS)) {
  Deno.test(`a server that ${name} is spoken to as its mode says`, async () => {
    const expected = [
      ...PLAIN_FIRST[name] ?? [WITHOUT, WITHOUT],
      ...COURSES[name as keyof typeof KINDS],
    ];
    for (const [at, mode] of MODES.entries()) {
      const came = await course(kind, mode);
      const wanted = expected[at]!;
      if (typeof wanted === "string") assert.equal(came, wanted, mode);
      else assert.match(came, wanted);
    }
  });
}

Deno.test("nobody is shown the words of a server that has not shown who it is", async () => {
  await using world = await open(KINDS["answers an error"], {});
  const outcome = world.outcome();
  await world.advance(61_000);
  assert.doesNotMatch(await outcome, /spoofed/);
  assert.doesNotMatch(world.log.join("\n"), /spoofed/);
});

Deno.test("who has been let in is not tried in another way, whatever comes then", async () => {
  for (const mode of ["allow", "prefer"]) {
    await using world = await open(KINDS["has TLS"], { mode, postgres: { databases: ["other"] } });
    assert.match(await world.outcome(), /database "app" does not exist/);
    const only = mode === "allow" ? ["login plain"] : ["request", "login tls"];
    assert.deepEqual(world.postgres.packets, only);
  }
});

Deno.test("clients are told the refusal that says most, whichever way brought it", async () => {
  const wrong = { severity: "FATAL", sqlstate: "28P01", message: "wrong password" };
  const refusals = (tls: ReportFields, plain: ReportFields): Kind => ({
    tls: TLS,
    onLogin: (isTls) => isTls ? tls : plain,
  });
  for (const mode of ["allow", "prefer"]) {
    for (const kind of [refusals(wrong, NO_HBA_LINE), refusals(NO_HBA_LINE, wrong)]) {
      await using world = await open(kind, { mode });
      assert.match(await world.outcome(), /wrong password/, mode);
    }
  }
  await using world = await open({ onLogin: () => wrong }, { mode: "allow" });
  assert.match(await world.outcome(), /wrong password/);
});

Deno.test("a server is called by the name in the configuration, and an address by none", async () => {
  await using world = await open(KINDS["has TLS"], {
    mode: "verify-full",
    sections: `[databases.list]
host = "away.example,${HOST}"
[databases.other]
host = "127.0.0.1"
port = 5433`,
  });
  const address = { kind: "tcp", host: "127.0.0.1", port: 5433, backlog: 1 } as const;
  const { network, random } = world;
  const other = await FakePostgres.start({ network, random, address });
  other.tls = TLS;
  assert.equal(await world.outcome({ database: "list" }), "in");
  assert.equal(await world.outcome({ database: "other" }), "in");
  assert.deepEqual([world.postgres.serverNames, other.serverNames], [[HOST], [undefined]]);
  await other.close();
});

Deno.test("there is no TLS over a unix socket, whatever the mode", async () => {
  const address = { kind: "unix", path: "/pg/.s.PGSQL.5432", port: 5432 } as const;
  for (const mode of MODES) {
    await using world = await open(KINDS["has TLS"], {
      mode,
      host: "/pg",
      postgres: { address: { ...address, backlog: 1, mode: 0, group: undefined } as ListenAddress },
    });
    assert.equal(await world.outcome(), "in");
    assert.deepEqual(world.postgres.packets, ["login plain"]);
  }
});

Deno.test("TLS begins directly where that is asked for", async () => {
  const pooler = 'server_tls_negotiation = "direct"\n';
  await using world = await open(KINDS["has TLS"], { mode: "verify-full", pooler });
  assert.equal(await world.outcome(), "in");
  assert.deepEqual(world.postgres.packets, ["direct", "login tls"]);
});

Deno.test("a server is shown the certificate, and the log tells what is spoken", async () => {
  const authorities = MATERIAL.authority.certificate;
  const tls = showing(MATERIAL.server, { authorities, verification: "required" });
  const pooler = 'server_tls_cert_file = "own.crt"\nserver_tls_key_file = "own.key"\n';
  await using world = await open({ tls }, { pooler });
  assert.equal(await world.outcome(), "in");
  assert.ok(world.hasLogged("SSL established: TLSv1.3/TLS_AES_256_GCM_SHA384"));
});

/** Stages at which a server may fall silent: after the connection, and after its yes. */
for (const answer of ["", "S"]) {
  Deno.test(`a server that is silent after "${answer}" is given up in time`, async () => {
    await using world = await open({}, { sections: '[databases.mute]\nhost = "mute.example"' });
    const address = { kind: "tcp", host: "mute.example", port: 5432, backlog: 1 } as const;
    const options = () => ({ receiveBytes: 512, maxBusyReads: 0, tcp: SYSTEM_TCP });
    const listener = await world.network.listen(address, options);
    const client = await world.connect();
    await client.send(frontend.startup({ user: "ada", database: "mute" }));
    await world.settle();
    const { value: stream } = await listener.connections().next();
    await stream!.write(utf8(answer), 0, answer.length);
    await world.advance(15_500);
    assert.equal(cameOf(world), "connect timeout");
    for await (const _ of stream!.chunks());
    listener.close();
    stream!.close();
  });
}
