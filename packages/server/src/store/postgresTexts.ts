import type { Shape } from './operation.ts';

/** Texts that are kept, and of those the ones that the database keeps prepared on each connection. */
const TEXTS_KEPT = 2_000;
const NAMED_MAX = 300;
/** A text with a list of some length may never come again; one that came so often will. */
const USES_BEFORE_NAMED = 5;

/** Puts `$1`, `$2`, … in place of each `?` that is not in quotes. */
export function numbered(text: string): string {
  let count = 0;
  return text.replace(/'[^']*'|"[^"]*"|\?/g, (found) => {
    if (found !== '?') return found;
    count += 1;
    return `$${count}`;
  });
}

/** Turns statements' texts into PostgreSQL's, each once; with `named`, those in steady use get a name, so that they are parsed once. */
export function createTexts({ named }: { named: boolean }) {
  const texts = new Map<string, { text: string; name: string | null; uses: number }>();
  let names = 0;
  return (text: string): { text: string; name?: string } => {
    let known = texts.get(text);
    if (known === undefined) {
      if (texts.size >= TEXTS_KEPT) {
        for (const [old, { name }] of texts) if (name === null) texts.delete(old);
      }
      known = { text: numbered(text), name: null, uses: 0 };
      texts.set(text, known);
    }
    known.uses += 1;
    if (named && known.name === null && known.uses > USES_BEFORE_NAMED && names < NAMED_MAX) {
      names += 1;
      known.name = `rota${names}`;
    }
    return known.name === null ? { text: known.text } : { text: known.text, name: known.name };
  };
}

/** The type of each column, by `table.column`. */
export type ColumnTypes = ReadonlyMap<string, string>;

/**
 * The text that does at once what statements of a shape do one by one: each of its values is a list. Rows tell by `ord`,
 * counted from 1, whose they are. Null when a column is not known.
 */
export function manyText(shape: Shape, types: ColumnTypes): string | null {
  const { kind, table, written, where, only, end } = shape;
  const columns = [...written, ...where];
  const typeOf = columns.map((name) => types.get(`${table}.${name}`));
  if (typeOf.includes(undefined)) return null;
  const lists = typeOf.map((type, index) => `$${index + 1}::${type}[]`).join(', ');
  const listed = `unnest(${lists}) with ordinality as "k"(${columns.map((_, index) => `"v${index}"`).join(', ')}, "ord")`;
  const and = only === '' ? '' : ` and ${only}`;
  const conditions = where
    .map((name, index) => `"t"."${name}" = "k"."v${written.length + index}"`)
    .join(' and ');
  switch (kind) {
    case 'get': {
      // Locks are taken in the order of the keys.
      const order =
        end === '' ? '' : `order by ${where.map((name) => `"t"."${name}"`).join(', ')} ${end} of "t"`;
      return `select "k"."ord", "t".* from ${listed} join "${table}" as "t" on ${conditions}${and} ${order}`;
    }
    case 'insert': {
      const names = written.map((name) => `"${name}"`).join(', ');
      return `insert into "${table}" (${names}) select * from unnest(${lists}) ${end}`;
    }
    case 'update': {
      const changes = written.map((name, index) => `"${name}" = "k"."v${index}"`).join(', ');
      return `update "${table}" as "t" set ${changes} from ${listed} where ${conditions}${and} returning "k"."ord"`;
    }
    case 'raise': {
      const keys = where.map((_, index) => `"v${index + 1}"`).join(', ');
      const highest = `(select max("v0") as "v0", ${keys} from ${listed} group by ${keys}) as "k"`;
      return `update "${table}" as "t" set "${written[0]}" = "k"."v0" from ${highest} where ${conditions} and "t"."${written[0]}" < "k"."v0"`;
    }
    default:
      return kind satisfies never;
  }
}
