/**
 * Services of PAM: files in `/etc/pam.d`, which go away with the tests. `pam_exec` stands for a module
 * that asks for the password.
 */

import { join } from "node:path";

/** The password of the user "ada". */
export const PASSWORD = "s3cret of ada ä";

/** What `pam_exec` runs, by the name of the service; PAM ends the password with a zero byte. */
const SCRIPTS: Readonly<Record<string, string>> = {
  asks:
    `test "$PAM_SERVICE/$PAM_USER/$PAM_RHOST/$(tr -d '\\0')" = "{service}/ada/127.0.0.1/${PASSWORD}"`,
  stuck: "exec sleep 2",
  breaks: "kill -KILL $PPID",
  prints: `echo '{"token":"","delayMs":0}' >/proc/$PPID/fd/1; exit 1`,
  mumbles: "printf 'last login: today' >/proc/$PPID/fd/1",
};

/** Lines of the services, by what the tests call them. */
export const SERVICES: Readonly<Record<string, readonly string[]>> = {
  permits: ["auth required pam_permit.so", "account required pam_permit.so"],
  denies: ["auth required pam_deny.so", "account required pam_permit.so"],
  expired: ["auth required pam_permit.so", "account required pam_deny.so"],
  unix: ["auth required pam_unix.so", "account required pam_unix.so"],
  ...Object.fromEntries(
    Object.keys(SCRIPTS).map((name) => [name, [
      `auth required pam_exec.so quiet expose_authtok {dir}/${name}`,
      "account required pam_permit.so",
    ]]),
  ),
};

/** Services that are there until they are disposed of: their names, by those above. */
export async function makeServices(): Promise<
  AsyncDisposable & { readonly of: (name: string) => string }
> {
  await using made = new AsyncDisposableStack();
  const dir = await Deno.makeTempDir({ prefix: "sluice-pam-" });
  made.defer(() => Deno.remove(dir, { recursive: true }));
  await Deno.chmod(dir, 0o755);
  const of = (name: string) => `sluice-test-${Deno.pid}-${name}`;
  for (const [name, lines] of Object.entries(SERVICES)) {
    const path = join("/etc/pam.d", of(name));
    await Deno.writeTextFile(path, `${lines.join("\n").replaceAll("{dir}", dir)}\n`);
    made.defer(() => Deno.remove(path));
  }
  for (const [name, script] of Object.entries(SCRIPTS)) {
    const text = `#!/bin/sh\n${script.replaceAll("{service}", of(name))}\n`;
    await Deno.writeTextFile(join(dir, name), text, { mode: 0o755 });
  }
  const all = made.move();
  return { of, [Symbol.asyncDispose]: () => all.disposeAsync() };
}
