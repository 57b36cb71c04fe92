import assert from "node:assert/strict";
import type { LibcCalls } from "../../../../src/net/native/libc.ts";
import { ReadingPauses } from "../../../../src/net/native/reading_pauses.ts";

const TIMER = 7;
const REFUSED = -12;

/** One who pauses, and how often it has had its turn. */
interface Reader {
  overCount: number;
  readonly onTurn: () => void;
}

/** Pauses over a timer that the test lets go off; what was asked of the system, and what went wrong. */
class World {
  readonly asked: string[] = [];
  readonly pauses: ReadingPauses<Reader>;
  /** Those whose turn is due. */
  readonly #waiting: Reader[] = [];
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
      again: (reader) => this.#waiting.push(reader),
    });
  }

  /** The timer goes off, and then all have their turns. */
  end(): void {
    this.pauses.end();
    for (const reader of this.#waiting.splice(0)) reader.onTurn();
  }

  /** A reader that notes when its pause is over, and then does something. */
  reader(then: () => void = () => {}): Reader {
    const reader: Reader = {
      overCount: 0,
      onTurn() {
        reader.overCount += 1;
        then();
      },
    };
    return reader;
  }
}

Deno.test("ReadingPauses: who pauses meanwhile goes on with the first, once", () => {
  const world = new World();
  const { asked, pauses, reader } = world;
  const readers = [reader(), reader()] as const;
  assert.deepEqual(readers.map((each) => pauses.begin(each)), [true, true]);
  assert.deepEqual(readers.map((each) => each.overCount), [0, 0]);
  world.end();
  world.end();
  assert.deepEqual(readers.map((each) => each.overCount), [1, 1]);
  assert.deepEqual(asked, ["watch 7", "set 7"]);
});

Deno.test("ReadingPauses: who pauses again when a pause is over waits for the next", () => {
  const world = new World();
  const { asked, pauses, reader } = world;
  const again: Reader = reader(() => void pauses.begin(again));
  pauses.begin(again);
  world.end();
  assert.equal(again.overCount, 1);
  world.end();
  assert.equal(again.overCount, 2);
  assert.deepEqual(asked, ["watch 7", "set 7", "set 7", "set 7"]);
});

Deno.test("ReadingPauses: nobody pauses whose timer the system refuses to set, until it does", () => {
  const world = new World();
  const reader = world.reader();
  world.setting = REFUSED;
  assert.equal(world.pauses.begin(reader), false);
  world.end();
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
