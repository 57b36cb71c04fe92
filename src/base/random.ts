/** Random numbers as an argument, so that a simulation can be replayed from its seed. */

/** A source of random bytes. */
export interface Random {
  /** Returns `count` fresh bytes; unpredictable in production, since cancel keys come from here. */
  bytes(count: number): Uint8Array<ArrayBuffer>;
}

/** The random source asks the system for so many bytes at once. */
const STOCK_BYTES = 4_096;

/** The random source of the machine. */
export function systemRandom(): Random {
  const stock = new Uint8Array(STOCK_BYTES);
  let left = 0;
  return {
    bytes(count) {
      if (count > STOCK_BYTES) return crypto.getRandomValues(new Uint8Array(count));
      if (left < count) {
        crypto.getRandomValues(stock);
        left = STOCK_BYTES;
      }
      const bytes = stock.slice(left - count, left);
      // Given out once, and then nowhere but with who asked.
      stock.fill(0, left - count, left);
      left -= count;
      return bytes;
    },
  };
}
