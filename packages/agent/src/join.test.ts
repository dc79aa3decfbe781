import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, test } from 'node:test';
import { checkStateFolder, settleConfig, settleUrls } from './config.ts';
import { systemDisk } from './disk.ts';
import { silent } from './fakeServer.testing.ts';
import { createSigner, readIdentity } from './identity.ts';
import { hasJoined, joinServer, startAgent } from './main.ts';

let folder: string;
let server: Server;
let status: number;
let asked: Record<string, unknown>[];

beforeEach(async () => {
  folder = mkdtempSync(`${tmpdir()}/rota-join-`);
  status = 201;
  asked = [];
  server = createServer((request, response) => {
    let body = '';
    request.on('data', (data) => {
      body += data;
    });
    request.on('end', () => {
      asked.push({ url: request.url, ...JSON.parse(body) });
      response.writeHead(status, {
        'content-type': status === 201 ? 'application/json' : 'application/problem+json',
      });
      const joined = { agentId: 'a1', name: 'one', tenant: 'default', keys: [{ id: 'k', publicKey: 'x' }] };
      const problem = {
        type: 'urn:rota:error:joinToken.invalid',
        title: 'no',
        status,
        code: 'joinToken.invalid',
        detail: 'used',
      };
      response.end(JSON.stringify(status === 201 ? joined : problem));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

const url = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
const join = () =>
  joinServer({
    stateFolder: `${folder}/state`,
    urls: [`${url()}/`],
    token: 't',
    name: 'one',
    labels: { role: 'db' },
    order: 3,
  });

test('joining trades the token for an identity that only its owner can read', async () => {
  assert.equal(await hasJoined(`${folder}/state`), false);
  const { agentId, name, tenant } = await join();
  assert.deepEqual([agentId, name, tenant], ['a1', 'one', 'default']);
  assert.equal(await hasJoined(`${folder}/state`), true);
  const { facts, publicKey, ...rest } = asked[0] as { facts: { hostname: string }; publicKey: string };
  assert.deepEqual(rest, {
    url: '/api/v1/agents/join',
    token: 't',
    name: 'one',
    labels: { role: 'db' },
    order: 3,
  });
  assert.ok(facts.hostname.length > 0);
  assert.equal(statSync(`${folder}/state/identity.json`).mode & 0o777, 0o600);
  assert.equal(statSync(`${folder}/state`).mode & 0o777, 0o700);
  const identity = await readIdentity(systemDisk, `${folder}/state`);
  assert.ok(identity);
  assert.deepEqual(identity.urls, [url()]);
  const key = createPublicKey({ key: Buffer.from(publicKey, 'base64url'), format: 'der', type: 'spki' });
  const signature = Buffer.from(createSigner(identity)('text'), 'base64url');
  assert.ok(verify(null, Buffer.from('text'), key, signature));
});

test('a folder that has an identity is not joined again', async () => {
  await join();
  await assert.rejects(join(), /belongs to the agent one already/);
  assert.equal(asked.length, 1);
});

test('a token that is refused leaves no identity', async () => {
  status = 401;
  await assert.rejects(join(), /used/);
  assert.equal(existsSync(`${folder}/state/identity.json`), false);
});

test('an agent that has not joined does not start', async () => {
  await assert.rejects(startAgent({ stateFolder: folder, log: silent }), /must join a server first/);
});

test('options that are not allowed are named with their value', () => {
  const settle = (changes: object) =>
    settleConfig({ stateFolder: folder, log: silent, ...changes }, ['https://x'], 2);
  assert.equal(settle({}).maxParallel, 4);
  assert.equal(settleConfig({ stateFolder: folder, log: silent }, ['https://x'], 16).maxParallel, 32);
  assert.throws(
    () => settle({ maxParallel: 0 }),
    /maxParallel: is 0; must be a whole number from 1 to 10000/,
  );
  assert.throws(() => settle({ minFreeBytes: -1 }), /minFreeBytes: is -1/);
  assert.throws(() => settle({ urls: [] }), /urls: is empty/);
  assert.throws(() => settle({ ca: 'nonsense' }), /must be PEM/);
  assert.throws(
    () => settle({ http: { allow: ['10.0.0.0/40'] } }),
    /http\.allow: 10\.0\.0\.0\/40 must end with/,
  );
  assert.throws(() => settle({ http: { deny: ['db.local'] } }), /http\.deny: db\.local must be an address/);
  const proxies = { http: 'socks5://u:secret@x', https: null, exempt: '' };
  assert.throws(
    () => settle({ http: { proxies } }),
    /^Error: http\.proxies\.http \(HTTP_PROXY\): must be a URL[^@]*$/,
  );
  assert.throws(() => checkStateFolder('relative'), /must be an absolute path/);
  assert.throws(() => checkStateFolder(`/${'x'.repeat(90)}`), /at most 82/);
});

test('plain http leaves this machine only when that is wanted', () => {
  const addresses = [
    'http://127.0.0.1:1',
    'http://localhost',
    'http://[::1]:2',
    'https://far.example.com:7682/',
  ];
  assert.deepEqual(settleUrls(addresses, false), [
    'http://127.0.0.1:1',
    'http://localhost',
    'http://[::1]:2',
    'https://far.example.com:7682',
  ]);
  assert.throws(() => settleUrls(['http://far.example.com'], false), /plain http to another machine/);
  assert.throws(() => settleUrls(['http://127.0.0.1.example.com'], false), /plain http/);
  assert.deepEqual(settleUrls(['http://far.example.com'], true), ['http://far.example.com']);
  assert.throws(() => settleUrls(['far.example.com:7682'], true), /must begin with https/);
  assert.throws(() => settleUrls(['nonsense'], true), /not a URL/);
});
