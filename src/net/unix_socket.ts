/** Binding a unix socket: a stale file is replaced, a live one refused; mode and group are set. */

import { ListenError } from "./network.ts";

/** Where and how to bind. */
export interface UnixSocketOptions {
  readonly path: string;
  readonly mode: number;
  readonly group: string | undefined;
}

/**
 * Listens on `path`.
 * @throws {ListenError} If another process listens there, or the path is not a socket.
 */
export async function bindUnixSocket(
  { path, mode, group }: UnixSocketOptions,
  groupIdOf: (group: string) => number,
): Promise<Deno.Listener> {
  if (path.startsWith("@")) return Deno.listen({ transport: "unix", path: unixAddress(path) });
  await removeStaleSocket(path);
  const listener = Deno.listen({ transport: "unix", path });
  try {
    await Deno.chmod(path, mode);
    if (group !== undefined) await Deno.chown(path, null, groupIdOf(group));
    return listener;
  } catch (error) {
    listener[Symbol.dispose]();
    throw error;
  }
}

/** The system's name for a path: one that begins with `@` is abstract, without a file. */
export function unixAddress(path: string): string {
  return path.startsWith("@") ? `\0${path.slice(1)}` : path;
}

async function removeStaleSocket(path: string): Promise<void> {
  let info: Deno.FileInfo;
  try {
    info = await Deno.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  if (!info.isSocket) throw new ListenError(`Cannot listen on ${path}: it is not a socket`);
  if (await isAlive(path)) {
    throw new ListenError(`Cannot listen on ${path}: another process listens there`);
  }
  await Deno.remove(path);
}

async function isAlive(path: string): Promise<boolean> {
  try {
    const conn = await Deno.connect({ transport: "unix", path });
    conn.close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) return false;
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
