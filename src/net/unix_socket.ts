/**
 * Binding a unix socket: a stale file is replaced, a live one refused or taken over; mode and group
 * are set.
 */

import { dirname, extname, join } from "node:path";
import { errorText } from "../base/error_text.ts";
import { ListenError } from "./network.ts";

/** Where and how to bind. */
export interface UnixSocketOptions {
  readonly path: string;
  readonly mode: number;
  readonly group: string | undefined;
  readonly isShared?: boolean;
}

/** A socket that listens. */
export interface BoundSocket {
  readonly listener: Deno.Listener;
  /** Whether its path leads here; of one without a path, that it does. */
  isInPlace(): boolean;
  /** Whether the path is another's that is gone. */
  isDeserted(): Promise<boolean>;
  /** Makes the path of a shared one lead here. @throws {ListenError} If that cannot be done. */
  takeOver(): void;
  /** Makes the path lead here no more, if it still does, and the runtime would not see to that. */
  leave(): void;
}

/**
 * Listens on `path`; if that `isShared`, only once it has been taken over.
 * @throws {ListenError} If another process listens there that does not let it go, or the path is not
 * a socket.
 */
export async function bindUnixSocket(
  options: UnixSocketOptions,
  groupIdOf: (group: string) => number,
): Promise<BoundSocket> {
  const { path } = options;
  if (path.startsWith("@")) {
    return {
      ...KEPT_IN_PLACE,
      listener: Deno.listen({ transport: "unix", path: unixAddress(path) }),
    };
  }
  if (options.isShared === true) return await bindBeside(options, groupIdOf);
  await removeStaleSocket(path);
  return { ...KEPT_IN_PLACE, listener: await bindFile(options, groupIdOf) };
}

/** The system's name for a path: one that begins with `@` is abstract, without a file. */
export function unixAddress(path: string): string {
  return path.startsWith("@") ? `\0${path.slice(1)}` : path;
}

/** A socket that nobody takes over: its address is its own, and the runtime removes what file it has. */
export const KEPT_IN_PLACE: Omit<BoundSocket, "listener"> = {
  isInPlace: () => true,
  isDeserted: () => Promise.resolve(false),
  takeOver: () => {},
  leave: () => {},
};

async function bindFile(
  { group, mode, path }: UnixSocketOptions,
  groupIdOf: (group: string) => number,
): Promise<Deno.Listener> {
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

/**
 * Binds by a name of its own, to give the socket the path by a rename: there is no moment at which
 * nobody listens there. When the listener is closed, the runtime removes the name it was bound by,
 * and so nothing, or what has not come to be renamed.
 */
async function bindBeside(
  options: UnixSocketOptions,
  groupIdOf: (group: string) => number,
): Promise<BoundSocket> {
  const { path } = options;
  await checkHolder(path);
  const ownName = nameBeside(path);
  await removeStaleSocket(ownName);
  const listener = await bindFile({ ...options, path: ownName }, groupIdOf);
  try {
    const file = await Deno.lstat(ownName);
    const isInPlace = () => isSameFile(file, path);
    return {
      listener,
      isInPlace,
      isDeserted: async () => !isInPlace() && await leadsNowhere(path),
      takeOver: () => rename(ownName, path),
      leave: () => {
        if (isInPlace()) removeQuietly(path);
      },
    };
  } catch (error) {
    listener[Symbol.dispose]();
    throw error;
  }
}

/**
 * `.1234.6432` beside `.s.PGSQL.6432`: no longer than that, since the system allows some 100 bytes in
 * all, and a process's number has 7 digits at most.
 */
function nameBeside(path: string): string {
  return join(dirname(path), `.${Deno.pid}${extname(path)}`);
}

function rename(ownName: string, path: string): void {
  try {
    Deno.renameSync(ownName, path);
  } catch (error) {
    throw refusalOf(path, errorText(error), error);
  }
}

/** @throws {ListenError} If what is at the path is not to be taken over. */
async function checkHolder(path: string): Promise<void> {
  const info = await socketAt(path);
  if (info === undefined) return;
  const boundBy = await nameBoundBy(path);
  if (boundBy === undefined) return;
  if (info.uid !== Deno.uid()) {
    throw refusalOf(path, "a process of another user listens there");
  }
  // It would remove our file when it ends, since that has the name that it was bound by.
  if (boundBy === path) {
    throw refusalOf(path, "another process listens there, without so_reuseport");
  }
}

/** Whether that is to be seen: a folder may have been taken away, or closed to us. */
function isSameFile(file: Deno.FileInfo, path: string): boolean {
  try {
    const { dev, ino } = Deno.lstatSync(path);
    return dev === file.dev && ino === file.ino;
  } catch {
    return false;
  }
}

async function leadsNowhere(path: string): Promise<boolean> {
  try {
    return await nameBoundBy(path) === undefined;
  } catch {
    // Somebody is there, as far as can be seen.
    return false;
  }
}

/** As the runtime does with a file of its own: one that is left over must not get in the way of the end. */
function removeQuietly(path: string): void {
  try {
    Deno.removeSync(path);
  } catch {
    // Whoever starts next finds that nobody listens there.
  }
}

async function removeStaleSocket(path: string): Promise<void> {
  if (await socketAt(path) === undefined) return;
  if (await nameBoundBy(path) !== undefined) {
    throw refusalOf(path, "another process listens there");
  }
  await Deno.remove(path);
}

/** @throws {ListenError} If there is something else. */
async function socketAt(path: string): Promise<Deno.FileInfo | undefined> {
  let info: Deno.FileInfo;
  try {
    info = await Deno.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  if (!info.isSocket) throw refusalOf(path, "it is not a socket");
  return info;
}

/** The name by which who listens at a path has bound its socket; undefined if nobody does. */
async function nameBoundBy(path: string): Promise<string | undefined> {
  try {
    const conn = await Deno.connect({ transport: "unix", path });
    conn.close();
    return (conn.remoteAddr as Deno.UnixAddr).path;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) return undefined;
    if (error instanceof Deno.errors.NotFound) return undefined;
    // As Linux says it of a unix socket. Whose it is cannot be told without a connection.
    if (error instanceof Deno.errors.WouldBlock) {
      throw refusalOf(
        path,
        "a process listens there that accepts nobody, and its queue is full; end it if it hangs",
      );
    }
    throw error;
  }
}

function refusalOf(path: string, reason: string, cause?: unknown): ListenError {
  return new ListenError({ kind: "unix", path }, reason, cause === undefined ? {} : { cause });
}
