import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { findConnection, rotaHome } from './connection.ts';
import { fakeServer } from './fakeServer.testing.ts';
import type { Ports } from './ports.ts';
import { rota, temporaryFolder } from './rota.testing.ts';

/** A machine with a login for one server and a server of its own. */
function machine(t: TestContext, env: Record<string, string> = {}): Ports {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'config', 'rota'), { recursive: true });
  mkdirSync(join(folder, 'home', 'server'), { recursive: true });
  writeFileSync(
    join(folder, 'config', 'rota', 'login.json'),
    '{"url":"https://login.example:7682","token":"of-login"}',
  );
  writeFileSync(join(folder, 'home', 'server', 'address'), 'http://127.0.0.1:7682\n');
  writeFileSync(join(folder, 'home', 'server', 'admin-token'), 'of-this-machine\n');
  writeFileSync(join(folder, 'token'), 'of-file\n');
  return {
    env: { XDG_CONFIG_HOME: join(folder, 'config'), ROTA_HOME: join(folder, 'home'), ...env },
    cwd: folder,
    userHome: folder,
    uid: 1000,
  } as unknown as Ports;
}

test('a flag comes before ROTA_URL, that before the login, that before the server of this machine', (t) => {
  const env = { ROTA_URL: 'https://env.example' };
  assert.equal(findConnection({ url: 'https://flag.example' }, machine(t, env)).url, 'https://flag.example');
  assert.equal(findConnection({}, machine(t, env)).url, 'https://env.example');
  assert.equal(findConnection({}, machine(t)).url, 'https://login.example:7682');
  const local = machine(t, { XDG_CONFIG_HOME: '/nowhere' });
  assert.deepEqual(
    { ...findConnection({}, local), urlFrom: '', tokenFrom: '' },
    {
      url: 'http://127.0.0.1:7682',
      token: 'of-this-machine',
      urlFrom: '',
      tokenFrom: '',
      tokenMissing: null,
    },
  );
});

test('--token-file comes before ROTA_TOKEN, that before ROTA_TOKEN_FILE, that before the login', (t) => {
  const env = { ROTA_TOKEN: 'of-env', ROTA_TOKEN_FILE: 'token' };
  assert.equal(findConnection({ tokenFile: 'token' }, machine(t, env)).token, 'of-file');
  assert.equal(findConnection({}, machine(t, env)).token, 'of-env');
  assert.equal(findConnection({}, machine(t, { ROTA_TOKEN_FILE: 'token' })).token, 'of-file');
  assert.equal(findConnection({}, machine(t)).token, 'of-login');
});

test('a stored token is sent only to the server that it belongs to', (t) => {
  const found = findConnection({ url: 'https://other.example' }, machine(t));
  assert.equal(found.token, null);
  assert.match(found.tokenMissing ?? '', /no token/);
});

test('the server of this machine is found with its token also when its address is given', (t) => {
  assert.equal(findConnection({ url: 'http://127.0.0.1:7682/' }, machine(t)).token, 'of-this-machine');
});

test('without any server the error says what to type', async () => {
  const { code, err } = await rota(['status']);
  assert.equal(code, 3);
  assert.match(err, /no server is known here/);
  assert.match(err, /next: npx rota up/);
});

test('an address that is none, and a token file that is not there, are wrong usage', async () => {
  for (const argv of [
    ['status', '--url', 'ftp://x'],
    ['status', '--url', 'http://u:p@127.0.0.1'],
    ['status', '--url', 'http://127.0.0.1', '--token-file', '/nowhere/token'],
  ]) {
    assert.equal((await rota(argv)).code, 2, argv.join(' '));
  }
});

test('the home is ROTA_HOME, /var/lib/rota for root, else the XDG state folder', () => {
  const ports = (env: object, uid: number) =>
    ({ env, uid, userHome: '/home/u', cwd: '/home/u/folder' }) as unknown as Ports;
  assert.equal(rotaHome(ports({ ROTA_HOME: 'here' }, 0)), '/home/u/folder/here');
  assert.equal(rotaHome(ports({}, 0)), '/var/lib/rota');
  assert.equal(rotaHome(ports({}, 1000)), '/home/u/.local/state/rota');
  assert.equal(rotaHome(ports({ XDG_STATE_HOME: '/state' }, 1000)), '/state/rota');
  assert.equal(rotaHome(ports({ XDG_STATE_HOME: 'relative' }, 1000)), '/home/u/.local/state/rota');
});

test('login checks the token, keeps it in a file of mode 0600, and later commands use it', async (t) => {
  const config = temporaryFolder(t);
  const server = await fakeServer(t, {
    whoami: ({ token }) =>
      token === 'abc'
        ? { json: { tenant: 'default', token: 'me', role: 'editor', timezone: 'UTC' } }
        : { problem: 'auth.invalid' },
    export: () => ({ json: { jobs: [] } }),
  });
  const env = { XDG_CONFIG_HOME: config };
  const wrong = await rota(['login', server.url], { env, input: 'xyz\n' });
  assert.equal(wrong.code, 4);
  const right = await rota(['login', server.url], { env, input: 'abc\n' });
  assert.equal(right.code, 0);
  assert.match(right.out, /as me \(editor\)/);
  const file = join(config, 'rota', 'login.json');
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), { url: server.url, token: 'abc' });
  assert.equal((await rota(['export'], { env })).code, 0);
  assert.equal(server.calls.at(-1)?.token, 'abc');
});

test('login asks for the token on a terminal, and refuses plain http to another machine', async (t) => {
  const server = await fakeServer(t, {
    whoami: () => ({ json: { tenant: 'default', token: 'me', role: 'admin', timezone: 'UTC' } }),
  });
  const env = { XDG_CONFIG_HOME: temporaryFolder(t) };
  assert.equal((await rota(['login', server.url], { env, answers: ['abc'] })).code, 0);
  const { code, err } = await rota(['login', 'http://rota.example'], { env, answers: ['abc'] });
  assert.equal(code, 2);
  assert.match(err, /not encrypted/);
});
