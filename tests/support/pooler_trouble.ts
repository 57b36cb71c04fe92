/** What tests of a pooler's troubles have in common: how it is started, looked into and logged in to. */

import { show } from "./console.ts";
import type { LoginTarget } from "./logins.ts";
import type { ReportFields } from "./messages.ts";
import { type SluiceProcess, startSluice } from "./pooler_process.ts";
import { LoginRefused, TestClient } from "./test_client.ts";
import { type ConfigSection, tomlConfig } from "./toml_config.ts";

/** Begins what a newcomer is told while logins to the server fail. */
export const CACHED = "server login has been failing, cached error: ";

/** A pooler in front of a port of 127.0.0.1, whose clients need no password. */
export async function startBefore(
  port: number,
  pooler: ConfigSection = {},
): Promise<SluiceProcess> {
  return await startSluice({
    config: tomlConfig({
      pooler: { admin_users: "postgres", ...pooler },
      databases: { "*": { host: "127.0.0.1", port } },
      users: { postgres: { password: "x" } },
    }),
  });
}

/** Where a pooler takes clients. */
export function target({ port }: SluiceProcess, user = "postgres"): LoginTarget {
  return { port, user };
}

/** Logs in and answers the error it ended with. */
export async function loginError(
  sluice: SluiceProcess,
  database = "postgres",
): Promise<ReportFields> {
  const client = await TestClient.connect({ hostname: "127.0.0.1", port: sluice.port });
  try {
    await client.login({ user: "postgres", database });
  } catch (error) {
    if (error instanceof LoginRefused) return error.report;
    throw error;
  } finally {
    client.close();
  }
  throw new Error("The login succeeded");
}

/** What is left in the pooler of the database that was worked on. */
export async function leftovers(sluice: SluiceProcess): Promise<Record<string, number>> {
  const clients = (await show(sluice, "clients")).filter(({ database }) =>
    database !== "pgbouncer"
  );
  const servers = await show(sluice, "servers");
  return {
    clients: clients.length,
    activeServers: servers.filter(({ state }) => state !== "idle" && state !== "used").length,
    servers: servers.length,
  };
}
