import { type Fault, LIMITS } from '@rota/contract';
import { faulty } from './errors.ts';

/** A place in a list as a caller keeps it: opaque text. */
export function cursorOf(key: readonly (string | number)[]): string {
  return Buffer.from(JSON.stringify(key)).toString('base64url');
}

/**
 * The key in a cursor, checked against the types of `like`; null when there is none.
 * @throws Refusal `request.invalid`
 */
export function keyOf<K extends (string | number)[]>(
  cursor: string | undefined,
  like: readonly ('string' | 'number')[],
): K | null {
  if (cursor === undefined) return null;
  try {
    const key: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    if (
      Array.isArray(key) &&
      key.length === like.length &&
      key.every(
        (part, index) =>
          typeof part === like[index] && (typeof part === 'string' || Number.isSafeInteger(part)),
      )
    )
      return key as K;
  } catch {
    // told below
  }
  const fault: Fault = {
    path: 'cursor',
    code: 'value',
    message: 'is not a cursor of this list; begin without one',
  };
  throw faulty('request.invalid', [fault]);
}

/** One page of rows that were read with one more than `limit`. */
export function pageOf<R, V>(
  rows: R[],
  limit: number,
  view: (row: R) => V,
  key: (row: R) => (string | number)[],
): { items: V[]; nextCursor: string | null } {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  return {
    items: shown.map(view),
    nextCursor: rows.length > limit && last !== undefined ? cursorOf(key(last)) : null,
  };
}

/** How many entries a page has. */
export function limitOf(query: { limit?: number | undefined }): number {
  return query.limit ?? LIMITS.pageDefault;
}

/** `key` or `key=value` as a filter asks for a label. */
export function labelOf(text: string): { key: string; value: string | null } {
  const at = text.indexOf('=');
  return at === -1 ? { key: text, value: null } : { key: text.slice(0, at), value: text.slice(at + 1) };
}
