/**
 * HBA rules decide as PostgreSQL's own do: the same pg_hba.conf is given to a PostgreSQL and to
 * Sluice, and the first answer to the same logins is compared. What a bad line is, too.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { waitUntil } from "../../scripts/guarded_process.ts";
import { freePort, type Postgres, startPostgres } from "../../scripts/postgres_fixture.ts";
import { giveTo, unprivilegedIds } from "../../scripts/unprivileged.ts";
import { PATIENCE_MS } from "../support/eventually.ts";
import { hbaOf, identOf } from "../support/memory_rules.ts";
import { frontend, readInt32, readReport } from "../support/messages.ts";
import { startSluice } from "../support/pooler_process.ts";
import { canListen, isMissing } from "../support/requirements.ts";
import { TestClient } from "../support/test_client.ts";
import { configFor, type ConfigSection } from "../support/toml_config.ts";

const USERS = ["alice", "bob", "carol.x", "app", "all", "replication"] as const;

const PASSWORD = "s3cret";

/** One way in. */
interface Attempt {
  readonly via: "unix" | "127.0.0.1" | "::1";
  readonly user: string;
  readonly database: string;
  readonly replication?: string;
}

/** One pg_hba.conf, with what it names. */
interface Setup {
  readonly hba: string;
  readonly files?: Readonly<Record<string, string>>;
  readonly ident?: string;
}

const hasIpv6 = canListen("::1");

/** Whoever runs the tests, by the name that the system has for it. */
const ME = Deno.readTextFileSync("/etc/passwd").split("\n").map((line) => line.split(":"))
  .find(([, , uid]) => uid === String(Deno.uid()))![0]!;

/** For every PostgreSQL that there is. */
const SETUPS: readonly Setup[] = [
  {
    hba: `
local  app    alice   trust
local  app,db2  bob,"carol.x"  md5
local  sameuser all  password
local  "all" all reject
local  all "all" scram-sha-256
host   app    alice   127.0.0.1/32  trust
host   app    all     127.0.0.0/8   reject
host   all    bob     127.0.0.1 255.255.255.255  md5
host   all    bob     ::1/128  password
host   all    alice   ::/0  scram-sha-256
`,
  },
  {
    hba: `
# A comment, then what a connection cannot be.
hostnossl   app  bob    all  trust   # and one behind a line
hostgssenc  all  bob    all  trust
hostnogssenc db2 bob    all  reject
host replication alice  all  scram-sha-256
host replication bob    samehost  reject
host "replication" all  all  password
local replication all trust
local app,\\
 db2 \\
 "alice" md5
host all alice 10.0.0.0/8 trust
host all alice samenet reject
host all,db2 app 0.0.0.0/0 trust
host all app ::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff md5
`,
  },
  {
    hba: `
local @dbs @users trust
local all "@users" reject
host  all @users,app 127.0.0.1/32 password
host @nested/dbs all all md5
`,
    files: {
      dbs: "app, db2 # both\n\n",
      users: '"alice"\nbob "carol.x"\n',
      "nested/dbs": "@more\n",
      "nested/more": "db3 db4,\napp",
    },
  },
  {
    hba: `
local app alice peer
local app bob peer map=m
local db2 all peer map=m
local db3 all ident map="r"
local all app reject
`,
    ident: `
m ${ME} bob
m "${ME}" alice
m nobody carol.x
r nobody app
r /^(.)${ME.slice(1)}$ app
r /^(${ME.slice(0, 1)}).*$ "\\1lice"
`,
  },
];

/** With what came in PostgreSQL 16. */
const NEWER_SETUPS: readonly Setup[] = [
  {
    hba: `
local /^db\\d$ alice trust
local "/^a(pp|b,c)$" /^[a-b] md5
local all /ob$,app password
host /^app /x$ 127.0.0.1/32 reject
host all /^(?:alice|bob)$ all scram-sha-256
`,
  },
  {
    hba: `
include one.conf
include_if_exists missing.conf
include_dir conf.d
host all all all password
`,
    files: {
      "one.conf": "local app alice trust\n",
      "conf.d/20.conf": "local app bob md5\ninclude ../deep/three.conf\n",
      "conf.d/10.conf": "local app bob reject\n",
      "conf.d/30.txt": "no rule at all\n",
      "conf.d/.40.conf": "neither\n",
      "deep/three.conf": "local app @users trust\n",
      "deep/users": "carol.x",
    },
  },
  {
    hba: `
local app all peer map=m
local db2 all peer map=n
`,
    ident: `
m ${ME} /^al
n /^(.*)$ all
include_if_exists nowhere
m nobody all
`,
  },
];

