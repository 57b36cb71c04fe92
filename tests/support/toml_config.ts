/** Sluice's configuration for a test: what the test is about, and nothing else to be read past. */

import type { Postgres } from "../../scripts/postgres_fixture.ts";

/** A value as the configuration has it. */
export type ConfigValue =
  | string
  | number
  | boolean
  | { readonly env: string }
  | { readonly file: string };

/** Settings by name. */
export type ConfigSection = Readonly<Record<string, ConfigValue>>;

/** What a test changes. */
export interface ConfigParts {
  /** Over the defaults below. */
  readonly pooler?: ConfigSection;
  readonly databases?: Readonly<Record<string, ConfigSection>>;
  readonly users?: Readonly<Record<string, ConfigSection>>;
}

/** A port of the loopback address that is free, no unix socket, and nobody asked for a password. */
const DEFAULTS: ConfigSection = {
  listen_addr: "127.0.0.1",
  listen_port: 0,
  unix_socket_dir: "",
  auth_type: "trust",
  server_tls_sslmode: "disable",
};

/** The text of a configuration file. */
export function tomlConfig(parts: ConfigParts): string {
  const sections = [section("pooler", { ...DEFAULTS, ...parts.pooler })];
  for (const [name, settings] of Object.entries(parts.databases ?? {})) {
    sections.push(section(`databases.${JSON.stringify(name)}`, settings));
  }
  for (const [name, settings] of Object.entries(parts.users ?? {})) {
    sections.push(section(`users.${JSON.stringify(name)}`, settings));
  }
  return sections.join("\n");
}

/**
 * The same with every database of `postgres` and its superuser, who is an admin of the console, unless
 * the test says otherwise.
 */
export function configFor(postgres: Postgres, parts: ConfigParts = {}): string {
  return tomlConfig({
    pooler: { admin_users: postgres.superuser, ...parts.pooler },
    databases: parts.databases ?? { "*": serverOf(postgres) },
    users: { [postgres.superuser]: { password: postgres.password }, ...parts.users },
  });
}

/** Where `postgres` is, for an entry of `databases`. */
export function serverOf({ host, port }: Postgres): ConfigSection {
  return { host, port };
}

function section(name: string, settings: ConfigSection): string {
  const lines = Object.entries(settings).map(([key, value]) => `${key} = ${shown(value)}\n`);
  return `[${name}]\n${lines.join("")}`;
}

function shown(value: ConfigValue): string {
  if (typeof value !== "object") return JSON.stringify(value);
  const [[kind, text] = ["", ""]] = Object.entries(value);
  return `{ ${kind} = ${JSON.stringify(text)} }`;
}
