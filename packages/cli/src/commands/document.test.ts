import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readDocument } from '@rota/contract';
import { parse } from 'yaml';
import { fakeServer } from '../fakeServer.testing.ts';
import { rota, temporaryFolder } from '../rota.testing.ts';
import { lineFinder } from './document.ts';

test('the sample of init is a valid document, also with every commented line switched on', async (t) => {
  const cwd = temporaryFolder(t);
  assert.equal((await rota(['init'], { cwd })).code, 0);
  const text = readFileSync(join(cwd, 'jobs.yaml'), 'utf8');
  assert.ok('document' in readDocument(parse(text), { timezone: 'UTC' }));
  const more = text.replace(/^( *)# ( *[a-z]\w*: .*|defaults:|target:| {2}labels: .*)$/gm, '$1$2');
  assert.ok(
    more.includes('\n    target:\n') && more.includes('\n    user: nobody') && more.includes('\ndefaults:\n'),
  );
  const read = readDocument(parse(more), { timezone: 'UTC' });
  assert.deepEqual('faults' in read ? read.faults : [], []);
});

test('init never overwrites a file', async (t) => {
  const cwd = temporaryFolder(t);
  writeFileSync(join(cwd, 'jobs.yaml'), 'mine');
  const { code, err } = await rota(['init'], { cwd });
  assert.equal(code, 1);
  assert.match(err, /jobs\.yaml is there already/);
  assert.equal(readFileSync(join(cwd, 'jobs.yaml'), 'utf8'), 'mine');
});

const CHANGES = [
  { name: 'a', action: 'created', revision: 1, fields: [] },
  { name: 'b', action: 'updated', revision: 2, fields: [{ path: 'command', before: 'x', after: 'y' }] },
  { name: 'c', action: 'unchanged', revision: 1, fields: [] },
];

test('apply sends the text of the file as it is and says what changed', async (t) => {
  const cwd = temporaryFolder(t);
  writeFileSync(join(cwd, 'jobs.yaml'), 'jobs: []\n');
  const server = await fakeServer(t, { apply: () => ({ json: { dryRun: false, changes: CHANGES } }) });
  const { code, out, err } = await rota(['apply', '-f', 'jobs.yaml', '--prune', '--paused'], {
    ...server,
    cwd,
  });
  assert.equal(code, 0);
  assert.equal(out, '+ a created\n~ b updated\n    command: "x" → "y"\n= c unchanged\n');
  assert.equal(err, '1 created, 1 updated, 1 unchanged\n');
  assert.deepEqual(server.calls[0]?.body, {
    document: 'jobs: []\n',
    dryRun: false,
    prune: true,
    paused: true,
  });
});

test('apply -f - reads the input, and --dry-run says that nothing was saved', async (t) => {
  const server = await fakeServer(t, { apply: () => ({ json: { dryRun: true, changes: [] } }) });
  const { err } = await rota(['apply', '-f', '-', '--dry-run'], { ...server, input: 'jobs: []' });
  assert.deepEqual(server.calls[0]?.body, { document: 'jobs: []', dryRun: true });
  assert.match(err, /dry run: nothing was saved/);
});

test('each fault of apply names the line of the file', async (t) => {
  const cwd = temporaryFolder(t);
  writeFileSync(
    join(cwd, 'jobs.yaml'),
    'jobs:\n  - name: a\n    comand: x\n  - name: b\n    schedule:\n      cron: bad\n',
  );
  const faults = [
    { path: 'jobs[0].comand', code: 'unknownField', message: 'unknown field' },
    { path: 'jobs[1].schedule.cron', code: 'value', message: 'is bad' },
    { path: 'jobs[1].command', code: 'missing', message: 'is required' },
  ];
  const server = await fakeServer(t, { apply: () => ({ problem: 'document.invalid', faults }) });
  const { code, err } = await rota(['apply', '-f', 'jobs.yaml'], { ...server, cwd });
  assert.equal(code, 6);
  assert.deepEqual(err.trim().split('\n').slice(1), [
    '  jobs.yaml:3: jobs[0].comand: unknown field',
    '  jobs.yaml:6: jobs[1].schedule.cron: is bad',
    '  jobs.yaml:4: jobs[1].command: is required',
  ]);
});

test('a path is found in JSON too, and a text that is no document has no lines', () => {
  assert.equal(lineFinder('{"jobs": [\n{"name": 1}]}')('jobs[0].name'), 2);
  assert.equal(lineFinder('text')('jobs[0]'), null);
});

test('diff leaves out what is unchanged, and --exit-code tells a script', async (t) => {
  const server = await fakeServer(t, { apply: () => ({ json: { dryRun: true, changes: CHANGES } }) });
  const { code, out } = await rota(['diff', '-f', '-', '--exit-code'], { ...server, input: '' });
  assert.equal(code, 1);
  assert.equal(out, '+ a created\n~ b updated\n    command: "x" → "y"\n');
  assert.equal(server.body('apply').dryRun, true);
});

test('export gives YAML that reads back as the same jobs', async (t) => {
  const jobs = [{ name: 'a', schedule: 'every 1m', command: 'echo "x: y"\necho z' }];
  const server = await fakeServer(t, { export: () => ({ json: { jobs } }) });
  assert.deepEqual(parse((await rota(['export'], server)).out), { jobs });
  assert.deepEqual(JSON.parse((await rota(['export', '--json'], server)).out), { jobs });
});
