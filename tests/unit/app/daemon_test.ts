/** Starting in the background, without any process: the command is recorded. */

import assert from "node:assert/strict";
import type { RunInvocation } from "../../../src/app/arguments.ts";
import {
  detach,
  type DetachedStart,
  isInBackground,
  reportReady,
} from "../../../src/app/daemon.ts";

const RUN: RunInvocation = {
  kind: "run",
  path: "config.toml",
  isDaemon: true,
  isQuiet: false,
  verbosity: 0,
  user: undefined,
};

interface Started {
  readonly command: string;
  readonly options: Deno.CommandOptions;
  readonly start: DetachedStart;
  readonly isLeftAlone: boolean;
}

/** Starts with a process in place that says this and ends with this status. */
async function detachWith(
  invocation: RunInvocation,
  { stdout = "ready\n", stderr = "", code = 0 }: {
    stdout?: string;
    stderr?: string;
    code?: number;
  } = {},
): Promise<Started> {
  const real = Deno.Command;
  let started: { command: string; options: Deno.CommandOptions } | undefined;
  let isLeftAlone = false;
  class Recorder {
    constructor(command: string, options: Deno.CommandOptions) {
      started = { command, options };
    }

    spawn(): unknown {
      return {
        stdout: streamOf(stdout),
        stderr: streamOf(stderr),
        status: Promise.resolve({ code, success: code === 0, signal: null }),
        unref: () => isLeftAlone = true,
      };
    }
  }
  Deno.Command = Recorder as unknown as typeof Deno.Command;
  try {
    const start = await detach(invocation);
    return { ...started!, start, isLeftAlone };
  } finally {
    Deno.Command = real;
  }
}

function streamOf(text: string): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new Response(text === "" ? new Uint8Array() : text).body!;
}

Deno.test("detach() gives the options of the task start", async () => {
  const { command, options } = await detachWith(RUN);
  const config = await Deno.readTextFile(new URL("../../../deno.json", import.meta.url));
  const { tasks } = JSON.parse(config);
  const words = (tasks.start as string).split(" ");
  const [deno, run, ...rest] = words;
  const taskOptions = rest.filter((word) => word.startsWith("--"));
  assert.deepEqual([deno, run, rest.slice(taskOptions.length)], ["deno", "run", [
    "mod.ts",
    "config.toml",
  ]]);
  assert.equal(command, Deno.execPath());
  assert.deepEqual(options.args, [
    "run",
    "--no-prompt",
    ...taskOptions,
    Deno.mainModule,
    "--quiet",
    "config.toml",
  ]);
});

Deno.test("detach() hands on what the command line asked for, and not -d", async () => {
  const { options } = await detachWith({ ...RUN, user: "nobody", verbosity: 2 });
  assert.deepEqual(options.args?.slice(-5), [
    "--quiet",
    "--verbose",
    "--verbose",
    "--user=nobody",
    "config.toml",
  ]);
});

Deno.test("detach() makes a process of its own, without a terminal", async () => {
  const { isLeftAlone, options, start } = await detachWith(RUN);
  assert.equal(options.detached, true);
  assert.equal(options.stdin, "null");
  assert.deepEqual(options.env, { SLUICE_BACKGROUND: "1" });
  assert.deepEqual([start, isLeftAlone], [{ isUp: true, status: 0, complaint: "" }, true]);
});

Deno.test("detach() says what kept the process from starting, with its status", async () => {
  const { isLeftAlone, start } = await detachWith(RUN, {
    stdout: "",
    stderr: 'There is no user "nosuchuser"\n',
    code: 1,
  });
  assert.deepEqual(start, {
    isUp: false,
    status: 1,
    complaint: 'There is no user "nosuchuser"\n',
  });
  assert.equal(isLeftAlone, false);
});

Deno.test("isInBackground() goes by the variable that detach() sets", () => {
  assert.equal(isInBackground(), false);
  Deno.env.set("SLUICE_BACKGROUND", "1");
  try {
    assert.equal(isInBackground(), true);
  } finally {
    Deno.env.delete("SLUICE_BACKGROUND");
  }
});

Deno.test("reportReady() says the word, and minds no parent that has gone", () => {
  const real = Deno.stdout.writeSync;
  let said = "";
  try {
    Deno.stdout.writeSync = (bytes) => {
      said += new TextDecoder().decode(bytes);
      return bytes.length;
    };
    reportReady();
    Deno.stdout.writeSync = () => {
      throw new Deno.errors.BrokenPipe("Broken pipe");
    };
    reportReady();
  } finally {
    Deno.stdout.writeSync = real;
  }
  assert.equal(said, "ready\n");
});
