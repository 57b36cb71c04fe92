/**
 * A server of a pool that does nothing by itself: the test says when it has logged in, failed or
 * died. It keeps the states and promises of `ServerSession` as the pool sees them, and asserts that
 * the pool and the test keep to theirs.
 */

import assert from "node:assert/strict";
import type {
  PooledServer,
  PooledServerEnd,
  PooledServerKind,
  PooledServerState,
} from "../../src/pool/pooled_server.ts";

/** Errors of these tests are plain texts. */
export type TestError = string;

/** Which states may follow which. */
const NEXT: Readonly<Record<PooledServerKind, readonly PooledServerKind[]>> = {
  login: ["idle", "closed"],
  idle: ["active", "used", "closed"],
  used: ["idle", "tested", "closed"],
  tested: ["idle", "closed"],
  active: ["idle", "used", "tested", "being_canceled", "recovering", "closed"],
  being_canceled: ["idle", "tested", "closed"],
  recovering: ["idle", "tested", "closed"],
  closed: [],
};

/** What a scripted server is made of. */
export interface ScriptedServerOptions {
  /** Hears of each change of state: the pool. */
  readonly owner: {
    onServerState(server: ScriptedServer, before: PooledServerState<TestError>): void;
  };
  readonly name: string;
  readonly nowMs: () => number;
  /** Where it is connected to. */
  readonly addressKey?: string;
  /** Whether its login is on trial. */
  readonly isTrial?: boolean;
  /** What it reports at login. */
  readonly reported?: ReadonlyMap<string, string>;
  /** Whether `check()` has to run a query, or brings the server back at once. */
  readonly hasCheckQuery?: () => boolean;
}

/** A server under a test's command. */
export class ScriptedServer implements PooledServer<TestError> {
  readonly name: string;
  place = 0;
  readonly createdAtMs: number;
  readonly addressKey: string;
  readonly isTrial: boolean;
  readonly reported: ReadonlyMap<string, string>;
  /** Why it will be closed once it is free. */
  doubt: string | undefined;
  /** Why it was closed. */
  closeReason: string | undefined;
  /** Called when it is closed while somebody has it. */
  onLost: (() => void) | undefined;
  readonly #options: ScriptedServerOptions;
  #state: PooledServerState<TestError>;
  #enteredAtMs = 0;

  /** In state login. */
  constructor(options: ScriptedServerOptions) {
    this.#options = options;
    this.name = options.name;
    this.createdAtMs = options.nowMs();
    this.addressKey = options.addressKey ?? "";
    this.isTrial = options.isTrial === true;
    this.reported = options.reported ?? new Map([["server_name", options.name]]);
    this.#state = { kind: "login" };
    this.#enteredAtMs = this.createdAtMs;
  }

  /** Where it stands. */
  get state(): PooledServerState<TestError> {
    return this.#state;
  }

  get enteredAtMs(): number {
    return this.#enteredAtMs;
  }

  /** The login succeeds. */
  loggedIn(): void {
    this.#expect("login");
    this.#becomeFree();
  }

  /** The server answers the login with an error. */
  refuseLogin(error: TestError): void {
    this.#expect("login");
    this.#close(error, { error, kind: "refused" });
  }

  /** The server cannot be reached. */
  failToConnect(error: TestError): void {
    this.#expect("login");
    this.#close(error, { error, kind: "unreachable" });
  }

  /** One host of several cannot be reached; there are others to try. */
  failHere(error: TestError): void {
    this.#expect("login");
    this.#close(error, { error, kind: "elsewhere" });
  }

  /** A client takes it; `onLost` is called if it is closed before it is given back. */
  link(onLost?: () => void): void {
    this.#expect("idle");
    this.onLost = onLost;
    this.#enter({ kind: "active" });
  }

  /** A client gives it back: at once free, or to be reset, or with a cancel request on its way… */
  release(next: "idle" | "used" | "tested" | "being_canceled" | "recovering" = "idle"): void {
    this.#expect("active");
    this.onLost = undefined;
    if (this.doubt !== undefined) this.discard(this.doubt);
    else if (next === "idle") this.#becomeFree();
    else this.#enter({ kind: next });
  }

  /** The last cancel request has ended, the reset or check query was answered, or it has recovered. */
  ready(): void {
    assert.ok(["tested", "being_canceled", "recovering"].includes(this.#state.kind));
    this.#becomeFree();
  }

  /** The connection breaks. */
  crash(): void {
    this.discard("server conn crashed?");
  }

  check(): void {
    this.#expect("used");
    const isTested = this.#options.hasCheckQuery?.() ?? true;
    this.#enter({ kind: isTested ? "tested" : "idle" });
  }

  retire(): void {
    this.#expect("idle");
    this.#enter({ kind: "used" }, this.#enteredAtMs);
  }

  discard(reason: string): void {
    this.#close(reason, { error: reason, kind: "served" });
  }

  tag(reason: string): void {
    this.doom(reason);
  }

  doom(reason: string): void {
    this.doubt ??= reason;
    if (this.#state.kind === "idle" || this.#state.kind === "used") this.discard(reason);
  }

  expireLogin(): void {
    this.failToConnect("connect timeout");
  }

  /** For messages of failing tests. */
  toString(): string {
    return `${this.name}(${this.#state.kind})`;
  }

  #becomeFree(): void {
    if (this.doubt !== undefined) this.discard(this.doubt);
    else this.#enter({ kind: "idle" });
  }

  #close(reason: string, end: PooledServerEnd<TestError>): void {
    if (this.#state.kind === "closed") return;
    this.closeReason = reason;
    this.#enter({ kind: "closed", end });
    const { onLost } = this;
    this.onLost = undefined;
    onLost?.();
  }

  #enter(next: PooledServerState<TestError>, atMs = this.#options.nowMs()): void {
    const before = this.#state;
    assert.ok(NEXT[before.kind].includes(next.kind), `${this.name}: ${before.kind}→${next.kind}`);
    this.#state = next;
    this.#enteredAtMs = atMs;
    this.#options.owner.onServerState(this, before);
  }

  #expect(kind: PooledServerKind): void {
    assert.equal(this.#state.kind, kind, `${this.name} is in another state`);
  }
}
