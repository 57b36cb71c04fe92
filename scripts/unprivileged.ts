/**
 * Who may run PostgreSQL and Sluice when a script is run by root: both refuse root, so they run under
 * an unprivileged uid. Nothing here changes the uid of the script itself.
 */

/** A user and group to run a child process under. */
export interface Ids {
  readonly uid: number;
  readonly gid: number;
}

/** The accounts looked for, best first: none of them owns files or needs a home. */
const ACCOUNTS = ["nobody", "daemon"] as const;

/** The numbers that `nobody` has on nearly every system, for one without a readable account list. */
const FALLBACK: Ids = { uid: 65534, gid: 65534 };

/** The ids children are started under: nothing (keep ours) unless this process is root. */
export function unprivilegedIds(): Ids | undefined {
  if (Deno.build.os === "windows" || Deno.uid() !== 0) return undefined;
  return idsFromPasswd(Deno.readTextFileSync("/etc/passwd"));
}

/** Picks the ids of an unprivileged account out of the text of an account list. */
export function idsFromPasswd(passwd: string): Ids {
  const lines = passwd.split("\n").map((line) => line.split(":"));
  for (const account of ACCOUNTS) {
    const fields = lines.find((line) => line[0] === account);
    const uid = Number(fields?.[2]);
    const gid = Number(fields?.[3]);
    if (uid > 0 && gid > 0) return { uid, gid };
  }
  return FALLBACK;
}

/** Gives a file or folder to the ids that children run under; does nothing without ids. */
export async function giveTo(ids: Ids | undefined, path: string): Promise<void> {
  if (ids !== undefined) await Deno.chown(path, ids.uid, ids.gid);
}
