import type { Client } from '@rota/contract';
import { readPages } from './pages.ts';

/** Names that another owner or a person has given: an import does not overwrite them, it takes others. */
export async function namesOfOthers(client: Client, owner: string): Promise<string[]> {
  const { items } = await readPages(1_000_000, (query) => client.call('listJobs', { query }));
  return items.filter(({ document }) => document.owner !== owner).map(({ name }) => name);
}
