/** Who may say for whom a connection is (`proxy_protocol`, `proxy_trusted`). */

import { type IpRange, isInRange, parseIpRange, peerIp } from "../base/ip_address.ts";
import type { ProxyRule } from "../client/client_origin.ts";
import type { Settings } from "../config/settings.ts";
import type { ByteStream } from "../net/byte_stream.ts";

/** The proxies of the settings in force. */
export class TrustedProxies {
  readonly #settings: () => Settings;
  #ranges: readonly IpRange[] = [];
  /** The texts that `#ranges` was made of. */
  #texts: readonly string[] = [];

  constructor(settings: () => Settings) {
    this.#settings = settings;
  }

  /** What a connection must begin with. */
  ruleFor({ isUnix, remote }: ByteStream): ProxyRule {
    // Who connects to a unix socket is on this machine, and is told by the kernel.
    if (!this.#settings().proxyProtocol || isUnix) return "off";
    const address = peerIp(remote.host);
    const isTrusted = address !== undefined &&
      this.#trusted().some((range) => isInRange(address, range));
    return isTrusted ? "required" : "refused";
  }

  /** Made once, until the setting changes. */
  #trusted(): readonly IpRange[] {
    const { proxyTrusted } = this.#settings();
    if (this.#texts !== proxyTrusted) {
      this.#texts = proxyTrusted;
      this.#ranges = proxyTrusted.flatMap((text) => parseIpRange(text) ?? []);
    }
    return this.#ranges;
  }
}
