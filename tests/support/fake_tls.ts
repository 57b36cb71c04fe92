/** A TLS engine that makes contexts and speaks nothing: for tests of how it is set up. */

import {
  type TlsContext,
  type TlsContextOptions,
  type TlsEngine,
  TlsSetupError,
} from "../../src/net/tls.ts";

/** A context that says what became of it. */
export interface FakeTlsContext extends TlsContext {
  readonly options: TlsContextOptions;
  readonly isDisposed: boolean;
}

/** Remembers what it was asked for. */
export class FakeTls implements TlsEngine {
  readonly name = "fake";
  readonly made: FakeTlsContext[] = [];
  /** Why nothing can be made from now on. */
  failure: string | undefined;

  /** Those that are not disposed of. */
  get live(): readonly FakeTlsContext[] {
    return this.made.filter(({ isDisposed }) => !isDisposed);
  }

  makeContext(options: TlsContextOptions): TlsContext {
    if (this.failure !== undefined) throw new TlsSetupError(this.failure);
    let isDisposed = false;
    const context = {
      peer: options.peer,
      options,
      get isDisposed() {
        return isDisposed;
      },
      [Symbol.dispose]() {
        isDisposed = true;
      },
    };
    this.made.push(context);
    return context;
  }
}
