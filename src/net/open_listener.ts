/** Opening listening sockets, by the runtime, whichever engine accepts from them. */

import { formatAddress, type ListenAddress, ListenError } from "./network.ts";
import { bindUnixSocket } from "./unix_socket.ts";

/**
 * Opens a listening socket.
 * @throws {ListenError} If the address is in use or cannot be bound.
 */
export async function openListener(
  address: ListenAddress,
  groupIdOf: (group: string) => number,
): Promise<Deno.Listener> {
  try {
    if (address.kind === "unix") return await bindUnixSocket(address, groupIdOf);
    return Deno.listen({
      hostname: address.host,
      port: address.port,
      tcpBacklog: address.backlog,
    });
  } catch (error) {
    if (error instanceof ListenError) throw error;
    const reason = error instanceof Deno.errors.AddrInUse
      ? "address already in use"
      : error instanceof Error
      ? error.message
      : String(error);
    throw new ListenError(`Cannot listen on ${formatAddress(address)}: ${reason}`, {
      cause: error,
    });
  }
}

/** The address as bound: port 0 has become a real one. */
export function boundAddress(address: ListenAddress, listener: Deno.Listener): ListenAddress {
  if (address.kind === "unix") return address;
  return { ...address, port: (listener.addr as Deno.NetAddr).port };
}
