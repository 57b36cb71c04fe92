/** The console, as a test looks at it. */

import { logIn, type LoginTarget } from "./logins.ts";

/** One row of a SHOW, by column. */
export type ShownRow = Readonly<Record<string, string | number | null>>;

/** Asks the console for `SHOW what`, as the superuser `postgres` unless it is said otherwise. */
export async function show(
  target: { readonly port: number } & Partial<LoginTarget>,
  what: string,
): Promise<ShownRow[]> {
  const { host = "127.0.0.1", password, port, user = "postgres" } = target;
  const secret = password === undefined ? {} : { password };
  const client = await logIn({ host, port, user, database: "pgbouncer", ...secret });
  try {
    return (await client.query<ShownRow>(`show ${what}`)).rows;
  } finally {
    await client.end();
  }
}
