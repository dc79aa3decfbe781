import { constants, open } from 'node:fs/promises';
import { LIMITS, type Permit } from '@rota/contract';
import { createMasker, MASKED_LENGTH, type Masker, NO_MASKER } from '../masking.ts';

/** Values of secrets, in memory only; `faults` says of the others why they have none. */
export interface Secrets {
  values: Record<string, string>;
  faults: Map<string, string>;
}

/** The secrets of one attempt. */
export interface AttemptSecrets {
  /** What they are now: those of files may change from step to step. */
  read(): Promise<Secrets>;
  /** Masks every value that was read so far. */
  readonly masker: Masker;
  /** Which of them are too short to be masked; null when none is. */
  readonly note: string | null;
}

export function createAttemptSecrets(sources: Permit['secrets']): AttemptSecrets {
  const known = new Set<string>();
  const short = new Set<string>();
  let masker = NO_MASKER;
  return {
    async read() {
      const secrets = await readSecrets(sources);
      const before = known.size;
      for (const [name, value] of Object.entries(secrets.values)) {
        known.add(value);
        if (value.length < MASKED_LENGTH) short.add(name);
      }
      if (known.size > before) masker = createMasker([...known]);
      return secrets;
    },
    get masker() {
      return masker;
    },
    get note() {
      if (short.size === 0) return null;
      const names = [...short].join(', ').slice(0, 300);
      return `not masked, as a value is shorter than ${MASKED_LENGTH} characters: ${names}`;
    },
  };
}

/** The secrets that a permit names: as many as have room together. */
export async function readSecrets(sources: Permit['secrets']): Promise<Secrets> {
  const values: Record<string, string> = {};
  const faults = new Map<string, string>();
  let bytesLeft = LIMITS.secretBytesOfPermit;
  const take = (name: string, value: string) => {
    const bytes = Buffer.byteLength(value);
    if (bytes > bytesLeft) {
      const most = `${LIMITS.secretBytesOfPermit / 1024} KiB`;
      faults.set(name, `the values of all secrets that the job names have more than ${most} together`);
      return;
    }
    bytesLeft -= bytes;
    values[name] = value;
  };
  for (const [name, source] of Object.entries(sources)) {
    switch (source.from) {
      case 'server':
        take(name, source.value);
        break;
      case 'agentEnv':
        // The session has put the value in where there is one.
        faults.set(name, `the agent's environment has no ${source.name}`);
        break;
      case 'agentFile':
        try {
          take(name, await readValue(source.path));
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
    const { buffer, bytesRead } = await file.read(
      Buffer.alloc(LIMITS.secretBytes + 1),
      0,
      LIMITS.secretBytes + 1,
      0,
    );
    if (bytesRead > LIMITS.secretBytes) throw new Error(`it is longer than ${LIMITS.secretBytes / 1024} KiB`);
    return buffer.toString('utf8', 0, bytesRead).replace(/\r?\n$/, '');
  } finally {
    await file.close();
  }
}
