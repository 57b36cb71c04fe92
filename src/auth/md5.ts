/**
 * PostgreSQL's MD5 passwords, both sides. Pure.
 *
 * The stored form is `md5` and 32 hexadecimal digits, md5(password + user name); the answer to a
 * challenge is `md5` and md5(those 32 digits + 4 bytes of salt). MD5 is used nowhere else.
 * Source: PostgreSQL, "Message Flow", AuthenticationMD5Password.
 */

import { createHash } from "node:crypto";

const PREFIX = "md5";

/** Whether a stored secret is an MD5 hash; PostgreSQL writes the digits in lower case only. */
export function isMd5Secret(text: string): boolean {
  return /^md5[0-9a-f]{32}$/.test(text);
}

/** Returns the stored form of a password: `md5` and 32 digits. A string counts as UTF-8. */
export function md5Secret(password: string | Uint8Array, userName: string): string {
  return PREFIX + createHash("md5").update(password).update(userName).digest("hex");
}

/** Returns the answer to the challenge `salt` of one who knows the stored form of the password. */
export function md5Response(secret: string, salt: Uint8Array): string {
  const digits = secret.slice(PREFIX.length);
  return PREFIX + createHash("md5").update(digits).update(salt).digest("hex");
}
