/**
 * Finds map entries that nobody takes out again: knows all maps and sets that were made while
 * something long-lived was set up, and what was in them at a moment that can be compared with later
 * ones.
 */

/** A map or a set, and where it was made. */
interface Watched {
  readonly collection: { readonly size: number };
  readonly origin: string;
  baseSize: number;
}

/** The maps and sets of one thing. */
export class MapWatch {
  readonly #watched: Watched[] = [];

  /** Runs `make`, during which nothing else may run, and watches every map and set made by it. */
  async during<T>(make: () => Promise<T>): Promise<T> {
    const { Map: PlainMap, Set: PlainSet } = globalThis;
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = OWN_LINES;
    const note = (collection: { readonly size: number }) => {
      const origin = originOf(new Error().stack ?? "");
      if (origin !== undefined) this.#watched.push({ collection, origin, baseSize: 0 });
    };
    globalThis.Map = class<Key, Value> extends PlainMap<Key, Value> {
      constructor(entries?: Iterable<readonly [Key, Value]> | null) {
        super(entries);
        note(this);
      }
    } as MapConstructor;
    globalThis.Set = class<Value> extends PlainSet<Value> {
      constructor(values?: Iterable<Value> | null) {
        super(values);
        note(this);
      }
    } as SetConstructor;
    try {
      return await make();
    } finally {
      Object.assign(globalThis, { Map: PlainMap, Set: PlainSet });
      Error.stackTraceLimit = stackTraceLimit;
      for (const each of this.#watched) each.baseSize = each.collection.size;
    }
  }

  /** What has grown since, as `file:line has 3 entries more`; but not of the files named. */
  grown(exceptIn: readonly string[]): string[] {
    return this.#watched
      .filter(({ baseSize, collection, origin }) =>
        collection.size > baseSize && !exceptIn.some((file) => origin.startsWith(`${file}:`))
      )
      .map(({ baseSize, collection, origin }) =>
        `${origin} has ${collection.size - baseSize} entries more`
      );
  }
}

/** Lines of a stack before that of whoever makes a map: the error, the note and the constructor. */
const OWN_LINES = 3;

/** Where a map is made, as `file.ts:12`, if that is in a source of Sluice's. */
function originOf(stack: string): string | undefined {
  return /\/src\/(?:[\w-]+\/)*([\w-]+\.ts:\d+)/.exec(stack.split("\n")[OWN_LINES] ?? "")?.[1];
}
