/**
 * A network namespace of Linux, joined to this one by a pair of interfaces, whose link can be cut and be made
 * slow and lossy. Needs root, `ip`, `tc` and `nsenter`.
 */

/** How a link is spoilt. */
export interface BadLink {
  readonly delayMs: number;
  /** Share of packets that are lost. */
  readonly loss: number;
}

/** Runs a command; rejects with what it complained of. */
async function run(command: string, ...args: readonly string[]): Promise<void> {
  const { stderr, success } = await new Deno.Command(command, {
    args: [...args],
    stdin: "null",
  }).output();
  if (success) return;
  throw new Error(`${command} ${args.join(" ")}: ${new TextDecoder().decode(stderr).trim()}`);
}

/** Why there are no namespaces on this machine; undefined if there are. */
export async function namespaceRefusal(): Promise<string | undefined> {
  if (Deno.build.os !== "linux") return "network namespaces are Linux's";
  if (Deno.uid() !== 0) return "network namespaces need root";
  try {
    await using _namespace = await NetworkNamespace.make();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** A namespace and the link to it. */
export class NetworkNamespace implements AsyncDisposable {
  /** As `ip netns` knows it. */
  readonly name: string;
  /** The address in the namespace. */
  readonly address: string;
  /** This side's address. */
  readonly nearAddress: string;
  readonly #near: string;
  readonly #far: string;
  /** What has been made, to be removed. */
  #parts: AsyncDisposableStack;

  private constructor(tag: string, parts: AsyncDisposableStack) {
    this.#parts = parts;
    // Of its own, as far as chance goes: several may be there at a time.
    const net = `10.213.${Math.floor(Math.random() * 256)}`;
    this.nearAddress = `${net}.1`;
    this.address = `${net}.2`;
    this.name = `sluice-${tag}`;
    this.#near = `sln-${tag}`;
    this.#far = `slf-${tag}`;
  }

  /** Makes both. */
  static async make(): Promise<NetworkNamespace> {
    await using parts = new AsyncDisposableStack();
    const made = new NetworkNamespace(crypto.randomUUID().slice(0, 8), parts);
    await made.#build();
    made.#parts = parts.move();
    return made;
  }

  async #build(): Promise<void> {
    await run("ip", "netns", "add", this.name);
    // A namespace that a process is still in lives on without a name.
    this.#parts.defer(() => run("ip", "netns", "del", this.name));
    const far = ["type", "veth", "peer", "name", this.#far, "netns", this.name];
    await run("ip", "link", "add", this.#near, ...far);
    // The pair goes with either end.
    this.#parts.defer(() => run("ip", "link", "del", this.#near));
    await run("ip", "addr", "add", `${this.nearAddress}/30`, "dev", this.#near);
    await run("ip", "link", "set", this.#near, "up");
    await run("ip", "-n", this.name, "addr", "add", `${this.address}/30`, "dev", this.#far);
    for (const device of [this.#far, "lo"]) {
      await run("ip", "-n", this.name, "link", "set", device, "up");
    }
  }

  /** Cuts the link: packets go nowhere, in either direction, and nobody is told. */
  async cut(): Promise<void> {
    await run("ip", "-n", this.name, "link", "set", this.#far, "down");
  }

  /** Undoes `cut()`. */
  async mend(): Promise<void> {
    await run("ip", "-n", this.name, "link", "set", this.#far, "up");
  }

  /**
   * Makes the link slow and lossy, in both directions, by `netem`.
   * @throws {Error} If the kernel has no netem.
   */
  async spoil({ delayMs, loss }: BadLink): Promise<void> {
    const netem = ["root", "netem", "delay", `${delayMs}ms`, "loss", `${loss * 100}%`];
    await run("tc", "qdisc", "replace", "dev", this.#near, ...netem);
    await run("tc", "-n", this.name, "qdisc", "replace", "dev", this.#far, ...netem);
  }

  /**
   * Lets through so many bits a second, in both directions, with so short a queue that packets are late
   * and lost. Any Linux can do that.
   */
  async throttle(kilobits: number): Promise<void> {
    const filter = ["root", "tbf", "rate", `${kilobits}kbit`, "burst", "6kb", "limit", "12kb"];
    await run("tc", "qdisc", "replace", "dev", this.#near, ...filter);
    await run("tc", "-n", this.name, "qdisc", "replace", "dev", this.#far, ...filter);
  }

  /** Undoes `spoil()` and `throttle()`. */
  async clear(): Promise<void> {
    await run("tc", "qdisc", "del", "dev", this.#near, "root");
    await run("tc", "-n", this.name, "qdisc", "del", "dev", this.#far, "root");
  }

  /** Removes both. Sockets in there vanish without a word to their peers. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts[Symbol.asyncDispose]();
  }
}

/** Why the kernel cannot delay and lose packets; undefined if it can. */
export async function netemRefusal(): Promise<string | undefined> {
  const refusal = await namespaceRefusal();
  if (refusal !== undefined) return refusal;
  await using namespace = await NetworkNamespace.make();
  try {
    await namespace.spoil({ delayMs: 1, loss: 0 });
    return undefined;
  } catch (error) {
    return `the kernel cannot delay and lose packets: ${
      error instanceof Error ? error.message : error
    }`;
  }
}
