/** What this machine has, keeps over restarts, and tells nobody outside: its machine ID. */

/** Where it stands: systemd's place, and the older one of D-Bus. */
const PATHS: readonly string[] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/**
 * Reads it; undefined where there is none, as in many containers, or where it may not be read.
 * Source: machine-id(5), which demands that it be not shown and only be used to make other IDs.
 */
export function readHostSecret(paths: readonly string[] = PATHS): string | undefined {
  for (const path of paths) {
    const text = readIfAllowed(path)?.trim() ?? "";
    // A machine that was not set up yet has something else there, or nothing but zeros.
    if (/^[0-9a-f]{32}$/.test(text) && !/^0+$/.test(text)) return text;
  }
  return undefined;
}

function readIfAllowed(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    const isExpected = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.NotCapable ||
      error instanceof Deno.errors.IsADirectory || error instanceof Deno.errors.NotADirectory;
    if (isExpected) return undefined;
    throw error;
  }
}
