/** Logging in as an application does, with `npm:pg`, and what comes of it. */

// @ts-types="@types/pg"
import pg from "pg";
import { PATIENCE_MS } from "./eventually.ts";

/** A connected client of `npm:pg`. */
export type Client = pg.Client;

/** Where to log in, and as whom. */
export interface LoginTarget {
  /** Default: 127.0.0.1. A folder means the unix socket in it. */
  readonly host?: string;
  readonly port: number;
  readonly user: string;
  readonly database?: string;
  readonly password?: string;
}

/** Logs in. Rejects with the pooler's error. The caller ends the client. */
export async function logIn(
  { database = "postgres", host = "127.0.0.1", ...rest }: LoginTarget,
): Promise<pg.Client> {
  const limit = { connectionTimeoutMillis: PATIENCE_MS };
  const client = new pg.Client({ database, host, ...limit, ...rest });
  // A connection that breaks later shows in the query then running.
  client.on("error", () => {});
  try {
    await client.connect();
    return client;
  } catch (error) {
    await client.end();
    throw error;
  }
}

/** Logs in, runs one query and leaves. Answers the first value of the first row. */
export async function ask(target: LoginTarget, sql: string): Promise<unknown> {
  const client = await logIn(target);
  try {
    const { rows } = await client.query<unknown[]>({ text: sql, rowMode: "array" });
    return rows[0]?.[0];
  } finally {
    await client.end();
  }
}

/** The same, with an error turned into its text: `"28P01 password authentication failed"`. */
export async function outcome(target: LoginTarget, sql = "select 'in'"): Promise<unknown> {
  try {
    return await ask(target, sql);
  } catch (error) {
    return errorText(error);
  }
}

/** SQLSTATE and message of an error that came over the protocol. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = "code" in error && typeof error.code === "string" ? `${error.code} ` : "";
  return code + error.message;
}
