/** Random numbers as an argument, so that a simulation can be replayed from its seed. */

/** A source of random bytes. */
export interface Random {
  /** Returns `count` fresh bytes; unpredictable in production, since cancel keys come from here. */
  bytes(count: number): Uint8Array<ArrayBuffer>;
}

/** The random source of the machine. */
export function systemRandom(): Random {
  return { bytes: (count) => crypto.getRandomValues(new Uint8Array(count)) };
}
