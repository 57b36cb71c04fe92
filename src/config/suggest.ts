/** Finds the name that was probably meant, for messages about unknown names. Pure. */

/** Names further away than this are no help. */
const MAX_DISTANCE = 3;

/** `: did you mean "x"?` for the nearest of `known`, or nothing when none is near. */
export function suggestion(found: string, known: Iterable<string>): string {
  const name = nearest(found, known);
  return name === undefined ? "" : `: did you mean "${name}"?`;
}

/** The nearest of `known`; none when it differs by more than about a third of the letters. */
export function nearest(found: string, known: Iterable<string>): string | undefined {
  const wanted = found.toLowerCase().replaceAll("-", "_");
  const limit = Math.min(MAX_DISTANCE, Math.ceil(wanted.length / 3));
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const name of known) {
    if (Math.abs(name.length - wanted.length) >= bestDistance) continue;
    const distance = editDistance(wanted, name.toLowerCase());
    if (distance < bestDistance) {
      best = name;
      bestDistance = distance;
    }
  }
  return best;
}

/** Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`. */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let cost = Math.min(
        at(last, column) + 1,
        at(current, column - 1) + 1,
        at(last, column - 1) + (same ? 0 : 1),
      );
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] &&
        a[row - 2] === b[column - 1];
      if (swapped) cost = Math.min(cost, at(beforeLast, column - 2) + 1);
      current.push(cost);
    }
    beforeLast = last;
    last = current;
  }
  return at(last, b.length);
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Infinity;
}
