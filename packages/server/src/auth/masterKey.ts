import { createCipheriv, createDecipheriv } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { newId, type Random } from '../random.ts';
import type { Store } from '../store/store.ts';
import type { MasterKeyRow } from '../store/tables.ts';

/** A key that secrets are encrypted under. It is in its file and in memory, and nowhere else. */
export interface MasterKey {
  id: string;
  key: Buffer;
  /** RFC 3339. */
  createdAt: string;
}

/** The file of master keys cannot be used, or lacks one that is needed. Its message has no key in it. */
export class MasterKeyError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'MasterKeyError';
  }
}

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Encrypts with AES-256-GCM: nonce, tag and ciphertext in one. `bound` must be the same when it is opened. */
export function sealBytes(key: Buffer, plain: Uint8Array, bound: string, random: Random): Buffer {
  const nonce = random.bytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(bound));
  const sealed = Buffer.concat([cipher.update(plain), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), sealed]);
}

/** @throws Error when the key or `bound` is another, or anything was changed */
export function openBytes(key: Buffer, sealed: Uint8Array, bound: string): Buffer {
  const nonce = sealed.subarray(0, NONCE_BYTES);
  const tag = sealed.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES);
  const cipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(bound)).setAuthTag(tag);
  return Buffer.concat([cipher.update(sealed.subarray(NONCE_BYTES + TAG_BYTES)), cipher.final()]);
}

/** The master keys of a server's file. */
export interface Keyring {
  readonly file: string;
  /** The key of an id, for which the file is read again when it is not known; null: the file lacks it. */
  find(id: string): MasterKey | null;
  /** The first key of the file as it is now. @throws MasterKeyError */
  first(): MasterKey;
  /** Writes a new key in front of the others. @throws MasterKeyError */
  add(): MasterKey;
}

/**
 * The master keys of a server, made at the first start with an empty database. All servers on a database need the same.
 * @throws MasterKeyError when the file lacks a key that the database's secrets are encrypted under
 */
export async function openKeyring(ports: {
  file: string;
  store: Pick<Store, 'readMasterKeys' | 'registerMasterKey' | 'countSecretsByKey'>;
  random: Random;
  now: () => number;
}): Promise<Keyring> {
  const { file, store, random, now } = ports;
  const keyring = createKeyring({ file, random, now });
  let known = await store.readMasterKeys({});
  if (known.length === 0) {
    const made = readMasterKeys(file) === null && makeFile(file, newMasterKey(random, now()), random);
    const first = keyring.first();
    const active = await store.registerMasterKey({ id: first.id, check: checkOf(first, random) });
    // Another server was first; its file has the key that counts.
    if (made && active.id !== first.id) rmSync(file);
    known = [active];
  }
  const used = new Set((await store.countSecretsByKey({})).map(({ keyId }) => keyId));
  const fault = keyFault(
    file,
    known.filter(({ id, active }) => active === 1 || used.has(id)),
  );
  if (fault !== null) throw new MasterKeyError(fault);
  return keyring;
}

/** What a file lacks of these keys, as a sentence with what to do; null: nothing. @throws MasterKeyError */
export function keyFault(file: string, needed: readonly Pick<MasterKeyRow, 'id' | 'check'>[]): string | null {
  const keys = readMasterKeys(file);
  for (const { id, check } of needed) {
    const found = keys?.find((key) => key.id === id);
    if (found && isRight(found, check)) continue;
    const problem =
      keys === null
        ? `there is no master key file ${file}, and the database's secrets are encrypted under the key ${id}`
        : found
          ? `the master key file ${file} has another key ${id} than the one that the database's secrets are encrypted under`
          : `the master key file ${file} lacks the key ${id}, which the database's secrets are encrypted under`;
    return `${problem}. All servers on a database need the same keys: copy the file of another server, or the one that was kept beside the backup, to that place, or name it with --master-key-file or ROTA_MASTER_KEY_FILE. If it is lost for good: docs/secrets.md, "When the key is lost"`;
  }
  return null;
}

