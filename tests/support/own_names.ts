/** Names that stand for themselves: the simulated network knows them as they are. */

import { NameError, type NameResolver } from "../../src/net/name_resolver.ts";

/** Each name is its own address. */
export const OWN_NAMES: NameResolver = {
  lookUp: (name) => Promise.resolve({ addresses: [name], ttlMs: undefined }),
  zoneSerial: (zone) => Promise.reject(new NameError(`${zone} is no zone`)),
};
