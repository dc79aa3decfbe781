import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemRandom } from '../random.ts';
import { keyFault, MasterKeyError, openBytes, openKeyring, readMasterKeys, sealBytes } from './masterKey.ts';

const NOW = Date.UTC(2026, 2, 1);

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'rota-master-key-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

/** A database as far as master keys are concerned. */
function fakeStore(used: string[] = []) {
  const known: { id: string; check: string; active: number; createdAt: number }[] = [];
  return {
    known,
    readMasterKeys: async () => known,
    registerMasterKey: async ({ id, check }: { id: string; check: string }) => {
      if (known.length === 0) known.push({ id, check, active: 1, createdAt: NOW });
      return known[0] as (typeof known)[number];
    },
    countSecretsByKey: async () => used.map((keyId) => ({ keyId, count: 1 })),
  };
}

const open = (file: string, store = fakeStore()) =>
  openKeyring({ file, store, random: systemRandom, now: () => NOW });

test('The first start makes a key that only its owner can read, and leaves nothing beside it', async (t) => {
  const home = folder(t);
  const file = join(home, 'master-key');
  const store = fakeStore();
  const keyring = await open(file, store);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(home), ['master-key']);
  const { keys } = JSON.parse(readFileSync(file, 'utf8'));
  assert.deepEqual(Object.keys(keys[0]), ['id', 'key', 'createdAt']);
  assert.equal(Buffer.from(keys[0].key, 'base64').length, 32);
  assert.equal(store.known[0]?.id, keys[0].id);
  assert.ok(!JSON.stringify(store.known).includes(keys[0].key));
  assert.equal(keyring.find(keys[0].id)?.key.toString('base64'), keys[0].key);
  const before = readFileSync(file, 'utf8');
  await open(file, store);
  assert.equal(readFileSync(file, 'utf8'), before);
});

test('A file that lacks the key, or has another of its id, is refused with what to do, and is not touched', async (t) => {
  const home = folder(t);
  const store = fakeStore();
  const first = join(home, 'first');
  await open(first, store);
  const id = store.known[0]?.id ?? '';
  const none = join(home, 'none');
  await assert.rejects(open(none, store), (error: Error) => {
    assert.ok(error instanceof MasterKeyError);
    for (const part of [none, id, 'copy the file', '--master-key-file', 'ROTA_MASTER_KEY_FILE'])
      assert.ok(error.message.includes(part), error.message);
    return true;
  });
  assert.deepEqual(readdirSync(home), ['first']);
  const other = join(home, 'other');
  await open(other);
  await assert.rejects(open(other, store), new RegExp(`lacks the key ${id}`));
  const forged = JSON.parse(readFileSync(other, 'utf8'));
  forged.keys[0].id = id;
  writeFileSync(other, JSON.stringify(forged));
  await assert.rejects(open(other, store), new RegExp(`has another key ${id}`));
});

test('A server that was not the first with an empty database takes its own key back', async (t) => {
  const home = folder(t);
  const store = fakeStore();
  await open(join(home, 'first'), store);
  const late = { ...store, readMasterKeys: async () => [] };
  await assert.rejects(open(join(home, 'late'), late), MasterKeyError);
  assert.deepEqual(readdirSync(home), ['first']);
});

test('Servers that start at one time with one file share what one of them has made', async (t) => {
  const file = join(folder(t), 'master-key');
  const store = fakeStore();
  const keyrings = await Promise.all([1, 2, 3].map(() => open(file, store)));
  assert.deepEqual(new Set(keyrings.map((keyring) => keyring.first().id)), new Set([store.known[0]?.id]));
});

test('A key that secrets are still encrypted under is needed beside the active one', async (t) => {
  const file = join(folder(t), 'master-key');
  const store = fakeStore(['old']);
  await open(file, store);
  store.known.push({ id: 'unused', check: '', active: 0, createdAt: NOW });
  await open(file, store);
  store.known.push({ id: 'old', check: '', active: 0, createdAt: NOW });
  await assert.rejects(open(file, store), /lacks the key old/);
});

test('A new key stands before the others, and another server finds it when it meets its id', async (t) => {
  const file = join(folder(t), 'master-key');
  const store = fakeStore();
  const one = await open(file, store);
  const other = await open(file, store);
  const old = one.first();
  const made = one.add();
  assert.deepEqual(
    readMasterKeys(file)?.map(({ id }) => id),
    [made.id, old.id],
  );
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.deepEqual(other.find(made.id)?.key, made.key);
  assert.equal(other.find('nothing'), null);
  rmSync(file);
  assert.equal(other.find('nothing'), null);
  assert.throws(() => other.first(), /no master key file .* any more/);
});

test('What is wrong with a file is told without a piece of it', (t) => {
  const file = join(folder(t), 'master-key');
  const canary = 'Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5';
  const key = Buffer.alloc(32).toString('base64');
  for (const text of [
    canary,
    `{"keys": [{"id": "a", "key": "${canary}"}`,
    `{"keys": [{"id": "a", "key": "${canary}"}]}`,
    '{"keys": []}',
    `{"keys": [{"id": "a", "key": "${key}"}, {"id": "a", "key": "${key}"}]}`,
    `{"keys": [{"id": "../a", "key": "${key}"}]}`,
    'null',
  ]) {
    writeFileSync(file, text);
    assert.throws(
      () => keyFault(file, []),
      (error: Error) =>
        error instanceof MasterKeyError &&
        error.message.includes(file) &&
        !error.message.includes(canary.slice(0, 8)),
      text,
    );
  }
});

test('A file that cannot be written or read is told by its name', async (t) => {
  const home = folder(t);
  await assert.rejects(
    open(join(home, 'nowhere/master-key')),
    (error: Error) =>
      error instanceof MasterKeyError && /nowhere\/master-key cannot be written: ENOENT/.test(error.message),
  );
  await assert.rejects(open(home), /cannot be read: EISDIR/);
});

test('What was encrypted is opened only with its key and for its place, and is never the same twice', () => {
  const key = Buffer.alloc(32, 1);
  const seal = () => sealBytes(key, Buffer.from('hello'), 'place', systemRandom);
  const sealed = seal();
  assert.equal(openBytes(key, sealed, 'place').toString(), 'hello');
  assert.notDeepEqual(seal(), sealed);
  assert.throws(() => openBytes(key, sealed, 'other place'));
  assert.throws(() => openBytes(Buffer.alloc(32, 2), sealed, 'place'));
  for (let at = 0; at < sealed.length; at += 1) {
    const changed = Buffer.from(sealed);
    changed[at] = (changed[at] ?? 0) ^ 1;
    assert.throws(() => openBytes(key, changed, 'place'), `byte ${at}`);
  }
  for (let length = 0; length < sealed.length; length += 1)
    assert.throws(() => openBytes(key, sealed.subarray(0, length), 'place'), `${length} bytes`);
});