/** Shows later whether a file has the right key of an id; base64. */
export function checkOf({ id, key }: MasterKey, random: Random): string {
  return sealBytes(key, Buffer.from(CHECK), checked(id), random).toString('base64');
}

function isRight({ id, key }: MasterKey, check: string): boolean {
  try {
    return openBytes(key, Buffer.from(check, 'base64'), checked(id)).toString() === CHECK;
  } catch {
    return false;
  }
}

const CHECK = 'rota';
const checked = (id: string) => JSON.stringify(['rota-master-key-v1', id]);

/** The keys of a file, the first first; null when there is no file. @throws MasterKeyError */
export function readMasterKeys(file: string): MasterKey[] | null {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    throw new MasterKeyError(`the master key file ${file} cannot be read: ${code ?? 'error'}`);
  }
  const keys = parseKeys(text);
  if (keys === null)
    throw new MasterKeyError(
      `${file} is not a master key file: it must be {"keys": [{"id", "key", "createdAt"}, …]} with keys of ${KEY_BYTES} bytes in base64`,
    );
  return keys;
}

/** What a parser would say of a fault has a piece of the text in it, and that may be of a key. */
function parseKeys(text: string): MasterKey[] | null {
  try {
    const { keys } = JSON.parse(text) as { keys: { id: string; key: string; createdAt: string }[] };
    const read = keys.map(({ id, key, createdAt }) => ({ id, key: Buffer.from(key, 'base64'), createdAt }));
    const ids = new Set(read.map(({ id }) => id));
    const isWhole = ({ id, key }: MasterKey) => /^[A-Za-z0-9_-]{1,64}$/.test(id) && key.length === KEY_BYTES;
    return read.length > 0 && ids.size === read.length && read.every(isWhole) ? read : null;
  } catch {
    return null;
  }
}

function newMasterKey(random: Random, now: number): MasterKey {
  const key = Buffer.from(random.bytes(KEY_BYTES));
  return { id: newId(random), key, createdAt: new Date(now).toISOString() };
}

function createKeyring(ports: { file: string; random: Random; now: () => number }): Keyring {
  const { file, random, now } = ports;
  let keys: MasterKey[] = [];
  function read(): MasterKey[] {
    const found = readMasterKeys(file);
    if (found === null) throw new MasterKeyError(`there is no master key file ${file} any more`);
    keys = found;
    return keys;
  }
  return {
    file,
    find(id) {
      const known = keys.find((key) => key.id === id);
      if (known) return known;
      try {
        return read().find((key) => key.id === id) ?? null;
      } catch (error) {
        if (error instanceof MasterKeyError) return null;
        throw error;
      }
    },
    first: () => read()[0] as MasterKey,
    add() {
      const made = newMasterKey(random, now());
      replaceFile(file, [made, ...read()], random);
      return made;
    },
  };
}

/** Makes the file, whole or not at all. @returns false when somebody else was faster */
function makeFile(file: string, key: MasterKey, random: Random): boolean {
  return writeWhole(file, [key], random, (partial) => {
    try {
      linkSync(partial, file);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      return false;
    }
  });
}

function replaceFile(file: string, keys: MasterKey[], random: Random): void {
  writeWhole(file, keys, random, (partial) => {
    renameSync(partial, file);
    return true;
  });
}

/** Writes the keys beside the file, durably and for the owner's eyes alone, and lets `place` put them in their place. */
function writeWhole(
  file: string,
  keys: MasterKey[],
  random: Random,
  place: (partial: string) => boolean,
): boolean {
  const listed = keys.map(({ id, key, createdAt }) => ({ id, key: key.toString('base64'), createdAt }));
  const partial = `${file}.${newId(random)}.partial`;
  try {
    const descriptor = openSync(partial, 'wx', 0o600);
    try {
      writeSync(descriptor, `${JSON.stringify({ keys: listed }, null, 2)}\n`);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    const placed = place(partial);
    const folder = openSync(dirname(file), 'r');
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
    return placed;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new MasterKeyError(`the master key file ${file} cannot be written: ${code ?? 'error'}`);
  } finally {
    rmSync(partial, { force: true });
  }
}
