/** What reading a configuration needs from outside, and how it names files. */

/** The outside world as the readers see it. */
export interface ConfigIo {
  /** The text of a file; rejects when it cannot be read. */
  readTextFile(path: string): Promise<string>;
  /** A variable of the environment. */
  env(name: string): string | undefined;
}

/** The path that `name` means in the file at `from`: relative to that file's directory. */
export function resolvePath(from: string, name: string): string {
  if (name.startsWith("/")) return normalize(name);
  const slash = from.lastIndexOf("/");
  return normalize(slash < 0 ? name : `${from.slice(0, slash + 1)}${name}`);
}

/** Takes out `.` and `..`, so that one file has one name. */
function normalize(path: string): string {
  const isAbsolute = path.startsWith("/");
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    const last = parts.at(-1);
    if (part === ".." && last !== undefined && last !== "..") parts.pop();
    else if (part !== ".." || !isAbsolute) parts.push(part);
  }
  return `${isAbsolute ? "/" : ""}${parts.join("/")}`;
}
