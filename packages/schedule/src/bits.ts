// Small sets of whole numbers as bits: up to 31 members in one number, 0 to 59 in two halves of 30.

/** What the searches give when a set has no such member. */
export const NONE = -1;

/** The smallest member that is at least `from` (0 to 31), or NONE. */
export function firstFrom(set: number, from: number): number {
  const rest = from > 30 ? 0 : set & (-1 << from);
  return rest === 0 ? NONE : 31 - Math.clz32(rest & -rest);
}

/** The largest member that is at most `upTo` (-1 to 30), or NONE. */
export function lastUpTo(set: number, upTo: number): number {
  const rest = upTo < 0 ? 0 : set & (0x7fffffff >>> (30 - upTo));
  return rest === 0 ? NONE : 31 - Math.clz32(rest);
}

/** How many members a set has. */
export function sizeOf(set: number): number {
  let pairs = set - ((set >>> 1) & 0x55555555);
  pairs = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((pairs + (pairs >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** The members that are below `limit` (0 to 31). */
export function below(set: number, limit: number): number {
  return limit > 30 ? set : set & ~(-1 << limit);
}

const HALF = 30;

/** Whether a set of sixtieths (minutes, seconds) has a member. */
export function has60(low: number, high: number, value: number): boolean {
  return ((value < HALF ? low >> value : high >> (value - HALF)) & 1) === 1;
}

/** As `firstFrom`, 0 to 60, for a set of sixtieths. */
export function firstFrom60(low: number, high: number, from: number): number {
  if (from < HALF) {
    const found = firstFrom(low, from);
    if (found !== NONE) return found;
  }
  const found = firstFrom(high, from < HALF ? 0 : from - HALF);
  return found === NONE ? NONE : found + HALF;
}

/** As `lastUpTo`, -1 to 59, for a set of sixtieths. */
export function lastUpTo60(low: number, high: number, upTo: number): number {
  if (upTo >= HALF) {
    const found = lastUpTo(high, upTo - HALF);
    if (found !== NONE) return found + HALF;
  }
  return lastUpTo(low, upTo < HALF ? upTo : HALF - 1);
}

/** How many members of a set of sixtieths are below `limit` (0 to 60). */
export function countBelow60(low: number, high: number, limit: number): number {
  return limit <= HALF ? sizeOf(below(low, limit)) : sizeOf(low) + sizeOf(below(high, limit - HALF));
}
