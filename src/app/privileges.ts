/**
 * Whom the process runs as. Started as root, Sluice becomes the user that `user` names before it
 * opens anything, and gives up root's groups with it.
 * Source: initgroups(3), passwd(5), group(5).
 */

import process from "node:process";
import { errorText } from "../base/error_text.ts";
import { ProcessLibc } from "../net/native/process_libc.ts";

/** The user cannot be had. */
export class PrivilegeError extends Error {
  override readonly name = "PrivilegeError";
}

interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** User ID of this process; undefined where there is no such thing. */
export function ownUid(): number | undefined {
  return Deno.build.os === "windows" ? undefined : Deno.uid() ?? undefined;
}

/**
 * Becomes `user`, given by name or number, if this is root; for others it must be who they are.
 * @throws {PrivilegeError} If root is all there is, or the user cannot be had.
 */
export function becomeUser(user: string | undefined): void {
  if (ownUid() !== 0) return checkUser(user);
  if (user === undefined || user === "") {
    throw new PrivilegeError(
      'Sluice does not run as root: set "user" in the configuration, or start it with -u USER',
    );
  }
  const account = findAccount(user);
  if (account.uid === 0) throw new PrivilegeError(`Sluice does not run as root: user is "${user}"`);
  initGroups(account);
  process.setgid!(account.gid);
  process.setuid!(account.uid);
}

/** Number of a group by its name, or the number itself. @throws {PrivilegeError} If unknown. */
export function groupIdOf(group: string): number {
  if (/^\d+$/.test(group)) return Number(group);
  const line = linesOf("/etc/group").find(([name]) => name === group);
  if (line === undefined) throw new PrivilegeError(`There is no group "${group}"`);
  return Number(line[2]);
}

function checkUser(user: string | undefined): void {
  if (user === undefined || user === "" || ownUid() === undefined) return;
  if (findAccount(user).uid === ownUid()) return;
  throw new PrivilegeError(`Cannot become user "${user}": only root can`);
}

function findAccount(user: string): Account {
  const line = linesOf("/etc/passwd").find(([name, , uid]) => name === user || uid === user);
  if (line === undefined) throw new PrivilegeError(`There is no user "${user}"`);
  return { name: line[0]!, uid: Number(line[2]), gid: Number(line[3]) };
}

function linesOf(path: string): string[][] {
  return Deno.readTextFileSync(path).split("\n").map((line) => line.split(":"));
}

function initGroups({ gid, name }: Account): void {
  let libc: ProcessLibc;
  try {
    libc = ProcessLibc.open();
  } catch (error) {
    throw new PrivilegeError(`Cannot become user "${name}": ${errorText(error)}`, { cause: error });
  }
  const result = libc.initGroups(name, gid);
  libc[Symbol.dispose]();
  if (result !== 0) throw new PrivilegeError(`Cannot take on the groups of user "${name}"`);
}
