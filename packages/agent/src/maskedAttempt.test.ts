import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { defineHttp, defineWhen, type Permit, type Step } from '@rota/contract';
import { folder, server, start } from './agentFixture.testing.ts';
import { command } from './fakeServer.testing.ts';
import { step } from './helper/chain.testing.ts';

const SECRET = `geheim "ß" /x${'yz'.repeat(10)}`;
const secrets: Permit['secrets'] = { TOKEN: { from: 'server', value: SECRET } };
const json = JSON.stringify(SECRET).slice(1, -1);
const spellings = [
  SECRET,
  encodeURIComponent(SECRET),
  json,
  json.replace('ß', '\\u00df'),
  Buffer.from(SECRET).toString('base64').slice(0, -4),
  Buffer.from(`user:${SECRET}`).toString('base64').slice(8, -4),
];

/** All bytes of files in the spool, except those of programs that wait in it. */
function spooled(path = `${folder}/spool`): Buffer[] {
  return readdirSync(path).flatMap((name) => {
    const file = `${path}/${name}`;
    return statSync(file).isDirectory() ? spooled(file) : [readFileSync(file)];
  });
}

function assertNothingIsTold(id: string): void {
  const told = [
    ...spooled(),
    Buffer.from(JSON.stringify(server.messages)),
    Buffer.from(server.of(id).output, 'latin1'),
  ];
  for (const spelling of spellings)
    for (const data of told) {
      assert.equal(data.indexOf(spelling), -1, spelling);
      assert.equal(data.indexOf(JSON.stringify(spelling).slice(1, -1)), -1, spelling);
    }
}

/** Begins to run steps; what the server does not acknowledge stays in the spool. */
async function begin(steps: Step[]): Promise<string> {
  await start();
  server.acks = false;
  return server.run(command('true'), { steps, secrets });
}

test('a command that tells its secret in all ways tells nobody', async () => {
  const heard = `${folder}/heard`;
  execFileSync('mkfifo', [heard]);
  // The second half of a value is written when the first has been read.
  const script = `const v = process.env.V, w = (s) => require('fs').writeSync(1, s + '\\n');
    w(v); w(encodeURIComponent(v)); w(JSON.stringify(v)); w(JSON.stringify(v).replace('ß', '\\\\u00df'));
    w(Buffer.from(v).toString('base64')); w(Buffer.from('user:' + v).toString('base64'));
    w('rota:result ' + JSON.stringify({ v })); w('rota:summary ' + v);
    require('fs').writeSync(2, 'half\\n' + v.slice(0, 9)); require('fs').readFileSync(process.env.H);
    require('fs').writeSync(2, v.slice(9));`;
  const env = { V: '{{ TOKEN }}', N: process.execPath, S: script, H: heard };
  const id = await begin([step('main', command('"$N" -e "$S"', { env }))]);
  const lines = () => server.of(id).output.split('\n');
  await server.until(
    () => lines().includes('half') && lines().filter((line) => /\*/.test(line)).length === 8,
  );
  await writeFile(heard, '');
  const end = await server.ended(id);
  assert.equal(end.outcome, 'succeeded', server.of(id).output);
  const { output } = server.of(id);
  assert.match(output.replace('half\n', ''), /^\*\*\*\n\*\*\*\n"\*\*\*"\n"\*\*\*"\n\*\*\*/);
  assert.equal(output.match(/\*\*\*/g)?.length, 9);
  assert.deepEqual([end.result, end.summary], ['{"v":"***"}', '***']);
  assert.equal(end.outputBytes, output.length);
  assertNothingIsTold(id);
});

test('an answer that tells the secret tells nobody, and later steps read it as it was', async () => {
  const echo = createServer((request, response) => {
    const isGone = request.url?.startsWith('/gone');
    response.writeHead(isGone ? 302 : 200, {
      'x-echo': encodeURIComponent(SECRET),
      ...(isGone ? { location: `http://127.0.0.1:1/${encodeURIComponent(SECRET)}` } : {}),
    });
    response.end(JSON.stringify({ token: SECRET }));
  });
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
  try {
    const base = `http://127.0.0.1:${(echo.address() as AddressInfo).port}`;
    const get = (path: string, changes: Partial<Parameters<typeof defineHttp>[0]> = {}) =>
      defineHttp({ url: `${base}${path}`, ...changes });
    const id = await begin([
      step('ask', get('/?q={{ TOKEN | url }}')),
      step(
        'use',
        command('test "$A" = "$B"', { env: { A: '{{ steps.ask.json.token }}', B: '{{ TOKEN }}' } }),
      ),
      step('wrong', get('/', { expect: { json: { '$.token': 'other' } } }), { continueOnFailure: true }),
      step('sent', get('/gone', { redirects: 0 })),
    ]);
    const end = await server.ended(id);
    const [ask, use, wrong, sent] = end.steps;
    assert.deepEqual([ask?.state, use?.state], ['succeeded', 'succeeded']);
    assert.equal(ask?.http?.url, `${base}/?q=***`);
    assert.equal(ask?.http?.headers['x-echo'], '***');
    assert.match(wrong?.error ?? '', /is "\*\*\*"; expected "other"/);
    assert.match(sent?.error ?? '', /\/\*\*\*$/);
    assertNothingIsTold(id);
  } finally {
    echo.close();
  }
});

test('what was masked of a step fails the later step that names it, and says why; the rest can be used', async () => {
  const script = `printf 'rota:result {"token": "%s", "rows": 3}\\nrota:summary has %s\\n' "$J" "$V"`;
  const env = { V: '{{ TOKEN }}', J: json };
  const uses = [
    '{{ steps.give.result.token }}',
    '{{ steps.give.result | json }}',
    '{{ steps.give.summary | default: "x" }}',
    '{{ steps.ask.headers.x-echo }}',
  ];
  const use = (name: string, text: string) =>
    step(name, command('printf "%s" "$X"', { env: { X: text } }), { continueOnFailure: true });
  const echo = createServer((_request, response) => {
    response.writeHead(200, { 'x-echo': encodeURIComponent(SECRET), 'x-stars': '***' }).end('fine');
  });
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
  try {
    const url = `http://127.0.0.1:${(echo.address() as AddressInfo).port}/`;
    const id = await begin([
      step('give', command(script, { env })),
      step('ask', defineHttp({ url })),
      step('plain', command("echo 'rota:summary *** done ***'")),
      ...uses.map((text, index) => use(`use-${index}`, text)),
      step('look', 'true', {
        when: defineWhen({ expression: 'steps.give.result.token != ""' }),
        continueOnFailure: true,
      }),
      use('rest', '{{ steps.give.result.rows }} {{ steps.ask.output }} {{ steps.plain.summary }}'),
    ]);
    const end = await server.ended(id);
    const failed = end.steps.filter(({ name }) => name.startsWith('use-'));
    assert.equal(failed.length, uses.length);
    for (const { name, state, reason, error, tries } of failed) {
      assert.deepEqual([name, state, reason, tries], [name, 'failed', 'templateFailed', 0]);
      assert.match(error ?? '', /: its value was masked, as it holds that of a secret, and cannot be used$/);
    }
    const [look, rest] = ['look', 'rest'].map((name) => end.steps.find((each) => each.name === name));
    assert.deepEqual([look?.state, look?.reason], ['failed', 'conditionFailed']);
    assert.match(look?.error ?? '', /its value was masked/);
    assert.equal(rest?.state, 'succeeded', rest?.error ?? '');
    assert.ok(server.of(id).output.endsWith('3 fine *** done ***'), server.of(id).output);
    assertNothingIsTold(id);
  } finally {
    echo.close();
  }
});
