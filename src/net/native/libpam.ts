/**
 * The system's PAM, called as it is in C (Linux-PAM, x64 and arm64). It blocks, and its modules may do
 * anything to the process: for a process of its own, which `src/app/pam_helper.ts` is.
 * Source: pam(3), pam_conv(3), pam_fail_delay(3); PostgreSQL's way to answer prompts.
 */

import { errorText } from "../../base/error_text.ts";
import { cText, openGlibc } from "./libc.ts";

const PAM_SUCCESS = 0;
const PAM_BUF_ERR = 5;
const PAM_CONV_ERR = 19;

/** Kinds of prompts. */
const PAM_PROMPT_ECHO_OFF = 1;
const PAM_ERROR_MSG = 3;
const PAM_TEXT_INFO = 4;

/** Items. */
const PAM_RHOST = 4;
const PAM_FAIL_DELAY = 10;

/** PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK */
const FLAGS = 0x8001;

/** Of `struct pam_message` and `struct pam_response` alike. */
const STRUCT_BYTES = 16;

/** As PAM_MAX_NUM_MSG. */
const MAX_MESSAGES = 32;

const SYMBOLS = {
  pam_acct_mgmt: { parameters: ["pointer", "i32"], result: "i32" },
  pam_authenticate: { parameters: ["pointer", "i32"], result: "i32" },
  pam_end: { parameters: ["pointer", "i32"], result: "i32" },
  pam_set_item: { parameters: ["pointer", "i32", "pointer"], result: "i32" },
  pam_start: { parameters: ["buffer", "buffer", "buffer", "buffer"], result: "i32" },
  pam_strerror: { parameters: ["pointer", "i32"], result: "pointer" },
} as const;

/** What PAM puts its answers in has to come from where it is freed to. */
const LIBC_SYMBOLS = {
  calloc: { parameters: ["usize", "usize"], result: "pointer" },
  strdup: { parameters: ["buffer"], result: "pointer" },
} as const;

const CONVERSE = {
  parameters: ["i32", "pointer", "pointer", "pointer"],
  result: "i32",
} as const;

const NOTE_DELAY = { parameters: ["i32", "u32", "pointer"], result: "void" } as const;

/** Who wants in where. */
export interface PamLogin {
  /** Name of a service: a file in `/etc/pam.d`. */
  readonly service: string;
  readonly user: string;
  readonly password: string;
  /** Where it comes from; undefined over a unix socket. */
  readonly host: string | undefined;
}

/** What PAM says. */
export interface PamAnswer {
  /** In PAM's words why not; undefined if the user may come in. */
  readonly refusal: string | undefined;
  /** How long modules want that to be kept back, in milliseconds. */
  readonly delayMs: number;
}

/** PAM is not to be had, or does not begin. */
export class PamError extends Error {
  override readonly name = "PamError";
}

/** The library. */
export class Libpam implements Disposable {
  readonly #pam: Deno.DynamicLibrary<typeof SYMBOLS>;
  readonly #libc: Deno.DynamicLibrary<typeof LIBC_SYMBOLS>;

  private constructor(
    pam: Deno.DynamicLibrary<typeof SYMBOLS>,
    libc: Deno.DynamicLibrary<typeof LIBC_SYMBOLS>,
  ) {
    this.#pam = pam;
    this.#libc = libc;
  }

  /** @throws {PamError | NoLibcError} If there is none, or FFI is not allowed. */
  static open(): Libpam {
    const libc = openGlibc(LIBC_SYMBOLS, "PAM");
    try {
      return new Libpam(Deno.dlopen("libpam.so.0", SYMBOLS), libc);
    } catch (error) {
      libc.close();
      throw new PamError(`There is no libpam.so.0: ${errorText(error)}`);
    }
  }

