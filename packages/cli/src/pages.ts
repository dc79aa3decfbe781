/** Reads pages of a list until there are `limit` entries or no more; `more` says that the list goes on. */
export async function readPages<Item>(
  limit: number,
  page: (query: { limit: number; cursor?: string }) => Promise<{ items: Item[]; nextCursor: string | null }>,
): Promise<{ items: Item[]; more: boolean }> {
  const items: Item[] = [];
  let cursor: string | null = null;
  do {
    const query = { limit: Math.min(500, limit - items.length), ...(cursor !== null && { cursor }) };
    const answer = await page(query);
    items.push(...answer.items);
    cursor = answer.nextCursor;
  } while (cursor !== null && items.length < limit);
  return { items, more: cursor !== null };
}
