/** The networks that this machine is in, for the words `samehost` and `samenet` of HBA rules. */

import { type IpRange, parseIp, peerIp } from "../base/ip_address.ts";

/** Address and mask of each interface, as they are now. */
export function ownNetworks(): IpRange[] {
  const networks: IpRange[] = [];
  for (const { address, netmask } of Deno.networkInterfaces()) {
    const [own, mask] = [peerIp(address), parseIp(netmask)];
    const isWhole = own !== undefined && mask !== undefined && own.length === mask.length;
    if (isWhole) networks.push({ address: own, mask });
  }
  return networks;
}
