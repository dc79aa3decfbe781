import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { LIMITS } from '@rota/contract';
import {
  ConfigError,
  OPTIONS,
  type OptionName,
  readConfig,
  type ServerOptions,
  variableOf,
} from './config.ts';

const PEM: Record<string, string> = {
  '/cert.pem': '-----BEGIN CERTIFICATE-----\n',
  '/key.pem': '-----BEGIN PRIVATE KEY-----\n',
};

function read(options: Partial<ServerOptions>, files: Record<string, string> = {}) {
  return readConfig({ home: '/h', env: {}, ...options }, (path) => {
    const text = { ...PEM, ...files }[path];
    if (text === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
    return text;
  });
}

function faultsOf(options: Partial<ServerOptions>, files: Record<string, string> = {}): string[] {
  try {
    read(options, files);
    return [];
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.faults.map(({ path, message }) => `${path}: ${message}`);
  }
}

test('Nothing needs to be configured', () => {
  const config = read({});
  assert.deepEqual(config, {
    home: '/h',
    listen: { host: '127.0.0.1', port: 7682 },
    tls: null,
    timezone: null,
    logLevel: 'info',
    logTo: 'stdout',
    database: null,
    masterKeyFile: '/h/master-key',
    retention: { runsMs: 90 * 86_400_000, outputMs: 30 * 86_400_000, auditMs: 365 * 86_400_000 },
  });
  assert.ok(Object.isFrozen(config) && Object.isFrozen(config.listen));
});

test('Flags stand above the environment, and the environment above the file', () => {
  const files = {
    '/c.yaml': 'listen: 127.0.0.1:1\nlogLevel: warn\nrunRetention: 10d\n',
    '/secret': 'error\n',
  };
  const layered = read(
    {
      configFile: '/c.yaml',
      listen: '127.0.0.1:3',
      env: { ROTA_LISTEN: '127.0.0.1:2', ROTA_LOG_LEVEL_FILE: '/secret' },
    },
    files,
  );
  assert.equal(layered.listen.port, 3);
  assert.equal(layered.logLevel, 'error');
  assert.equal(layered.retention.runsMs, 10 * 86_400_000);
});

test('All faults are told at once, each with where it stands and the nearest right name', () => {
  const faults = faultsOf(
    {
      configFile: '/c.yaml',
      timezone: 'Europe/Berln',
      env: { ROTA_LOG_LEVEL: 'wran', ROTA_LISTN: 'x', ROTA_TLS_CERT: '/missing.pem', ROTA_URL: 'http://a' },
    },
    { '/c.yaml': 'listen: nowhere\nlogT: file\nrunRetention: 1h\ninsecure: [yes]\n' },
  );
  const expected = [
    /^\/c\.yaml: logT: unknown option \(did you mean "logTo"\?\)/,
    /^\/c\.yaml: insecure: must be text, a number, true or false/,
    /^ROTA_LISTN: unknown variable \(did you mean "ROTA_LISTEN"\?\)/,
    /^\/c\.yaml: listen: "nowhere" is not an address/,
    /^tlsKey: is required beside tlsCert/,
    /^timezone: .*Europe\/Berlin/,
    /^ROTA_LOG_LEVEL: "wran" is not allowed; .*did you mean "warn"/,
    /^\/c\.yaml: runRetention: "1h" is too short/,
  ];
  assert.equal(faults.length, expected.length, faults.join('\n'));
  for (const pattern of expected)
    assert.ok(
      faults.some((fault) => pattern.test(fault)),
      `${pattern}\n${faults.join('\n')}`,
    );
});

test('Other machines are let in only with TLS, or when someone says that it is meant', () => {
  assert.match(faultsOf({ listen: '0.0.0.0:7682' })[0] ?? '', /needs TLS.*insecure: true/);
  assert.match(faultsOf({ listen: '[::]:7682' })[0] ?? '', /needs TLS/);
  assert.deepEqual(faultsOf({ listen: '0.0.0.0:7682', env: { ROTA_INSECURE: 'true' } }), []);
  assert.deepEqual(faultsOf({ listen: '0.0.0.0:7682', tlsCert: '/cert.pem', tlsKey: '/key.pem' }), []);
  for (const listen of ['127.0.0.1:1', '127.9.9.9:1', '[::1]:1', 'localhost:1', ':1', '1'])
    assert.deepEqual(faultsOf({ listen }), [], listen);
});

test('Files that cannot be read or are something else are told', () => {
  assert.match(faultsOf({ configFile: '/none.yaml' })[0] ?? '', /cannot be read: ENOENT/);
  assert.match(faultsOf({ configFile: '/c' }, { '/c': 'a: [' })[0] ?? '', /not valid YAML/);
  assert.match(faultsOf({ configFile: '/c' }, { '/c': '- a' })[0] ?? '', /one option a line/);
  assert.match(faultsOf({ tlsCert: '/key.pem', tlsKey: '/key.pem' })[0] ?? '', /not a certificate/);
  assert.match(
    faultsOf({ env: { ROTA_LISTEN: '1', ROTA_LISTEN_FILE: '/cert.pem' } })[0] ?? '',
    /set beside ROTA_LISTEN/,
  );
});

/** The first column of each table row under a heading of a document. */
function column(file: string, heading: string): string[] {
  const text = readFileSync(new URL(`../../../docs/${file}`, import.meta.url), 'utf8');
  const section = text.split(/^## /m).find((each) => each.startsWith(heading)) ?? '';
  return [...section.matchAll(/^\| `([^`]+)` \|/gm)].map((match) => match[1] ?? '');
}

test('docs/config.md lists exactly the options and limits that there are, with their defaults', () => {
  assert.deepEqual(column('config.md', 'Options').sort(), Object.keys(OPTIONS).sort());
  assert.deepEqual(column('config.md', 'Limits').sort(), Object.keys(LIMITS).sort());
  const text = readFileSync(new URL('../../../docs/config.md', import.meta.url), 'utf8');
  for (const [name, { fallback }] of Object.entries(OPTIONS) as [OptionName, { fallback: string }][]) {
    const row = text.split('\n').find((line) => line.startsWith(`| \`${name}\` |`)) ?? '';
    assert.ok(row.includes(`\`${variableOf(name)}\``), row);
    if (fallback !== '') assert.ok(row.includes(`\`${fallback}\``), row);
  }
  for (const [name, value] of Object.entries(LIMITS)) {
    const row = text.split('\n').find((line) => line.startsWith(`| \`${name}\` |`)) ?? '';
    assert.ok(row.includes(`| ${value} |`), `${name}: ${row}`);
  }
});
