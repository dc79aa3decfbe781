import { constants, open } from 'node:fs/promises';
import type { Permit } from '@rota/contract';

/** Longest value that is read from a file. */
const VALUE_BYTES = 64 * 1024;

/** Values of the secrets that a permit names, in memory only; `faults` says of the others why they have none. */
export async function readSecrets(
  sources: Permit['secrets'],
): Promise<{ values: Record<string, string>; faults: Map<string, string> }> {
  const values: Record<string, string> = {};
  const faults = new Map<string, string>();
  for (const [name, source] of Object.entries(sources)) {
    switch (source.from) {
      case 'server':
        values[name] = source.value;
        break;
      case 'agentEnv':
        // The session has put the value in where there is one.
        faults.set(name, `the agent's environment has no ${source.name}`);
        break;
      case 'agentFile':
        try {
          values[name] = await readValue(source.path);
        } catch (error) {
          const { code, message } = error as NodeJS.ErrnoException;
          faults.set(name, `the file ${source.path} cannot be read: ${code ?? message}`);
        }
        break;
      default:
        source satisfies never;
    }
  }
  return { values, faults };
}

/** The text of a file without the newline at its end. */
async function readValue(path: string): Promise<string> {
  // What is no file, such as a pipe, may never be opened by its other side, and never end.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    if (!(await file.stat()).isFile()) throw new Error('it is no regular file');
    const { buffer, bytesRead } = await file.read(Buffer.alloc(VALUE_BYTES + 1), 0, VALUE_BYTES + 1, 0);
    if (bytesRead > VALUE_BYTES) throw new Error(`it is longer than ${VALUE_BYTES / 1024} KiB`);
    return buffer.toString('utf8', 0, bytesRead).replace(/\r?\n$/, '');
  } finally {
    await file.close();
  }
}
