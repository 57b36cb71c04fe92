/** Connections to LDAP directories over the network of the system. */

import type { LdapConnector } from "../auth/ldap_login.ts";

/**
 * As `ldapConnector()`; what that needs is loaded with the first connection, since most poolers have
 * no directory, and each would pay for it with its start and its memory.
 */
export function systemLdapConnector(authorities: string | undefined): LdapConnector {
  return async (server, options) => {
    const { ldapConnector } = await import("./ldap_connection.ts");
    return await ldapConnector(authorities)(server, options);
  };
}
