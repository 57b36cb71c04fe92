import assert from "node:assert/strict";
import { Pidfile, PidfileError } from "../../../src/app/pidfile.ts";

/** Beyond any process number that Linux or macOS gives. */
const NOBODY = 2 ** 22 + 1;

/** The first process lives as long as the system does. */
const SOMEBODY = 1;

function inFolder(run: (path: string) => void): void {
  const folder = Deno.makeTempDirSync();
  try {
    run(`${folder}/sluice.pid`);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
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
    ["of a process that is gone", `${NOBODY}\n`],
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

Deno.test("Pidfile.create() respects the file of a process that lives", () => {
  inFolder((path) => {
    Deno.writeTextFileSync(path, `${SOMEBODY}\n`);
    assert.throws(() => Pidfile.create(path), {
      name: "PidfileError",
      message: `Cannot write ${path}: process ${SOMEBODY} in it is running`,
    });
    assert.equal(Deno.readTextFileSync(path), `${SOMEBODY}\n`);
  });
});

Deno.test("Pidfile.create() says plainly what keeps it from writing or reading", () => {
  inFolder((path) => {
    assert.throws(() => Pidfile.create(`${path}/below`), PidfileError);
    Deno.mkdirSync(path);
    // A folder can be opened, but neither read nor written as a file is.
    assert.throws(() => Pidfile.create(path), PidfileError);
    const under = `${path}/missing/sluice.pid`;
    assert.throws(() => Pidfile.create(under), {
      name: "PidfileError",
      message: `Cannot write ${under}: No such file or directory`,
    });
  });
});

Deno.test("Pidfile.remove() leaves the file of another process, and one that is gone", () => {
  inFolder((path) => {
    const pidfile = Pidfile.create(path);
    Deno.writeTextFileSync(path, `${SOMEBODY}\n`);
    pidfile.remove();
    assert.equal(Deno.readTextFileSync(path), `${SOMEBODY}\n`);
    Deno.removeSync(path);
    pidfile.remove();
  });
});

Deno.test("Pidfile.remove() that fails gives an error of its own", () => {
  inFolder((path) => {
    const pidfile = Pidfile.create(path);
    Deno.removeSync(path);
    Deno.mkdirSync(path);
    assert.throws(() => pidfile.remove(), /^PidfileError: Cannot remove /);
  });
});
