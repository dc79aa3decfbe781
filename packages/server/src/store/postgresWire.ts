import type pg from 'pg';
import {
  type Operation,
  type Result,
  type Row,
  rows,
  type Shape,
  type Statement,
  type Value,
} from './operation.ts';
import { type Group, listsOf, type Pipeline, resultsOf } from './pipeline.ts';
import { ConnectionLost, endsConnection } from './postgresConnection.ts';
import { type ColumnTypes, createTexts, manyText } from './postgresTexts.ts';

/** Carries the statements of operations over a connection: those of one shape as one, and none waits that need not. */
export class Wire {
  readonly #texts: (text: string) => { text: string; name?: string };
  readonly #manyTexts = new Map<Shape, string | null>();
  #columns: ColumnTypes = new Map();

  constructor(how: { named: boolean }) {
    this.#texts = createTexts(how);
  }

  /** Which columns there are; statements about others go one by one. */
  learn(columns: ColumnTypes): void {
    this.#columns = columns;
    this.#manyTexts.clear();
  }

  /** What nobody waits for stays in the pipeline until something else goes, in the end with the commit. */
  async run<T>(client: pg.PoolClient, body: Operation<T>, pipeline: Pipeline): Promise<T> {
    let step = body.next();
    while (!step.done) step = body.next(await this.#carry(client, step.value, pipeline));
    return step.value;
  }

  async #carry(client: pg.PoolClient, asked: Statement, pipeline: Pipeline): Promise<Result> {
    const parts = asked.parts ?? [{ chain: 0, statement: asked }];
    const places = pipeline.add(parts, (shape) => this.#manyText(shape) !== null);
    if (asked.unheard) return { rows: [], changes: 0 };
    const results = await this.send(client, pipeline.take());
    const each = places.map(({ group, index }) => results[group]?.[index] as Result);
    return asked.parts === undefined ? (each[0] as Result) : { rows: [], changes: 0, each };
  }

  /** Sends groups without waiting for one before the next goes. @returns of each group the results of its statements */
  async send(client: pg.PoolClient, groups: readonly Group[], last?: string): Promise<Result[][]> {
    const answers = groups.map((group) => this.ask(client, this.#queryOf(group)));
    if (last !== undefined) answers.push(this.ask(client, last));
    // Behind the first that fails all others do, and say nothing of why.
    for (const answer of answers) answer.catch(() => {});
    const results: Result[][] = [];
    for (const [index, answer] of answers.entries()) {
      const { rows: found, rowCount } = await answer;
      const group = groups[index];
      if (group === undefined) continue;
      const [first] = group.statements;
      results.push(
        group.statements.length > 1
          ? resultsOf(group, found)
          : [{ rows: first?.reads ? (found as Row[]) : [], changes: rowCount ?? 0 }],
      );
    }
    return results;
  }

  #queryOf(group: Group): { text: string; name?: string; values: Value[] | Value[][] } {
    const [first] = group.statements as [Statement];
    const { shape } = group;
    if (shape === null || group.statements.length === 1)
      return { ...this.#texts(first.text), values: first.values.map(storable) };
    const lists = listsOf(group).map((list) => list.map(storable));
    return { ...this.#texts(this.#manyText(shape) as string), values: lists };
  }

  #manyText(shape: Shape): string | null {
    let text = this.#manyTexts.get(shape);
    if (text === undefined) {
      text = manyText(shape, this.#columns);
      this.#manyTexts.set(shape, text);
    }
    return text;
  }

  /** Asks for one thing. @throws ConnectionLost when nobody can tell what became of it */
  async ask(
    client: pg.PoolClient,
    query: string | { text: string; name?: string; values: Value[] | Value[][] },
  ): Promise<pg.QueryResult> {
    try {
      return await client.query(query as string);
    } catch (error) {
      throw endsConnection(error) ? new ConnectionLost(error) : error;
    }
  }
}

/** The type of each column of the schema. */
export function* readColumnTypes(): Operation<ColumnTypes> {
  const found = yield* rows<{ column: string; type: string }>(
    `select "class"."relname" || '.' || "attname" as "column", format_type("atttypid", null) as "type"
     from pg_attribute join pg_class as "class" on "class"."oid" = "attrelid"
     where "relnamespace" = current_schema()::regnamespace and "relkind" = 'r' and "attnum" > 0 and not "attisdropped"`,
  );
  return new Map(found.map(({ column, type }) => [column, type]));
}

/** PostgreSQL has no NUL in texts; a report that contains one must not be refused for ever. */
function storable(value: Value): Value {
  return typeof value === 'string' && value.includes('\0') ? value.replaceAll('\0', '\uFFFD') : value;
}
