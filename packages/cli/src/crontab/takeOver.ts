import { constants, type Stats } from 'node:fs';
import { type FileHandle, open, readFile, realpath, rename, stat, unlink } from 'node:fs/promises';
import path from 'node:path';
import { TAKEN_OVER } from './description.ts';

/** Where an imported entry stood, and what it said then. */
export interface ImportedLine {
  /** Counted from 1. */
  line: number;
  /** The line without its newline. */
  source: string;
}

/**
 * The crontab's text with the imported lines as comments, so that cron no longer runs them. No line is added or
 * removed. `when` (RFC 3339) is noted in each.
 * @throws Error naming every line that no longer reads as it was imported; nothing is changed then
 */
export function commentOut(text: string, jobs: readonly ImportedLine[], when: string): string {
  const lines = text.split('\n');
  const changed = jobs.filter(({ line, source }) => lines[line - 1] !== source);
  if (changed.length > 0) {
    const list = changed.map(
      ({ line, source }) => `line ${line} was ${quoted(source)} and is now ${quoted(lines[line - 1])}`,
    );
    throw new Error(`the crontab has changed since it was imported, import it again: ${list.join('; ')}`);
  }
  for (const { line, source } of jobs) lines[line - 1] = `${TAKEN_OVER}${when}: ${source}`;
  return lines.join('\n');
}

/**
 * Comments the imported lines out of a crontab, keeping a copy beside it: `<file>.rota-<time>~`, a name that no cron
 * takes for a crontab. The file is replaced in one step and keeps mode and owner, so cron reads it before or after.
 * A user's crontab under `/var/spool/cron` can be changed so by root only; its owner passes `commentOut`'s text of
 * `crontab -l` to `crontab -` instead.
 * @param when RFC 3339; also the copy's name
 * @throws Error when a line or the file itself changed meanwhile, when it is not UTF-8, or from the disk
 */
export async function takeOverFile(
  file: string,
  jobs: readonly ImportedLine[],
  when: string,
): Promise<{ backup: string }> {
  const target = await realpath(file);
  const before = await stat(target);
  const bytes = await readFile(target);
  const text = commentOut(decode(bytes, target), jobs, when);
  const stamp = when.replace(/\.\d+/, '').replaceAll(/[^\dTZ]/g, '');
  const backup = `${target}.rota-${stamp}~`;
  await writeNew(backup, bytes, before);
  try {
    // The dot in front hides it from cron, which may look into the folder at any moment.
    const next = path.join(path.dirname(target), `.${path.basename(target)}.rota-${stamp}`);
    await replace(target, next, Buffer.from(text, 'utf8'), before);
  } catch (error) {
    await unlink(backup);
    throw error;
  }
  return { backup };
}

/** Puts the new content in the file's place in one step, unless the file is no longer as it was `before`. */
async function replace(target: string, next: string, bytes: Buffer, before: Stats): Promise<void> {
  await writeNew(next, bytes, before);
  try {
    const now = await stat(target);
    if (now.ino !== before.ino || now.mtimeMs !== before.mtimeMs || now.size !== before.size) {
      throw new Error(`${target} was changed while it was taken over, import it again`);
    }
    await rename(next, target);
  } catch (error) {
    await unlink(next);
    throw error;
  }
  await syncFolder(path.dirname(target));
}

function decode(bytes: Buffer, file: string): string {
  const text = bytes.toString('utf8');
  if (!Buffer.from(text, 'utf8').equals(bytes))
    throw new Error(`${file} is not UTF-8; comment the lines out by hand`);
  return text;
}

/** Writes a file that must not exist yet, with the mode and owner of another, down to the disk. */
async function writeNew(file: string, bytes: Buffer, like: Stats): Promise<void> {
  const handle = await open(file, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    await fill(handle, bytes, like);
  } catch (error) {
    await unlink(file);
    throw error;
  } finally {
    await handle.close();
  }
}

async function fill(handle: FileHandle, bytes: Buffer, like: Stats): Promise<void> {
  await handle.writeFile(bytes);
  const { uid, gid } = await handle.stat();
  if (uid !== like.uid || gid !== like.gid) await handle.chown(like.uid, like.gid);
  await handle.chmod(like.mode & 0o7777);
  await handle.sync();
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function quoted(line: string | undefined): string {
  return line === undefined ? 'missing' : JSON.stringify(line.length > 60 ? `${line.slice(0, 60)}…` : line);
}