/** A line, with whether PostgreSQL takes it; Sluice takes none of them, but those marked "taken". */
type Line = readonly [line: string, postgres: "bad" | "good" | "taken"];

/** Of LDAP and PAM, which not every PostgreSQL was built with. */
const OUTSIDE_LINES: readonly Line[] = [
  ["host all all all ldap ldapserver=x", "bad"],
  ["host all all all ldap ldapserver=x ldapsuffix=@y", "taken"],
  ["host all all all ldap ldapserver=x ldapsuffix=@y ldapbasedn=z", "bad"],
  ["host all all all ldap ldapserver=x ldapport=y ldapsuffix=@y", "bad"],
  ["host all all all ldap ldapserver=x ldapbasedn=z ldapsearchattribute=a", "taken"],
  ["host all all all ldap ldapserver=x ldapbasedn=z ldapsearchfilter=(a=$username)", "taken"],
  ["host all all all ldap ldapserver=x ldapbasedn=z ldapsearchfilter=(a=b)", "good"],
  [
    "host all all all ldap ldapserver=x ldapbasedn=z ldapsearchattribute=a ldapsearchfilter=(a=$username)",
    "bad",
  ],
  ['host all all all ldap ldapserver="x y" ldapbasedn="a=b, c=d" "ldapprefix=z"', "bad"],
  ['host all all all ldap ldapserver="x y" "ldapprefix=a b" ldapsuffix="c d"', "taken"],
  ["host all all all ldap ldapserver=x ldapbasedn=z ldapbinddn=a", "good"],
  ["host all all all ldap ldapserver=x ldaptls=maybe ldapsuffix=@y", "good"],
  ["host all all all ldap ldapserver=x ldapscheme=ldaps ldaptls=1 ldapsuffix=@y", "good"],
  ['host all all all ldap ldapurl="ldap://x/dc=y?uid?sub"', "taken"],
  ['host all all all ldap ldapurl="ldaps://x:1/dc=y"', "taken"],
  ['host all all all ldap ldapurl="http://x/dc=y?uid?sub"', "bad"],
  ['host all all all ldap ldapurl="ldap://x/dc=y?uid?tree"', "bad"],
  ['host all all all ldap ldapurl="ldap://x/dc=y" ldapprefix=z', "bad"],
  ["host all all all ldap ldapsuffix=@y", "good"],
  ["host all all all ldap ldapserver=x ldapsuffix=@y map=m", "bad"],
  ["host all all all md5 ldapserver=x", "bad"],
  ["host all all all pam", "taken"],
  ["local all all pam pamservice=x", "taken"],
  ["host all all all pam pam_use_hostname=0", "taken"],
  ["host all all all pam pam_use_hostname=1", "good"],
  ["host all all all md5 pamservice=x", "bad"],
];

/** Of everything else. */
const LINES: readonly Line[] = [
  ["local all all trust", "taken"],
  ["locl all all trust", "bad"],
  ['"local" all all "trust"', "taken"],
  ["local,host all all trust", "bad"],
  ["local", "bad"],
  ["local all", "bad"],
  ["local all all", "bad"],
  ["local all all trust md5", "bad"],
  ["local all all trust,md5", "bad"],
  ["local all all trusted", "bad"],
  ["host all all trust", "bad"],
  ["host all all 127.0.0.1 trust", "bad"],
  ["host all all 127.0.0.1/33 trust", "bad"],
  ["host all all 127.0.0.1/ trust", "bad"],
  ["host all all 127.0.0.1/8/8 trust", "bad"],
  ["host all all ::1/129 trust", "bad"],
  ["host all all ::1/128 trust", "taken"],
  ["host all all 127.0.0.1,::1 trust", "bad"],
  ["host all all 127.0.0.1 ffff:: trust", "bad"],
  ["host all all 127.0.0.1 255.0.255.0 trust", "taken"],
  ["host all all example.com trust", "good"],
  ["host all all example.com/8 trust", "bad"],
  ["host all all ::ffff:1.2.3.4/128 trust", "good"],
  ["host all all all peer", "bad"],
  ["host all all all ident", "good"],
  ["host all all all cert", "bad"],
  ["local all all ldap", "bad"],
  ["local all all trust map=x", "bad"],
  ["local all all peer map=x", "taken"],
  ["local all all peer nothing", "bad"],
  ["local all all peer nothing=x", "bad"],
  ["host all all all md5 clientcert=verify-full", "bad"],
  ["host all +role all trust", "good"],
  ["host samerole all all trust", "good"],
  ['host "samerole" "+role" "all" trust', "good"],
  ["local all @missing trust", "bad"],
  ["local all /^(a trust", "bad"],
  ["local /[b-a] all trust", "bad"],
  ["local all /^(?=a) trust", "good"],
  ["local all /^a.*$ trust", "taken"],
  ["include missing.conf", "bad"],
  ["include_if_exists missing.conf", "taken"],
  ["include_dir missing", "bad"],
];

