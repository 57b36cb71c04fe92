/** The readiness file: when it is there, and whose it is. */

import assert from "node:assert/strict";
import { ReadinessFile } from "../../../src/app/readiness_file.ts";
import { ALIVE, amongProcesses, GONE } from "./among_processes.ts";

/** Runs a test with a path in a folder of its own, and what is in that folder. */
function inFolder(run: (path: string, names: () => string[]) => void): void {
  amongProcesses((folder) =>
    run(`${folder}/ready`, () => [...Deno.readDirSync(folder)].map(({ name }) => name))
  );
}

Deno.test("a readiness file is there from write() to remove(), and names the process", () => {
  inFolder((path, names) => {
    const file = new ReadinessFile(path);
    assert.deepEqual(names(), []);
    file.write();
    assert.equal(Deno.readTextFileSync(path), `${Deno.pid}\n`);
    file.remove();
    file.remove();
    assert.deepEqual(names(), []);
  });
});

Deno.test("a readiness file that a process left which is gone is removed before anything is ready", () => {
  inFolder((path, names) => {
    Deno.writeTextFileSync(path, `${GONE}\n`);
    new ReadinessFile(path);
    assert.deepEqual(names(), []);
  });
});

Deno.test("a readiness file of a process that had this one's number is removed, too", () => {
  inFolder((path, names) => {
    Deno.writeTextFileSync(path, `${Deno.pid}\n`);
    new ReadinessFile(path);
    assert.deepEqual(names(), []);
  });
});

Deno.test("a readiness file of a process that lives holds until this one is ready", () => {
  inFolder((path) => {
    Deno.writeTextFileSync(path, `${ALIVE}\n`);
    const file = new ReadinessFile(path);
    assert.equal(Deno.readTextFileSync(path), `${ALIVE}\n`);
    file.write();
    assert.equal(Deno.readTextFileSync(path), `${Deno.pid}\n`);
  });
});

Deno.test("a readiness file that another process has written since is not removed", () => {
  inFolder((path) => {
    const file = new ReadinessFile(path);
    file.write();
    Deno.writeTextFileSync(path, `${ALIVE}\n`);
    file.remove();
    assert.equal(Deno.readTextFileSync(path), `${ALIVE}\n`);
  });
});

Deno.test("without a path there is no readiness file; one that cannot be written is said plainly, at once", () => {
  const none = new ReadinessFile("");
  none.write();
  none.remove();
  inFolder((path) => {
    const under = `${path}/missing/ready`;
    assert.throws(() => new ReadinessFile(under), {
      name: "ReadinessFileError",
      message: `Cannot write the readiness file ${under}: No such file or directory`,
    });
  });
});
