/** The native I/O engine, for Linux: one reactor for all listeners and connections of a pooler. */

import type { HeldClock } from "../../base/clock.ts";
import { errorText } from "../../base/error_text.ts";
import type { Random } from "../../base/random.ts";
import type { LoopLag } from "../../stats/loop_lag.ts";
import type { ByteStream } from "../byte_stream.ts";
import {
  type DialOptions,
  type ListenAddress,
  type Listener,
  ListenError,
  type Network,
  type ServerAddress,
  type StreamOptions,
} from "../network.ts";
import { dialWithin } from "../dial_limit.ts";
import { openListener } from "../open_listener.ts";
import { KEPT_IN_PLACE } from "../unix_socket.ts";
import type { TlsEngine } from "../tls.ts";
import type { LibcCalls } from "./libc.ts";
import { openWithDescriptor } from "./listening_descriptor.ts";
import { dialNative } from "./native_dial.ts";
import { type ListeningSocket, NativeListener } from "./native_listener.ts";
import { Reactor } from "./reactor.ts";
import { RuntimeTurn } from "./runtime_turn.ts";

/** What the engine is made of. */
export interface NativeNetworkOptions {
  readonly libc: LibcCalls;
  /** Belongs to the caller. */
  readonly tls: TlsEngine;
  /** The one that the pooler goes by: it is held while events are handed out. */
  readonly clock: HeldClock;
  readonly random: Random;
  /** Told how late turns come. */
  readonly loopLag?: LoopLag | undefined;
  /** Told of trouble with accepting. */
  readonly onAcceptError: (error: unknown) => void;
  /** Told of our own mistakes that were met while handing out events. */
  readonly onError: (error: unknown) => void;
  /** The group's number by its name, for `unix_socket_group`. */
  readonly groupIdOf: (group: string) => number;
}

/** A listening socket, where it listens, and who owns it. */
interface OpenListener {
  readonly descriptor: number;
  readonly opened: ListeningSocket;
}

/** Sockets of the C library as an I/O engine. */
export class NativeNetwork implements Network {
  readonly tls: TlsEngine;
  readonly #options: NativeNetworkOptions;
  readonly #turn: RuntimeTurn;
  readonly #reactor: Reactor;

  private constructor(options: NativeNetworkOptions, turn: RuntimeTurn) {
    const { clock, libc, loopLag, onError } = options;
    this.tls = options.tls;
    this.#options = options;
    this.#turn = turn;
    this.#reactor = new Reactor({ libc, clock, turn, loopLag, onError });
  }

  /**
   * Sets the engine up.
   * @throws {LibcError} If the system refuses what it needs.
   */
  static async open(options: NativeNetworkOptions): Promise<NativeNetwork> {
    const turn = await RuntimeTurn.open(options.libc, options.random);
    try {
      return new NativeNetwork(options, turn);
    } catch (error) {
      turn[Symbol.dispose]();
      throw error;
    }
  }

  /** Whether the kernel has a call for many sends, which is used where there are many. */
  get sendsTogether(): boolean {
    return this.#reactor.sends.isOfUse;
  }

  /**
   * @throws {ListenError} If the address cannot be listened on, or not with these options.
   * @throws {DescriptorError} If the listener's descriptor cannot be found.
   */
  async listen(address: ListenAddress, options: () => StreamOptions): Promise<Listener> {
    const { clock, libc, onAcceptError } = this.#options;
    const { descriptor, opened } = await this.#open(address);
    try {
      return new NativeListener({
        libc,
        reactor: this.#reactor,
        clock,
        opened,
        descriptor,
        options,
        onAcceptError,
      });
    } catch (error) {
      opened[Symbol.dispose]();
      throw new ListenError(address, errorText(error), { cause: error });
    }
  }

  /** Opens a listening socket, or takes the one that is there already. */
  async #open(address: ListenAddress): Promise<OpenListener> {
    const { groupIdOf, libc } = this.#options;
    const { descriptor: given } = address;
    if (given !== undefined) {
      const opened = {
        ...KEPT_IN_PLACE,
        address,
        [Symbol.dispose]: () => libc.close(given),
      };
      return { descriptor: given, opened };
    }
    const open = await openWithDescriptor(libc, () => openListener(address, groupIdOf));
    // Else each new connection would call the runtime, which never accepts.
    this.#turn.ignore(open.descriptor);
    return open;
  }

  dial(address: ServerAddress, options: DialOptions): Promise<ByteStream> {
    const { clock, libc } = this.#options;
    const reactor = this.#reactor;
    return dialWithin(
      options,
      clock,
      (signal) => dialNative(address, { libc, reactor, signal, options }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reactor[Symbol.asyncDispose]();
    this.#turn[Symbol.dispose]();
  }
}
