/** PostgreSQL with TLS. */

import type { Postgres } from "../../scripts/postgres_fixture.ts";
import type { TestCertificate } from "./certificates.ts";
import { eventually } from "./eventually.ts";

/** Has a running PostgreSQL speak TLS, with this certificate; clients' are verified if there is one. */
export async function turnOnTls(
  postgres: Postgres,
  { authority, server }: { server: TestCertificate; authority?: Uint8Array },
): Promise<void> {
  await write(postgres, "server.crt", server.certificate);
  await write(postgres, "server.key", server.key);
  if (authority !== undefined) {
    await write(postgres, "root.crt", authority);
    await postgres.sql("alter system set ssl_ca_file = 'root.crt'");
  }
  await postgres.sql("alter system set ssl = on");
  await postgres.sql("select pg_reload_conf()");
  await eventually("PostgreSQL has TLS", async () => {
    const [row] = await postgres.sql("show ssl");
    return row?.["ssl"] === "on";
  });
}

/** By the server itself, as which the file has to be there. */
async function write(postgres: Postgres, name: string, pem: Uint8Array): Promise<void> {
  const text = new TextDecoder().decode(pem).trim();
  await postgres.sql(
    `copy (select unnest(string_to_array('${text}', E'\\n')))
     to program 'umask 077 && cat > ${name}'`,
  );
}
