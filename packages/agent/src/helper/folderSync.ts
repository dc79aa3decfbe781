import { open } from 'node:fs/promises';

/** Many ends at one time share one sync of the folder's names. */
export function createFolderSync(path: string): () => Promise<void> {
  let current: Promise<void> | null = null;
  let next: Promise<void> | null = null;
  async function sync(): Promise<void> {
    const handle = await open(path, 'r');
    await handle.sync().finally(() => handle.close());
  }
  function begin(): Promise<void> {
    const running = sync();
    current = running;
    const clear = () => {
      if (current === running) current = null;
    };
    running.then(clear, clear);
    return running;
  }
  return () => {
    if (!current) return begin();
    next ??= current
      .catch(() => {})
      .then(() => {
        next = null;
        return begin();
      });
    return next;
  };
}
