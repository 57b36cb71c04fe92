/** Where log lines go, and what becomes of those that cannot be written. */

import assert from "node:assert/strict";
import { LogFileError, ProcessLog } from "../../../src/app/log_sinks.ts";

/** A folder that is gone at the end. */
class Folder implements Disposable {
  readonly path = Deno.makeTempDirSync();

  file(name = "sluice.log"): string {
    return `${this.path}/${name}`;
  }

  read(name?: string): string {
    return Deno.readTextFileSync(this.file(name));
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** The console and the files as a test wants them: what can be written, and what was. */
class Outputs implements Disposable {
  /** What was written to the standard error output. */
  console = "";
  isConsoleBroken = false;
  /** What the disk has room for. */
  roomBytes = Infinity;
  /** Most that one write takes. */
  mostBytes = Infinity;
  readonly #writeConsole = Deno.stderr.writeSync;
  readonly #writeFile = Deno.FsFile.prototype.writeSync;

  constructor() {
    Deno.stderr.writeSync = (bytes) => {
      if (this.isConsoleBroken) throw new Deno.errors.BrokenPipe("Broken pipe");
      const count = Math.min(bytes.length, this.mostBytes);
      this.console += new TextDecoder().decode(bytes.subarray(0, count));
      return count;
    };
    const write = this.#writeFile;
    const take = (bytes: Uint8Array) => this.#take(bytes);
    Deno.FsFile.prototype.writeSync = function (this: Deno.FsFile, bytes) {
      return write.call(this, take(bytes));
    };
  }

  #take(bytes: Uint8Array): Uint8Array {
    if (this.roomBytes === 0) throw new Error("No space left on device (os error 28)");
    const taken = bytes.subarray(0, Math.min(bytes.length, this.mostBytes, this.roomBytes));
    this.roomBytes -= taken.length;
    return taken;
  }

  [Symbol.dispose](): void {
    Deno.stderr.writeSync = this.#writeConsole;
    Deno.FsFile.prototype.writeSync = this.#writeFile;
  }
}

Deno.test("ProcessLog writes each line to both places, to its end, before the call returns", () => {
  using folder = new Folder();
  using outputs = new Outputs();
  using log = new ProcessLog({ path: folder.file(), isQuiet: false });
  for (const mostBytes of [Infinity, 3]) {
    outputs.mostBytes = mostBytes;
    log.write("a line of text\n");
  }
  assert.equal(folder.read(), "a line of text\na line of text\n");
  assert.equal(outputs.console, folder.read());
});

Deno.test("ProcessLog keeps quiet on the console, and needs no file", () => {
  using folder = new Folder();
  using outputs = new Outputs();
  using quiet = new ProcessLog({ path: folder.file(), isQuiet: true });
  quiet.write("to the file\n");
  assert.deepEqual([outputs.console, folder.read()], ["", "to the file\n"]);
  using loud = new ProcessLog({ path: "", isQuiet: false });
  loud.write("to the console\n");
  assert.equal(outputs.console, "to the console\n");
});

Deno.test("a console that has gone takes no line from the file, and throws nothing", () => {
  using folder = new Folder();
  using outputs = new Outputs();
  using log = new ProcessLog({ path: folder.file(), isQuiet: false });
  outputs.isConsoleBroken = true;
  for (const line of ["one\n", "two\n"]) log.write(line);
  assert.equal(folder.read(), "one\ntwo\n");
});

Deno.test("a full disk loses lines, throws nothing, and is told when there is room again", () => {
  using folder = new Folder();
  using outputs = new Outputs();
  using log = new ProcessLog({ path: folder.file(), isQuiet: false });
  log.write("one\n");
  outputs.roomBytes = 0;
  log.write("two\n");
  log.write("three\n");
  outputs.roomBytes = Infinity;
  log.write("four\n");
  log.write("five\n");
  assert.equal(folder.read(), "one\n2 log lines were lost\nfour\nfive\n");
  assert.equal(outputs.console, "one\ntwo\nthree\nfour\nfive\n");
});

Deno.test("what the disk had no room for to its end does not run into the next line", () => {
  using folder = new Folder();
  using outputs = new Outputs();
  using log = new ProcessLog({ path: folder.file(), isQuiet: false });
  outputs.roomBytes = "one\ntwo and".length;
  for (const line of ["one\n", "two and more\n", "three\n"]) log.write(line);
  outputs.roomBytes = Infinity;
  for (const line of ["four\n", "five\n"]) log.write(line);
  assert.equal(folder.read(), "one\ntwo and\n2 log lines were lost\nfour\nfive\n");
});

for (const path of ["sluice.log", "new.log"]) {
  Deno.test(`what a full disk took is told in ${path} as well, which is opened then`, () => {
    using folder = new Folder();
    using outputs = new Outputs();
    using log = new ProcessLog({ path: folder.file(), isQuiet: true });
    outputs.roomBytes = "one\ntwo and".length;
    for (const line of ["one\n", "two and more\n"]) log.write(line);
    outputs.roomBytes = Infinity;
    log.reopen(folder.file(path));
    log.write("three\n");
    const before = path === "sluice.log" ? "one\ntwo and\n" : "";
    assert.equal(folder.read(path), `${before}1 log lines were lost\nthree\n`);
  });
}

Deno.test("a line that another process could not write to its end stands by itself", () => {
  using folder = new Folder();
  Deno.writeTextFileSync(folder.file(), "before\nit had no room");
  using log = new ProcessLog({ path: folder.file(), isQuiet: true });
  for (const line of ["one\n", "two\n"]) log.write(line);
  assert.equal(folder.read(), "before\nit had no room\none\ntwo\n");
});

Deno.test("ProcessLog adds to a file that is there", () => {
  using folder = new Folder();
  Deno.writeTextFileSync(folder.file(), "before\n");
  using log = new ProcessLog({ path: folder.file(), isQuiet: true });
  log.write("after\n");
  assert.equal(folder.read(), "before\nafter\n");
});

Deno.test("ProcessLog.rotate() goes on in a new file after the old one was moved away", () => {
  using folder = new Folder();
  using log = new ProcessLog({ path: folder.file(), isQuiet: true });
  log.write("one\n");
  Deno.renameSync(folder.file(), folder.file("old.log"));
  log.write("two\n");
  log.rotate();
  log.write("three\n");
  assert.deepEqual([folder.read("old.log"), folder.read()], ["one\ntwo\n", "three\n"]);
});

Deno.test("ProcessLog.reopen() changes the file, or leaves it if the new one cannot be had", () => {
  using folder = new Folder();
  using log = new ProcessLog({ path: folder.file("a.log"), isQuiet: true });
  log.reopen(folder.file("b.log"));
  log.write("one\n");
  assert.throws(() => log.reopen(folder.file("missing/c.log")), LogFileError);
  log.write("two\n");
  log.rotate();
  log.write("three\n");
  assert.deepEqual([folder.read("a.log"), folder.read("b.log")], ["", "one\ntwo\nthree\n"]);
  log.reopen("");
  log.write("four\n");
  assert.equal(folder.read("b.log"), "one\ntwo\nthree\n");
});

Deno.test("ProcessLog that cannot have its file says which and why", () => {
  using folder = new Folder();
  const path = folder.file("missing/sluice.log");
  assert.throws(() => new ProcessLog({ path, isQuiet: true }), {
    name: "LogFileError",
    message: `Cannot open the log file ${path}: No such file or directory`,
  });
});

Deno.test("the count of lost lines is told in the form of all lines", () => {
  using folder = new Folder();
  using outputs = new Outputs();
  using log = new ProcessLog({ path: folder.file(), isQuiet: false });
  log.lineOf = ({ level, message, wallMs }) => `<${level} ${message} ${wallMs}>\n`;
  const entry = { level: "LOG", message: "x", wallMs: 5 } as const;
  outputs.roomBytes = 0;
  for (const line of ["one\n", "two\n"]) log.write(line, entry);
  outputs.roomBytes = Infinity;
  log.write("three\n", entry);
  assert.equal(folder.read(), "<WARNING 2 log lines were lost 5>\nthree\n");
});
