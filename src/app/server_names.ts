/** Who is asked for the addresses of servers. */

import { errorText } from "../base/error_text.ts";
import type { Settings } from "../config/settings.ts";
import { type NameResolver, NameServerResolver, SystemResolver } from "../net/name_resolver.ts";
import { readResolvConf } from "../net/resolv_conf.ts";

/** `resolv_conf` cannot be read. */
export class ResolvConfError extends Error {
  override readonly name = "ResolvConfError";
}

/**
 * Opens what `resolv_conf` says; without it, the system.
 * @throws {ResolvConfError} If that file cannot be read.
 */
export async function openResolver({ resolvConf }: Settings): Promise<NameResolver> {
  if (resolvConf === "") return new SystemResolver();
  try {
    return new NameServerResolver(readResolvConf(await Deno.readTextFile(resolvConf)));
  } catch (error) {
    throw new ResolvConfError(`Cannot read resolv_conf ${resolvConf}: ${errorText(error)}`);
  }
}
