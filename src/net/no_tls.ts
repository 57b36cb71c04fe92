/** For engines that do not speak TLS. */

import { type TlsContext, type TlsEngine, TlsSetupError } from "./tls.ts";

/** Refuses to be set up, and says why. */
export class NoTls implements TlsEngine, Disposable {
  readonly name = "none";
  readonly reason: string;

  constructor(reason = "TLS is not spoken here") {
    this.reason = reason;
  }

  makeContext(): TlsContext {
    throw new TlsSetupError(this.reason);
  }

  /** There is nothing to give back. */
  [Symbol.dispose](): void {}
}
