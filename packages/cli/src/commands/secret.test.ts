import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { AuditView, SecretView } from '@rota/contract';
import { fakeServer } from '../fakeServer.testing.ts';
import { rota, temporaryFolder } from '../rota.testing.ts';

const TOKEN: SecretView = {
  name: 'TOKEN',
  job: null,
  from: 'server',
  reference: null,
  keyId: 'k',
  version: 1,
  createdAt: '2026-03-01T11:00:00.000Z',
  updatedAt: '2026-03-01T11:00:00.000Z',
  updatedBy: 'admin',
};
const set = (secret: Partial<SecretView> = {}, more: object = {}) => ({
  putSecret: () => ({ json: { secret: { ...TOKEN, ...secret }, created: true, jobExists: null, ...more } }),
});

test('The value of a secret comes from a file, from what is piped in, or is typed twice', async (t) => {
  const cwd = temporaryFolder(t);
  writeFileSync(join(cwd, 'value'), 'from a file\r\n\n');
  const sent = async (words: string[], options: object) => {
    const server = await fakeServer(t, set());
    const { code, out, err } = await rota(['secret', 'set', 'TOKEN', ...words], {
      ...server,
      cwd,
      ...options,
    });
    assert.equal(code, 0, err);
    assert.equal(out, 'TOKEN: set\n');
    assert.equal(server.calls.length, 1);
    return server.body('putSecret');
  };
  assert.deepEqual(await sent(['--value-file', 'value'], {}), { value: 'from a file\r\n' });
  assert.deepEqual(await sent(['--value-file', 'value', '--exact'], {}), { value: 'from a file\r\n\n' });
  assert.deepEqual(await sent([], { input: 'piped in\n' }), { value: 'piped in' });
  assert.deepEqual(await sent([], { answers: ['typed twice', 'typed twice'] }), { value: 'typed twice' });
  assert.deepEqual(await sent(['--agent-env', 'APP'], {}), { agentEnv: 'APP' });
  assert.deepEqual(await sent(['--agent-file', '/etc/pin'], {}), { agentFile: '/etc/pin' });
});

test('A value has no place in the arguments, and what cannot be is refused before anything is sent', async (t) => {
  const cwd = temporaryFolder(t);
  writeFileSync(join(cwd, 'bytes'), Buffer.from([0x68, 0xff, 0xfe]));
  const server = await fakeServer(t, set());
  const refused = async (words: string[], expected: RegExp, options: object = {}) => {
    const { code, out, err } = await rota(['secret', 'set', 'TOKEN', ...words], {
      ...server,
      cwd,
      ...options,
    });
    assert.notEqual(code, 0);
    assert.equal(out, '');
    assert.match(err, expected);
  };
  await refused([], /piped in is not text in UTF-8.*base64/, { input: 'h\uFFFD\uFFFD' });
  await refused(['a-value'], /too many arguments|argument/);
  await refused(['--value', 'a-value'], /unknown option|--value/);
  await refused(['--value-file', 'none'], /none cannot be read: ENOENT/);
  await refused(['--value-file', 'bytes'], /not text in UTF-8/);
  await refused(['--value-file', 'bytes', '--agent-env', 'A'], /exclude each other/);
  await refused([], /the two differ/, { answers: ['typed once', 'typed twice'] });
  assert.equal(server.calls.length, 0);
});

test('A secret may be for a job that is not there yet, which is said', async (t) => {
  const server = await fakeServer(t, set({ job: 'a' }, { jobExists: false }));
  const { out, err } = await rota(['secret', 'set', 'TOKEN', '--job', 'a'], { ...server, input: 'a value' });
  assert.equal(out, 'TOKEN (job a): set\n');
  assert.match(err, /no job "a" yet/);
  assert.deepEqual(server.calls[0]?.query, { job: 'a' });
});

test('Secrets are listed without values, and deleted by name', async (t) => {
  const items = [TOKEN, { ...TOKEN, name: 'PIN', job: 'a', from: 'agentEnv' as const, reference: 'APP_PIN' }];
  const server = await fakeServer(t, {
    listSecrets: () => ({ json: { items, nextCursor: null } }),
    deleteSecret: () => ({ json: null }),
  });
  const { out } = await rota(['secret', 'list'], server);
  assert.equal(
    out,
    "TOKEN\t-\tserver\t2026-03-01T11:00:00.000Z\tadmin\nPIN\ta\tagent's APP_PIN\t2026-03-01T11:00:00.000Z\tadmin\n",
  );
  const deleted = await rota(['secret', 'delete', 'PIN', '--job', 'a'], server);
  assert.equal(deleted.out, 'PIN: deleted\n');
});

test('That there are no secrets is said on a terminal, and nothing is said where it is piped', async (t) => {
  const server = await fakeServer(t, { listSecrets: () => ({ json: { items: [], nextCursor: null } }) });
  const { out, err } = await rota(['secret', 'list'], { ...server, tty: true });
  assert.deepEqual([out, err], ['', 'No secrets.\n']);
  const piped = await rota(['secret', 'list'], server);
  assert.deepEqual([piped.out, piped.err], ['', '']);
});

test('A change of the master key says what is to be done with the file', async (t) => {
  const answer = (active: boolean) => ({
    rotateMasterKey: () => ({
      json: { keyId: 'k2', active, encrypted: active ? 3 : 0, unreadable: 0, file: '/srv/master-key' },
    }),
  });
  const server = await fakeServer(t, answer(false));
  const prepared = await rota(['secret', 'rotate-key', '--prepare'], server);
  assert.deepEqual(server.body('rotateMasterKey'), { prepare: true, shared: false });
  assert.match(prepared.out, /k2 is in \/srv\/master-key, and not used yet/);
  assert.match(prepared.err, /Copy that file/);
  const rotated = await rota(['secret', 'rotate-key'], await fakeServer(t, answer(true)));
  assert.match(rotated.out, /^3 values are encrypted under the master key k2 now/);
  assert.match(rotated.err, /Keep a copy of \/srv\/master-key/);
});

test('The audit trail is listed, also by what it is about', async (t) => {
  const use: AuditView = {
    id: 2,
    at: '2026-03-01T11:00:00.000Z',
    action: 'use',
    by: null,
    secrets: ['PIN', 'TOKEN'],
    job: 'a',
    run: 'r1',
    attempt: 'r1-1',
    agent: 'db-1',
    detail: null,
  };
  const change: AuditView = {
    ...use,
    id: 1,
    action: 'set',
    by: 'ann',
    job: null,
    run: null,
    agent: null,
    detail: 'a value',
  };
  const server = await fakeServer(t, {
    listAudit: () => ({ json: { items: [use, change], nextCursor: null } }),
  });
  const { out } = await rota(['audit', 'list', '--secret', 'PIN', '--job', 'a', '--action', 'use'], server);
  assert.equal(
    out,
    '2026-03-01T11:00:00.000Z\tuse\tPIN, TOKEN\tagent db-1\ta\tr1\t-\n2026-03-01T11:00:00.000Z\tset\tPIN, TOKEN\tann\t-\t-\ta value\n',
  );
  assert.deepEqual(server.calls[0]?.query, { limit: '100', action: 'use', secret: 'PIN', job: 'a' });
});
