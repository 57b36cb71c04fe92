import assert from "node:assert/strict";
import { Pidfile, PidfileError } from "../../../src/app/pidfile.ts";
import { ALIVE, amongProcesses, GONE, SOMEBODY_ELSES } from "./among_processes.ts";

/** Runs a test with a path in a folder of its own. */
function inFolder(run: (path: string) => void): void {
  amongProcesses((folder) => run(`${folder}/sluice.pid`));
}

function exists(path: string): boolean {
  return [...Deno.readDirSync(path.replace(/\/[^/]*$/, ""))].length > 0;
}

Deno.test("Pidfile.create() writes the process's number, and remove() takes the file away", () => {
  inFolder((path) => {
    const pidfile = Pidfile.create(path);
    assert.equal(Deno.readTextFileSync(path), `${Deno.pid}\n`);
    pidfile.remove();
    assert.equal(exists(path), false);
  });
});

for (
  const [what, text] of [
    ["of a process that is gone", `${GONE}\n`],
    ["of its own", `${Deno.pid}\n`],
    ["that is empty", ""],
    ["with something else in it", "not a number\n"],
    ["with a number that is nobody's", "-1\n"],
  ] as const
) {
  Deno.test(`Pidfile.create() takes the place of a file ${what}`, () => {
    inFolder((path) => {
      Deno.writeTextFileSync(path, text);
      Pidfile.create(path);
      assert.equal(Deno.readTextFileSync(path), `${Deno.pid}\n`);
    });
  });
}

for (const [whose, owner] of [["its own user", ALIVE], ["another user", SOMEBODY_ELSES]] as const) {
  Deno.test(`Pidfile.create() respects the file of a process that lives, of ${whose}`, () => {
    inFolder((path) => {
      Deno.writeTextFileSync(path, `${owner}\n`);
      assert.throws(() => Pidfile.create(path), {
        name: "PidfileError",
        message: `Cannot write pidfile ${path}: process ${owner} in it is running`,
      });
      assert.equal(Deno.readTextFileSync(path), `${owner}\n`);
    });
  });
}

Deno.test("Pidfile.takeOver() takes a shared file over from a process that lives, which leaves it alone", () => {
  inFolder((path) => {
    Deno.writeTextFileSync(path, `${ALIVE}\n`);
    const before = Deno.statSync(path).ino;
    const pidfile = Pidfile.create(path, { isShared: true });
    assert.equal(Deno.readTextFileSync(path), `${ALIVE}\n`, "it may still fail to start");
    pidfile.takeOver();
    assert.equal(Deno.readTextFileSync(path), `${Deno.pid}\n`);
    assert.notEqual(Deno.statSync(path).ino, before, "nobody reads half a number");
    pidfile.remove();
    assert.equal(exists(path), false);
  });
});

Deno.test("Pidfile.remove() before takeOver() leaves the file of the process that lives", () => {
  inFolder((path) => {
    Deno.writeTextFileSync(path, `${ALIVE}\n`);
    Pidfile.create(path, { isShared: true }).remove();
    assert.equal(Deno.readTextFileSync(path), `${ALIVE}\n`);
    Deno.removeSync(path);
    assert.equal(exists(path), false, "there is nothing beside it");
  });
});

Deno.test("Pidfile.takeOver() that fails gives an error of its own", () => {
  inFolder((path) => {
    Deno.writeTextFileSync(path, `${ALIVE}\n`);
    const pidfile = Pidfile.create(path, { isShared: true });
    Deno.removeSync(path);
    Deno.mkdirSync(path);
    assert.throws(() => pidfile.takeOver(), {
      name: "PidfileError",
      message: `Cannot write pidfile ${path}: Is a directory`,
    });
  });
});

Deno.test({
  name: "Pidfile.create() takes no file over from another user",
  ignore: Deno.uid() !== 0,
  fn() {
    inFolder((path) => {
      Deno.writeTextFileSync(path, `${ALIVE}\n`);
      Deno.chownSync(path, 65_534, 65_534);
      assert.throws(() => Pidfile.create(path, { isShared: true }), PidfileError);
      assert.equal(Deno.readTextFileSync(path), `${ALIVE}\n`);
    });
  },
});

Deno.test("Pidfile.create() says plainly what keeps it from writing or reading", () => {
  inFolder((path) => {
    assert.throws(() => Pidfile.create(`${path}/below`), PidfileError);
    Deno.mkdirSync(path);
    assert.throws(() => Pidfile.create(path), PidfileError);
    const under = `${path}/missing/sluice.pid`;
    assert.throws(() => Pidfile.create(under), {
      name: "PidfileError",
      message: `Cannot write pidfile ${under}: No such file or directory`,
    });
  });
});

Deno.test("Pidfile.remove() leaves the file of another process, and one that is gone", () => {
  inFolder((path) => {
    const pidfile = Pidfile.create(path);
    Deno.writeTextFileSync(path, `${ALIVE}\n`);
    pidfile.remove();
    assert.equal(Deno.readTextFileSync(path), `${ALIVE}\n`);
    Deno.removeSync(path);
    pidfile.remove();
  });
});

Deno.test("Pidfile.remove() that fails gives an error of its own", () => {
  inFolder((path) => {
    const pidfile = Pidfile.create(path);
    Deno.removeSync(path);
    Deno.mkdirSync(path);
    assert.throws(() => pidfile.remove(), /^PidfileError: Cannot remove pidfile /);
  });
});
