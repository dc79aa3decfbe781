import type { Part, Result, Row, Shape, Statement, Value } from './operation.ts';

/** Statements that one text carries at most. */
const STATEMENTS_AT_ONCE = 500;

/** Statements that are sent as one: a single one, or several of a shape. */
export interface Group {
  readonly shape: Shape | null;
  readonly statements: Statement[];
}

/**
 * Statements that are on their way to the database, in groups that go one after the other: those of one shape go together,
 * wherever that does not bring one before another that it has to follow.
 */
export class Pipeline {
  #groups: Group[] = [];

  /** Adds statements behind all that are here. @returns where the result of each will be found */
  add(parts: readonly Part[], canMerge: (shape: Shape) => boolean): { group: number; index: number }[] {
    const first = this.#groups.length;
    /** The first group that the next statement of a chain may go in. */
    const after = new Map<number, number>();
    return parts.map(({ chain, statement }) => {
      const shape =
        statement.shape !== undefined && canMerge(statement.shape) && isSmall(statement)
          ? statement.shape
          : null;
      let group = after.get(chain) ?? first;
      while (group < this.#groups.length && !takes(this.#groups[group] as Group, shape)) group += 1;
      if (group === this.#groups.length) this.#groups.push({ shape, statements: [] });
      const { statements } = this.#groups[group] as Group;
      // What adds or reads rows may go with others of its chain; what changes one may not meet itself.
      after.set(chain, shape?.kind === 'insert' || shape?.kind === 'get' ? group : group + 1);
      statements.push(statement);
      return { group, index: statements.length - 1 };
    });
  }

  /** All that is here, in order; nothing is left. */
  take(): Group[] {
    return this.#groups.splice(0);
  }
}

function takes(group: Group, shape: Shape | null): boolean {
  return shape !== null && group.shape === shape && group.statements.length < STATEMENTS_AT_ONCE;
}

/** Bytes in a list are written as text, twice as long. */
function isSmall({ values }: Statement): boolean {
  return !values.some((value) => value instanceof Uint8Array);
}

/** The lists that a group's text takes: of each column, the values of all. */
export function listsOf({ shape, statements }: Group): Value[][] {
  const columns = shape === null ? 0 : shape.written.length + shape.where.length;
  return Array.from({ length: columns }, (_, column) =>
    statements.map(({ values }) => values[column] as Value),
  );
}

/** What each statement of a group would have answered alone. */
export function resultsOf({ statements }: Group, rows: Row[]): Result[] {
  const results = statements.map((): Result => ({ rows: [], changes: 0 }));
  for (const { ord, ...row } of rows) {
    const result = results[(ord as number) - 1] as Result;
    result.changes += 1;
    if (statements[0]?.reads) result.rows.push(row as Row);
  }
  return results;
}
