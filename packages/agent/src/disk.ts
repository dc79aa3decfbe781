import { open, readFile, rename } from 'node:fs/promises';
import type { Disk } from './ports.ts';

/** The machine's file system. */
export const systemDisk: Disk = {
  async read(path) {
    try {
      return await readFile(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
  },
  async open(path) {
    // Not 'r+' alone: that does not make the file; 'a' would ignore positions.
    const handle = await open(path, 'r+', 0o600).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return open(path, 'wx+', 0o600);
    });
    return {
      async write(data, position) {
        let done = 0;
        while (done < data.length) {
          const { bytesWritten } = await handle.write(data, done, data.length - done, position + done);
          done += bytesWritten;
        }
      },
      sync: () => handle.datasync(),
      truncate: (length) => handle.truncate(length),
      close: () => handle.close(),
    };
  },
  rename,
  async syncFolder(path) {
    const handle = await open(path, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
};

/** Replaces a file by new content so that a crash leaves either the old or the new one, readable by its owner only. */
export async function replaceFile(disk: Disk, folder: string, name: string, content: string): Promise<void> {
  const path = `${folder}/${name}`;
  const data = Buffer.from(content);
  const file = await disk.open(`${path}.new`);
  try {
    await file.truncate(0);
    await file.write(data, 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await disk.rename(`${path}.new`, path);
  await disk.syncFolder(folder);
}
