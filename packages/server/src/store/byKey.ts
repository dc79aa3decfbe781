import type { Operation, Shape, Transaction, Value } from './operation.ts';
import type { Tables } from './tables.ts';

/**
 * Statements about one row each, of which a database far away can do many as one. Operations say what they want of their row;
 * those that run together share the way (see `together` and `postgresTexts.ts`).
 */

type Columns<Table extends keyof Tables> = Partial<Tables[Table]>;

const shapes = new Map<string, { shape: Shape; text: string }>();

/** One object for each shape, and its text for a single row. */
function shaped(
  kind: Shape['kind'],
  table: string,
  written: readonly string[],
  where: readonly string[],
  only = '',
  end = '',
): { shape: Shape; text: string } {
  const key = `${kind} ${table} ${written.join()} ${where.join()} ${only} ${end}`;
  let known = shapes.get(key);
  if (known === undefined) {
    const shape = { kind, table, written, where, only, end };
    known = { shape, text: single(shape) };
    shapes.set(key, known);
  }
  return known;
}

function single({ kind, table, written, where, only, end }: Shape): string {
  const conditions = where.map((name) => `"${name}" = ?`).join(' and ');
  const and = only === '' ? '' : ` and ${only}`;
  switch (kind) {
    case 'get':
      return `select * from "${table}" where ${conditions}${and} ${end}`;
    case 'insert':
      return `insert into "${table}" (${written.map((name) => `"${name}"`).join(', ')}) values (${written.map(() => '?').join(', ')}) ${end}`;
    case 'update':
      return `update "${table}" set ${written.map((name) => `"${name}" = ?`).join(', ')} where ${conditions}${and}`;
    case 'raise':
      return `update "${table}" set "${written[0]}" = ? where ${conditions} and "${written[0]}" < ?`;
    default:
      return kind satisfies never;
  }
}

/**
 * The row that a key names; with `lock`, as nobody else changes it meanwhile.
 * `only`: a condition in SQL that is the same for all, so that a partial index can be used.
 */
export function* get<Table extends keyof Tables>(
  { dialect }: Transaction,
  table: Table,
  where: Columns<Table>,
  { lock = false, only = '' }: { lock?: boolean; only?: string } = {},
): Operation<Tables[Table] | undefined> {
  const { shape, text } = shaped('get', table, [], Object.keys(where), only, lock ? dialect.forUpdate : '');
  const { rows } = yield { text, values: Object.values(where) as Value[], reads: true, shape };
  return rows[0] as Tables[Table] | undefined;
}

/** Adds a row; with `ifMissing`, one that is there already stays as it is. */
export function* insert<Table extends keyof Tables>(
  table: Table,
  row: Columns<Table>,
  { ifMissing = false }: { ifMissing?: boolean } = {},
): Operation<void> {
  const end = ifMissing ? 'on conflict do nothing' : '';
  const { shape, text } = shaped('insert', table, Object.keys(row), [], '', end);
  yield { text, values: Object.values(row) as Value[], reads: false, unheard: true, shape };
}

/** Adds a row unless it is there. @returns whether it was not */
export function* insertNew<Table extends keyof Tables>(
  table: Table,
  row: Columns<Table>,
): Operation<boolean> {
  const { text } = shaped('insert', table, Object.keys(row), [], '', 'on conflict do nothing');
  const { changes } = yield { text, values: Object.values(row) as Value[], reads: false };
  return changes === 1;
}

/** Changes the row if it still is as `where` says. @returns whether it was */
export function* compareAndSet<Table extends keyof Tables>(
  table: Table,
  where: Columns<Table>,
  changed: Columns<Table>,
  only = '',
): Operation<boolean> {
  const { shape, text } = shaped('update', table, Object.keys(changed), Object.keys(where), only);
  const values = [...Object.values(changed), ...Object.values(where)] as Value[];
  const { changes } = yield { text, values, reads: false, shape };
  return changes === 1;
}

/** Changes a row that this operation has locked, or whatever it is by now. */
export function* set<Table extends keyof Tables>(
  table: Table,
  where: Columns<Table>,
  changed: Columns<Table>,
): Operation<void> {
  const { shape, text } = shaped('update', table, Object.keys(changed), Object.keys(where));
  const values = [...Object.values(changed), ...Object.values(where)] as Value[];
  yield { text, values, reads: false, unheard: true, shape };
}

/** Raises a number of a row to at least a value. */
export function* raise<Table extends keyof Tables>(
  table: Table,
  where: Columns<Table>,
  column: keyof Tables[Table] & string,
  value: number,
): Operation<void> {
  const { shape, text } = shaped('raise', table, [column], Object.keys(where));
  yield {
    text,
    values: [value, ...(Object.values(where) as Value[]), value],
    reads: false,
    unheard: true,
    shape,
  };
}