function attempts(): Attempt[] {
  const ways = ["unix", "127.0.0.1", ...(hasIpv6 ? ["::1"] : [])] as Attempt["via"][];
  const all: Attempt[] = [];
  for (const via of ways) {
    for (const user of USERS) {
      for (const database of ["app", "db2", "db3", "bob"]) all.push({ via, user, database });
      all.push({ via, user, database: "app", replication: "true" });
      all.push({ via, user, database: "db2", replication: "database" });
    }
  }
  return all;
}

/** What a login is answered first, in words that fit both. */
async function answer({ database, replication, user, via }: Attempt, target: {
  readonly port: number;
  readonly socket: string;
}): Promise<string> {
  const conn = via === "unix"
    ? await Deno.connect({ transport: "unix", path: target.socket })
    : await Deno.connect({ hostname: via, port: target.port });
  const client = new TestClient(conn);
  try {
    const purpose = replication === undefined ? {} : { replication };
    await client.send(frontend.startup({ user, database, ...purpose }));
    const first = await client.receive();
    assert.ok(first, "The connection ended");
    if (first.type === "R") return METHODS[readInt32(first.body)] ?? "another method";
    const { message, sqlstate } = readReport(first.body);
    const meaning = MEANINGS.find(([words]) => message.includes(words));
    return meaning === undefined ? `${sqlstate} ${message}` : `${sqlstate} ${meaning[1]}`;
  } finally {
    client.stream.close();
  }
}

const METHODS: Readonly<Record<number, string>> = { 0: "in", 3: "password", 5: "md5", 10: "SASL" };

const MEANINGS: readonly (readonly [words: string, meaning: string])[] = [
  ["unix socket login rejected", "not the peer"],
  ["pg_hba.conf rejects", "rejected"],
  ["login rejected", "rejected"],
  ["no pg_hba.conf entry", "no rule"],
  ["no authentication method is found", "no rule"],
  ["Peer authentication failed", "not the peer"],
];

/** The files of a setup with the lines that the tests themselves need. */
function filesOf({ files, hba, ident }: Setup, mark: string): Record<string, string> {
  return {
    ...files,
    "pg_hba.conf": `local all postgres trust\nlocal all ${mark} reject\n${hba}`,
    "pg_ident.conf": ident ?? "",
  };
}

/** Writes files that the server and Sluice may read. */
async function writeFiles(dir: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    const folder = join(dir, name, "..");
    await Deno.mkdir(folder, { recursive: true });
    await giveTo(unprivilegedIds(), folder);
    await Deno.writeTextFile(join(dir, name), text);
    await giveTo(unprivilegedIds(), join(dir, name));
  }
}

async function compare(postgres: Postgres, setups: readonly Setup[]): Promise<void> {
  const rows = await postgres.sql(
    "select rolname, rolpassword from pg_authid where rolpassword is not null",
  );
  const users: Record<string, ConfigSection> = {};
  for (const { rolname, rolpassword } of rows) {
    users[String(rolname)] = { password: String(rolpassword) };
  }
  for (const [number, setup] of setups.entries()) {
    const mark = `mark_${number}`;
    const files = filesOf(setup, mark);
    await writeFiles(join(postgres.socketDir, "data"), files);
    await postgres.sql("select pg_reload_conf()");
    const target = {
      port: postgres.port,
      socket: `${postgres.socketDir}/.s.PGSQL.${postgres.port}`,
    };
    const marked: Attempt = { via: "unix", user: mark, database: "app" };
    const isLoaded = async () => await answer(marked, target) === "28000 rejected";
    assert.ok(await waitUntil(isLoaded, PATIENCE_MS), postgres.log().slice(-2_000));
    // Files lie beside the configuration; a folder is only made where PostgreSQL's own are.
    const dir = join(postgres.socketDir, "data");
    // One that two addresses and the unix socket share.
    const port = freePort();
    await using sluice = await startSluice({
      config: configFor(postgres, {
        pooler: {
          listen_addr: hasIpv6 ? "127.0.0.1,::1" : "127.0.0.1",
          listen_port: port,
          unix_socket_dir: "{dir}",
          auth_type: "hba",
          auth_hba_file: join(dir, "pg_hba.conf"),
          auth_ident_file: join(dir, "pg_ident.conf"),
          max_client_conn: 1_000,
        },
        users,
      }),
    });
    const differences: string[] = [];
    const seen = new Set<string>();
    for (const attempt of attempts()) {
      const expected = await answer(attempt, target);
      seen.add(expected);
      const found = await answer(attempt, {
        port,
        socket: `${sluice.dir}/.s.PGSQL.${port}`,
      });
      if (found !== expected) {
        differences.push(`${JSON.stringify(attempt)}: ${expected}, and here ${found}`);
      }
    }
    assert.deepEqual(differences, [], setup.hba);
    assert.ok(seen.size > 1, `All are answered alike: ${setup.hba}`);
  }
}

