import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { HandClock } from '../clock.testing.ts';
import { systemRandom } from '../random.ts';
import { openSqlite } from '../store/sqlite.ts';
import { createStore, type Store } from '../store/store.ts';
import type { SecretRow } from '../store/tables.ts';
import { openKeyring, readMasterKeys } from './masterKey.ts';
import { createVault, KeyNotSharedError, SecretUnreadableError, type Vault } from './secrets.ts';

interface World {
  store: Store;
  vault: Vault;
  file: string;
  set(name: string, value: string, place?: { tenantId?: string; job?: string }): Promise<void>;
  read(name: string): Promise<SecretRow>;
}

async function world(t: TestContext): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'rota-vault-'));
  const file = join(folder, 'master-key');
  const store = createStore(await openSqlite(join(folder, 'rota.db'), new HandClock(1)));
  t.after(async () => {
    await store.close();
    rmSync(folder, { recursive: true });
  });
  for (const id of ['acme', 'other']) await store.createTenant({ id, name: id, timezone: 'UTC' });
  const random = systemRandom;
  const keyring = await openKeyring({ file, store, random, now: () => 1 });
  const vault = createVault({ keyring, store, random });
  return {
    store,
    vault,
    file,
    async set(name, value, { tenantId = 'acme', job = '' } = {}) {
      const content = await vault.seal({ tenantId, job, name }, value);
      await store.setSecret({ tenantId, job, name, content, by: 'ann' });
    },
    async read(name) {
      const wanted = { tenantId: 'acme', job: '', names: [name], required: [name] };
      const [found] = (await store.readSecretsFor(wanted)).secrets;
      assert(found);
      return found;
    },
  };
}

const opened = (vault: Vault, secret: SecretRow) => vault.sourcesOf([secret])[secret.name];

test('A value is opened only where it was set: not for another tenant, job, name or key', async (t) => {
  const { vault, set, read } = await world(t);
  await set('TOKEN', 'the value');
  const row = await read('TOKEN');
  assert.deepEqual(opened(vault, row), { from: 'server', value: 'the value' });
  for (const moved of [
    { tenantId: 'other' },
    { job: 'a' },
    { name: 'PIN' },
    { keyId: 'none' },
    { sealed: null },
  ]) {
    assert.throws(
      () => opened(vault, { ...row, ...moved }),
      (error: Error) => error instanceof SecretUnreadableError && !error.message.includes('the value'),
      JSON.stringify(moved),
    );
  }
});

test('A value of any text comes back as it was', async (t) => {
  const { vault, set, read } = await world(t);
  for (const value of [
    'plain text',
    'a "quote" \\ $(x) `y`\n\r\t',
    'ünï\u{1F511}code',
    '\u0001\u007f\u2028',
    'x'.repeat(65_536),
  ]) {
    await set('TOKEN', value);
    assert.deepEqual(opened(vault, await read('TOKEN')), { from: 'server', value });
  }
});

test('A change of the master key that was interrupted goes on, and every value can be read at any moment', async (t) => {
  const { store, vault, file, set, read } = await world(t);
  for (let n = 0; n < 250; n += 1)
    await set(`S${n}`, `value ${n}`, n % 2 === 0 ? {} : { tenantId: 'other', job: 'a' });
  const random = systemRandom;
  let batches = 0;
  const failing = createVault({
    keyring: await openKeyring({ file, store, random, now: () => 1 }),
    store: {
      ...store,
      rotateSecrets: (input) => {
        batches += 1;
        return batches === 2 ? Promise.reject(new Error('the database is away')) : store.rotateSecrets(input);
      },
    },
    random,
  });
  const rotate = { by: 'ann', prepare: false, alone: true };
  await assert.rejects(failing.rotate(rotate), /the database is away/);
  const [active] = await store.readMasterKeys({});
  assert.deepEqual((await store.countSecretsByKey({})).map(({ count }) => count).sort(), [100, 150]);
  for (const name of ['S0', 'S100', 'S248'])
    assert.deepEqual(opened(vault, await read(name)), { from: 'server', value: `value ${name.slice(1)}` });
  await set('LATER', 'under the new key');
  assert.equal((await read('LATER')).keyId, active?.id);
  assert.deepEqual(await vault.rotate(rotate), {
    keyId: active?.id,
    active: true,
    encrypted: 150,
    unreadable: 0,
  });
  assert.equal((await store.countSecretsByKey({})).length, 1);
  assert.deepEqual(opened(vault, await read('S248')), { from: 'server', value: 'value 248' });
  assert.equal(readMasterKeys(file)?.length, 2);
});

test('A new key waits in the file until other servers have it, and then is the one that is used', async (t) => {
  const { store, vault, file, set, read } = await world(t);
  await set('TOKEN', 'the value');
  const rotate = (more: object) => vault.rotate({ by: 'ann', prepare: false, alone: false, ...more });
  await assert.rejects(rotate({}), KeyNotSharedError);
  assert.equal(readMasterKeys(file)?.length, 1);
  const { keyId } = await rotate({ prepare: true });
  assert.equal((await rotate({ prepare: true })).keyId, keyId);
  assert.notEqual((await read('TOKEN')).keyId, keyId);
  assert.deepEqual(await rotate({}), { keyId, active: true, encrypted: 1, unreadable: 0 });
  assert.equal((await read('TOKEN')).keyId, keyId);
  assert.equal((await store.readMasterKeys({})).length, 2);
});

test('A value that nobody can open stays as it is, and holds nothing else up', async (t) => {
  const { store, vault, set, read } = await world(t);
  await set('TOKEN', 'the value');
  await set('BROKEN', 'another value');
  const { keyId = '' } = await read('TOKEN');
  const content = { kind: 'server', keyId: keyId ?? '', sealed: Buffer.alloc(40), reference: null } as const;
  await store.setSecret({ tenantId: 'acme', job: '', name: 'BROKEN', content, by: 'ann' });
  const rotate = () => vault.rotate({ by: 'ann', prepare: false, alone: true });
  const first = await rotate();
  assert.deepEqual([first.encrypted, first.unreadable], [1, 1]);
  const second = await rotate();
  assert.deepEqual([second.encrypted, second.unreadable], [1, 1]);
  assert.notEqual(second.keyId, first.keyId);
  assert.deepEqual(opened(vault, await read('TOKEN')), { from: 'server', value: 'the value' });
});

test('A file that lost the active key is never the beginning of a change, and nothing can be set with it', async (t) => {
  const { store, vault, file, set, read } = await world(t);
  await set('TOKEN', 'the value');
  const { keyId } = await read('TOKEN');
  const other = JSON.stringify({
    keys: [{ id: 'x', key: Buffer.alloc(32).toString('base64'), createdAt: '' }],
  });
  writeFileSync(file, other);
  await assert.rejects(vault.rotate({ by: 'ann', prepare: false, alone: true }), /lacks the key/);
  assert.equal((await store.readMasterKeys({}))[0]?.id, keyId);
  await assert.rejects(set('TOKEN', 'the value'), new RegExp(`${file}.* lacks the key ${keyId}`));
});
