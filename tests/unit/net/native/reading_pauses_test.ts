import assert from "node:assert/strict";
import type { LibcCalls } from "../../../../src/net/native/libc.ts";
import { type PausedReader, ReadingPauses } from "../../../../src/net/native/reading_pauses.ts";

const TIMER = 7;
const REFUSED = -12;

/** Pauses over a timer that the test lets go off; what was asked of the system, and what went wrong. */
class World {
  readonly asked: string[] = [];
  readonly errors: unknown[] = [];
  readonly pauses: ReadingPauses;
  /** What setting the timer answers. */
  setting = 0;

  constructor({ timer = TIMER, watching = 0 } = {}) {
    this.pauses = new ReadingPauses({
      libc: {
        timer: () => timer,
        setTimer: (descriptor: number) => {
          this.asked.push(`set ${descriptor}`);
          return this.setting;
        },
        close: (descriptor: number) => this.asked.push(`close ${descriptor}`),
      } as unknown as LibcCalls,
      watch: (descriptor) => {
        this.asked.push(`watch ${descriptor}`);
        return watching;
      },
      onError: (error) => this.errors.push(error),
    });
  }

  /** A reader that notes when its pause is over, and then does something. */
  reader(then: () => void = () => {}): PausedReader & { overCount: number } {
    return {
      overCount: 0,
      onPauseOver() {
        this.overCount += 1;
        then();
      },
    };
  }
}

Deno.test("ReadingPauses: who pauses meanwhile goes on with the first, once", () => {
  const { asked, pauses, reader } = new World();
  const readers = [reader(), reader()] as const;
  assert.deepEqual(readers.map((each) => pauses.begin(each)), [true, true]);
  assert.deepEqual(readers.map((each) => each.overCount), [0, 0]);
  pauses.end();
  pauses.end();
  assert.deepEqual(readers.map((each) => each.overCount), [1, 1]);
  assert.deepEqual(asked, ["watch 7", "set 7"]);
});

Deno.test("ReadingPauses: who pauses again when a pause is over waits for the next", () => {
  const { asked, pauses, reader } = new World();
  const again = reader(() => void pauses.begin(again));
  pauses.begin(again);
  pauses.end();
  assert.equal(again.overCount, 1);
  pauses.end();
  assert.equal(again.overCount, 2);
  assert.deepEqual(asked, ["watch 7", "set 7", "set 7", "set 7"]);
});

Deno.test("ReadingPauses: a reader that throws stops nobody else, and onError is told", () => {
  const { errors, pauses, reader } = new World();
  const mistake = new Error("a mistake");
  const other = reader();
  pauses.begin(reader(() => {
    throw mistake;
  }));
  pauses.begin(other);
  pauses.end();
  assert.deepEqual([errors, other.overCount], [[mistake], 1]);
});

Deno.test("ReadingPauses: nobody pauses whose timer the system refuses to set, until it does", () => {
  const world = new World();
  const reader = world.reader();
  world.setting = REFUSED;
  assert.equal(world.pauses.begin(reader), false);
  world.pauses.end();
  assert.equal(reader.overCount, 0);
  world.setting = 0;
  assert.equal(world.pauses.begin(reader), true);
});

Deno.test("ReadingPauses: nobody pauses where there is no timer, or none that can be watched", () => {
  const without = new World({ timer: REFUSED });
  const unwatched = new World({ watching: REFUSED });
  for (const { pauses, reader } of [without, unwatched]) {
    assert.equal(pauses.begin(reader()), false);
    pauses[Symbol.dispose]();
  }
  assert.deepEqual(without.asked, []);
  assert.deepEqual(unwatched.asked, ["watch 7", "close 7"]);
});

Deno.test("ReadingPauses: gives its timer back once", () => {
  const { asked, pauses, reader } = new World();
  pauses[Symbol.dispose]();
  pauses[Symbol.dispose]();
  assert.equal(pauses.begin(reader()), false);
  assert.deepEqual(asked, ["watch 7", "close 7"]);
});
