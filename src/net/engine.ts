/** Chooses the I/O engine: the native one where it works, else the portable one, and says why. */

import type { HeldClock } from "../base/clock.ts";
import { errorText } from "../base/error_text.ts";
import type { Random } from "../base/random.ts";
import type { LoopLag } from "../stats/loop_lag.ts";
import { Libc, NoLibcError } from "./native/libc.ts";
import { finishIfNobodyWaits, openWithDescriptor } from "./native/listening_descriptor.ts";
import { NativeNetwork } from "./native/native_network.ts";
import { NativeTls } from "./native/native_tls.ts";
import { SocketPeerCredentials } from "./native/peer_credentials.ts";
import type { Network } from "./network.ts";
import { NoTls } from "./no_tls.ts";
import { PortableNetwork } from "./portable/portable_network.ts";

/** What `io_engine` may say. */
export type EngineChoice = "auto" | "native" | "portable";

/** An engine that is there. */
export type EngineName = "native" | "portable";

/** What engines need. */
export interface EngineOptions {
  readonly clock: HeldClock;
  readonly random: Random;
  /** Told how late turns come, by an engine that knows. */
  readonly loopLag?: LoopLag | undefined;
  readonly onAcceptError: (error: unknown) => void;
  /** Told of our own mistakes that were met while handing out events. */
  readonly onError: (error: unknown) => void;
  readonly groupIdOf: (group: string) => number;
  /** Whether an engine is of no use that does not speak TLS; no if left out. */
  readonly needsTls?: boolean;
}

/** An engine, ready for use. */
export interface Engine extends AsyncDisposable {
  readonly name: EngineName;
  readonly network: Network;
  /** What of the kernel it makes use of besides, if it can, for the log. */
  readonly extra: string | undefined;
  /** Why it is not the native one, if that was wanted where possible. */
  readonly reason: string | undefined;
}

/** The native engine was asked for, and does not work here. */
export class EngineError extends Error {
  override readonly name = "EngineError";
}

/**
 * Opens the engine of choice.
 * @throws {EngineError} If it has to be the native one, and that does not work here.
 */
export async function openEngine(choice: EngineChoice, options: EngineOptions): Promise<Engine> {
  const libc = tryLibc();
  if (choice === "portable") return portableEngine(options, libc, undefined);
  const native = libc instanceof Libc ? await tryNativeEngine(options, libc) : libc.message;
  if (typeof native !== "string") return native;
  if (choice === "auto") return portableEngine(options, libc, native);
  if (libc instanceof Libc) libc[Symbol.dispose]();
  throw new EngineError(`io_engine = native: ${native}`);
}

/** The engine that would be used here, and why not the native one; leaves nothing open. */
export async function probeEngine(
  choice: EngineChoice,
  { needsTls = false, random }: Pick<EngineOptions, "needsTls" | "random">,
): Promise<{ name: EngineName; reason: string | undefined }> {
  if (choice === "portable") return { name: "portable", reason: undefined };
  const libc = tryLibc();
  if (!(libc instanceof Libc)) return { name: "portable", reason: libc.message };
  using _libc = libc;
  using tls = needsTls ? NativeTls.open() : undefined;
  const reason = await whyNotNative(libc, { random, tls });
  return { name: reason === undefined ? "native" : "portable", reason };
}

function tryLibc(): Libc | NoLibcError {
  try {
    return Libc.open();
  } catch (error) {
    if (error instanceof NoLibcError) return error;
    throw error;
  }
}

/**
 * Tries on a listener of its own what the engine lives on, that its descriptor can be found; and
 * whether there is TLS, if that is given as what is needed.
 */
async function whyNotNative(
  libc: Libc,
  { random, tls }: { readonly random: Random; readonly tls: NativeTls | NoTls | undefined },
): Promise<string | undefined> {
  if (tls instanceof NoTls) return tls.reason;
  // A name of its own: others may be probing at this moment.
  const path = `\0sluice-probe-${random.bytes(16).join("-")}`;
  const open = () => {
    const listener = Deno.listen({ transport: "unix", path });
    return Promise.resolve({ listener, [Symbol.dispose]: () => listener[Symbol.dispose]() });
  };
  try {
    const { opened } = await openWithDescriptor(libc, open);
    opened[Symbol.dispose]();
    return undefined;
  } catch (error) {
    return errorText(error);
  }
}

/** The engine, or why it cannot be had; then the library is still open. */
async function tryNativeEngine(options: EngineOptions, libc: Libc): Promise<Engine | string> {
  const { needsTls = false, random } = options;
  using opened = new DisposableStack();
  const tls = opened.use(NativeTls.open());
  const reason = await whyNotNative(libc, { random, tls: needsTls ? tls : undefined });
  if (reason !== undefined) return reason;
  try {
    const network = await NativeNetwork.open({ ...options, libc, tls });
    const owned = opened.move();
    return {
      name: "native",
      network,
      extra: network.sendsTogether ? "io_uring" : undefined,
      reason: undefined,
      async [Symbol.asyncDispose]() {
        await network[Symbol.asyncDispose]();
        owned.dispose();
        libc[Symbol.dispose]();
      },
    };
  } catch (error) {
    return errorText(error);
  }
}

function portableEngine(
  options: EngineOptions,
  libc: Libc | NoLibcError,
  reason: string | undefined,
): Engine {
  const hasLibc = libc instanceof Libc;
  const peerCredentials = hasLibc ? new SocketPeerCredentials(libc) : undefined;
  const finishIfQuiet = (listener: Deno.Listener) =>
    hasLibc ? finishIfNobodyWaits(libc, listener) : undefined;
  const network = new PortableNetwork({ ...options, peerCredentials, finishIfQuiet });
  return {
    name: "portable",
    network,
    extra: undefined,
    reason,
    [Symbol.asyncDispose]() {
      if (hasLibc) libc[Symbol.dispose]();
      return Promise.resolve();
    },
  };
}