async function prepare(postgres: Postgres): Promise<void> {
  for (const user of USERS) {
    await postgres.sql(`create role "${user}" login password '${PASSWORD}'`);
  }
}

const CONF = hasIpv6 ? ["listen_addresses = '127.0.0.1,::1'"] : [];

Deno.test("HBA rules let in, ask and reject as PostgreSQL 18 does by the same files", async () => {
  await using postgres = await startPostgres({ conf: CONF });
  await prepare(postgres);
  await compare(postgres, [...SETUPS, ...NEWER_SETUPS]);
});

Deno.test({
  name: "HBA rules let in, ask and reject as PostgreSQL 15 does by the same files",
  ignore: isMissing("postgresql-15"),
  async fn() {
    await using postgres = await startPostgres({ flavour: "debian", conf: CONF });
    await prepare(postgres);
    await compare(postgres, SETUPS);
    await compareFaults(postgres, OUTSIDE_LINES);
  },
});

Deno.test("HBA rules are bad where PostgreSQL finds them bad, and where Sluice cannot keep them", async () => {
  await using postgres = await startPostgres();
  await compareFaults(postgres, LINES);
});

/** Asserts that both find the faults that the lines are said to have. */
async function compareFaults(postgres: Postgres, lines: readonly Line[]): Promise<void> {
  const dir = join(postgres.socketDir, "data");
  const text = lines.map(([line]) => `${line}\n`).join("");
  await writeFiles(dir, { "pg_hba.conf": text });
  const rows = await postgres.sql(
    "select distinct line_number from pg_hba_file_rules where error is not null order by 1",
  );
  const linesThat = (wanted: (verdict: string) => boolean) =>
    lines.flatMap(([line, verdict], at) => wanted(verdict) ? [`${at + 1}: ${line}`] : []);
  const shown = (line: number) => `${line}: ${lines[line - 1]?.[0]}`;
  assert.deepEqual(
    rows.map(({ line_number }) => shown(Number(line_number))),
    linesThat((verdict) => verdict === "bad"),
    "PostgreSQL",
  );
  const { errors } = await hbaOf(text);
  assert.deepEqual(
    errors.map(({ line }) => shown(line!)),
    linesThat((verdict) => verdict !== "taken"),
    "Sluice",
  );
}

Deno.test("Ident maps are bad where PostgreSQL finds them bad", async () => {
  const lines: readonly (readonly [string, "bad" | "good" | "taken"])[] = [
    ["m a b", "taken"],
    ["m a", "bad"],
    ["m", "bad"],
    ["m a,b c", "bad"],
    ["m a b,c", "bad"],
    ["m,n a b", "bad"],
    ["m /^(a b", "bad"],
    ["m a /^(b", "bad"],
    ["m /^(.*)$ \\1", "taken"],
    ["m /^.*$ \\1", "good"],
    ["m a +b", "good"],
    ["m a b c", "good"],
  ];
  await using postgres = await startPostgres();
  const dir = join(postgres.socketDir, "data");
  const text = lines.map(([line]) => `${line}\n`).join("");
  await writeFiles(dir, { "pg_ident.conf": text });
  const rows = await postgres.sql(
    "select line_number from pg_ident_file_mappings where error is not null order by 1",
  );
  const numbers = (wanted: (verdict: string) => boolean) =>
    lines.flatMap(([, verdict], at) => wanted(verdict) ? [at + 1] : []);
  assert.deepEqual(
    rows.map(({ line_number }) => Number(line_number)),
    numbers((verdict) => verdict === "bad"),
  );
  const { errors } = await identOf(text);
  assert.deepEqual(errors.map(({ line }) => line), numbers((verdict) => verdict !== "taken"));
});
