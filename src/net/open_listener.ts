/** Opening listening sockets, by the runtime, whichever engine accepts from them. */

import { errorText } from "../base/error_text.ts";
import { type ListenAddress, ListenError } from "./network.ts";
import { bindUnixSocket, type BoundSocket, KEPT_IN_PLACE } from "./unix_socket.ts";

/** A listening socket of the runtime's. */
export interface OpenedListener extends BoundSocket, Disposable {
  /** As bound: port 0 has become a real one. */
  readonly address: ListenAddress;
}

/**
 * Opens a listening socket.
 * @throws {ListenError} If the address is in use or cannot be bound.
 */
export async function openListener(
  address: ListenAddress,
  groupIdOf: (group: string) => number,
): Promise<OpenedListener> {
  try {
    const opened = address.kind === "unix"
      ? await bindUnixSocket(address, groupIdOf)
      : bindTcp(address);
    return {
      ...opened,
      address: boundAddress(address, opened.listener),
      [Symbol.dispose]() {
        opened.leave();
        opened.listener[Symbol.dispose]();
      },
    };
  } catch (error) {
    if (error instanceof ListenError) throw error;
    const isInUse = error instanceof Deno.errors.AddrInUse;
    const reason = isInUse ? "address already in use" : errorText(error);
    throw new ListenError(address, reason, { cause: error });
  }
}

function bindTcp(address: Extract<ListenAddress, { kind: "tcp" }>): BoundSocket {
  const { backlog, host, isShared = false, port } = address;
  if (isShared && Deno.build.os === "windows") {
    throw new ListenError(address, "Windows has no so_reuseport");
  }
  const options = { hostname: host, port, tcpBacklog: backlog };
  const listener = Deno.listen(isShared ? { ...options, reusePort: true } : options);
  return { ...KEPT_IN_PLACE, listener };
}

function boundAddress(address: ListenAddress, listener: Deno.Listener): ListenAddress {
  if (address.kind === "unix") return address;
  return { ...address, port: (listener.addr as Deno.NetAddr).port };
}