  /** Asks; it takes as long as the modules want. @throws {PamError} If PAM does not begin. */
  check({ host, password, service, user }: PamLogin): PamAnswer {
    const { pam_end, pam_set_item, pam_start } = this.#pam.symbols;
    let delayUs = 0;
    using resources = new DisposableStack();
    const conversation = this.#conversation(password);
    resources.defer(() => conversation.close());
    const onDelay = new Deno.UnsafeCallback(NOTE_DELAY, (_result, us) => delayUs = us);
    resources.defer(() => onDelay.close());
    const struct = BigUint64Array.of(BigInt(Deno.UnsafePointer.value(conversation.pointer)), 0n);
    const handleAt = new BigUint64Array(1);
    const began = pam_start(cText(service), cText(user), bytesOf(struct), bytesOf(handleAt));
    const handle = Deno.UnsafePointer.create(handleAt[0]!);
    if (began !== PAM_SUCCESS || handle === null) throw new PamError(`pam_start: ${began}`);
    let result = PAM_SUCCESS;
    try {
      // Who asks keeps the answer back; to sleep here would hold up others.
      pam_set_item(handle, PAM_FAIL_DELAY, onDelay.pointer);
      if (host !== undefined) pam_set_item(handle, PAM_RHOST, Deno.UnsafePointer.of(cText(host)));
      result = this.#run(handle);
      const refusal = result === PAM_SUCCESS ? undefined : this.#textOf(handle, result);
      return { refusal, delayMs: refusal === undefined ? 0 : Math.ceil(delayUs / 1_000) };
    } finally {
      pam_end(handle, result);
    }
  }

  [Symbol.dispose](): void {
    this.#pam.close();
    this.#libc.close();
  }

  #run(handle: Deno.PointerObject): number {
    const { pam_acct_mgmt, pam_authenticate } = this.#pam.symbols;
    const result = pam_authenticate(handle, FLAGS);
    return result === PAM_SUCCESS ? pam_acct_mgmt(handle, FLAGS) : result;
  }

  #textOf(handle: Deno.PointerObject, result: number): string {
    const text = this.#pam.symbols.pam_strerror(handle, result);
    return text === null ? String(result) : Deno.UnsafePointerView.getCString(text);
  }

  /** Answers what is asked without an echo by the password, and takes notice of messages. */
  #conversation(password: string): Deno.UnsafeCallback<typeof CONVERSE> {
    const { calloc, strdup } = this.#libc.symbols;
    return new Deno.UnsafeCallback(CONVERSE, (count, messages, responsesAt) => {
      if (messages === null || responsesAt === null) return PAM_CONV_ERR;
      if (count < 1 || count > MAX_MESSAGES) return PAM_CONV_ERR;
      const styles = stylesOf(messages, count);
      if (!styles.every(isAnswerable)) return PAM_CONV_ERR;
      const responses = calloc(BigInt(count), BigInt(STRUCT_BYTES));
      if (responses === null) return PAM_BUF_ERR;
      const fields = memoryAt(responses, count * STRUCT_BYTES);
      for (const [i, style] of styles.entries()) {
        const answer = style === PAM_PROMPT_ECHO_OFF ? password : "";
        const text = Deno.UnsafePointer.value(strdup(cText(answer)));
        fields.setBigUint64(i * STRUCT_BYTES, BigInt(text), true);
      }
      memoryAt(responsesAt, 8).setBigUint64(0, BigInt(Deno.UnsafePointer.value(responses)), true);
      return PAM_SUCCESS;
    });
  }
}

function isAnswerable(style: number): boolean {
  return style === PAM_PROMPT_ECHO_OFF || style === PAM_ERROR_MSG || style === PAM_TEXT_INFO;
}

/** The kinds of the messages, to each of which there is a pointer, as Linux-PAM has it. */
function stylesOf(messages: Deno.PointerObject, count: number): number[] {
  const pointers = memoryAt(messages, count * 8);
  return Array.from({ length: count }, (_, i) => {
    const message = Deno.UnsafePointer.create(pointers.getBigUint64(i * 8, true));
    return message === null ? 0 : memoryAt(message, STRUCT_BYTES).getInt32(0, true);
  });
}

function memoryAt(pointer: Deno.PointerObject, length: number): DataView {
  return new DataView(Deno.UnsafePointerView.getArrayBuffer(pointer, length));
}

function bytesOf(words: BigUint64Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(words.buffer);
}
