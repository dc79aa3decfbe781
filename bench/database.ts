import { DatabaseSync } from 'node:sqlite';
import pg from 'pg';

type Value = string | number | null;

/** Asks and fills a server's database itself, whichever it is; placeholders are `?`. */
export interface Database {
  all<T>(text: string, ...values: Value[]): Promise<T[]>;
  close(): Promise<void>;
}

export function openFile(file: string, options: { readOnly?: boolean } = {}): Database {
  const database = new DatabaseSync(file, { timeout: 5_000, ...options });
  return {
    all: async <T>(text: string, ...values: Value[]) => database.prepare(text).all(...values) as T[],
    close: async () => database.close(),
  };
}

export async function openPostgres(url: string): Promise<Database> {
  const client = new pg.Client({ connectionString: url });
  // Whatever it was asked fails by itself.
  client.on('error', () => {});
  client.setTypeParser(20, Number);
  await client.connect();
  return {
    async all<T>(text: string, ...values: Value[]) {
      let number = 0;
      const numbered = text.replaceAll('?', () => `$${++number}`);
      return (await client.query(numbered, values)).rows as T[];
    },
    close: () => client.end(),
  };
}

/** Opens a database, does `work` with it, and closes it. */
export async function withDatabase<T>(
  open: () => Database | Promise<Database>,
  work: (database: Database) => T | Promise<T>,
): Promise<T> {
  const database = await open();
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}
