/**
 * A PostgreSQL backend as far as its answers matter to a request queue: which messages it reads
 * and ignores, and when it sends CopyInResponse, ErrorResponse and ReadyForQuery. What a statement
 * does is chosen by the test, as `fate`.
 * Source: PostgresMain() and SocketBackend() in src/backend/tcop/postgres.c, CopyGetData() in
 * src/backend/commands/copyfromparse.c.
 */

/** What a frontend sends. */
export type ModelMessage =
  | "Query"
  | "Parse"
  | "Execute"
  | "Close"
  | "Flush"
  | "Sync"
  | "FunctionCall"
  | "CopyData"
  | "CopyDone"
  | "CopyFail";

/** What a backend answers, as far as a request queue hears of it. */
export type ModelAnswer = "CopyInResponse" | "ErrorResponse" | "ReadyForQuery";

/**
 * How a statement fares: it works; it fails; it is a COPY from the client; it is one that fails
 * before it has read anything (COPY into a view does).
 */
export type Fate = "works" | "fails" | "copies" | "copy fails at once";

/** A message together with what becomes of it. */
export interface ModelStep {
  readonly message: ModelMessage;
  readonly fate: Fate;
}

/** The backend. */
export class ModelServer {
  /** How it reads: in the main loop, in a COPY, or past everything up to the next Sync. */
  #mode: "normal" | "simple copy" | "extended copy" | "skipping" = "normal";
  /** Whether it has run extended messages that no Sync or Query has ended yet. */
  #isUnsynced = false;

  /** Whether it has answered everything and nothing is open. */
  get isAtRest(): boolean {
    return this.#mode === "normal" && !this.#isUnsynced;
  }

  /** Reads one message and answers. */
  read(step: ModelStep): ModelAnswer[] {
    switch (this.#mode) {
      case "normal":
        return this.#readNormal(step);
      case "skipping":
        return step.message === "Sync" ? this.#sync() : [];
      case "simple copy":
      case "extended copy":
        return this.#readCopy(step, this.#mode);
    }
  }

  #readNormal({ message, fate }: ModelStep): ModelAnswer[] {
    switch (message) {
      case "Query":
        this.#isUnsynced = false;
        return this.#run(fate, "simple copy");
      case "FunctionCall":
        this.#isUnsynced = false;
        return fate === "fails" ? ["ErrorResponse", "ReadyForQuery"] : ["ReadyForQuery"];
      case "Parse":
        this.#isUnsynced = true;
        return fate === "fails" ? this.#fail("extended copy") : [];
      case "Close":
        this.#isUnsynced = true;
        return [];
      case "Execute":
        this.#isUnsynced = true;
        return this.#run(fate, "extended copy");
      case "Sync":
        return this.#sync();
      case "Flush":
      case "CopyData":
      case "CopyDone":
      case "CopyFail":
        return [];
    }
  }

  #run(fate: Fate, kind: "simple copy" | "extended copy"): ModelAnswer[] {
    switch (fate) {
      case "works":
        return kind === "simple copy" ? ["ReadyForQuery"] : [];
      case "fails":
        return this.#fail(kind);
      case "copies":
        this.#mode = kind;
        return ["CopyInResponse"];
      case "copy fails at once":
        return ["CopyInResponse", ...this.#fail(kind)];
    }
  }

  #readCopy(
    { message, fate }: ModelStep,
    kind: "simple copy" | "extended copy",
  ): ModelAnswer[] {
    switch (message) {
      case "Flush":
      case "Sync":
        return [];
      case "CopyData":
        return fate === "fails" ? this.#fail(kind) : [];
      case "CopyDone":
        if (fate === "fails") return this.#fail(kind);
        // A Query may hold a second COPY.
        if (fate === "copies" && kind === "simple copy") return ["CopyInResponse"];
        this.#mode = "normal";
        return kind === "simple copy" ? ["ReadyForQuery"] : [];
      case "CopyFail":
      default:
        return this.#fail(kind);
    }
  }

  #fail(kind: "simple copy" | "extended copy"): ModelAnswer[] {
    this.#mode = kind === "simple copy" ? "normal" : "skipping";
    return kind === "simple copy" ? ["ErrorResponse", "ReadyForQuery"] : ["ErrorResponse"];
  }

  #sync(): ModelAnswer[] {
    this.#mode = "normal";
    this.#isUnsynced = false;
    return ["ReadyForQuery"];
  }
}
