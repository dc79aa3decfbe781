import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { isTerminal } from '@rota/contract';
import pg from 'pg';
import { startPostgres } from '../../packages/server/src/postgres.testing.ts';
import { Installation } from '../support/installation.ts';
import { until } from '../support/until.ts';

/** A job that does its worst with its own secret, on real processes: nothing of the value may be anywhere afterwards. */
const secretIn = (folder: string) =>
  [
    `pä"ss'word $(touch ${folder}/pwned)`,
    '`touch "$PWNED"` ;touch $PWNED& <>|\\ %s',
    "end'; touch $PWNED; '7f3a/+ß==",
  ].join('\n');

/** What a value looks like where it must not be; edges of base64 that its neighbours decide on are left out. */
function spellingsOf(value: string): string[] {
  const json = JSON.stringify(value).slice(1, -1);
  const aligned = [0, 1, 2].map((before) => {
    const text = Buffer.from('x'.repeat(before) + value).toString('base64');
    return text.slice(4, text.length - 4);
  });
  return [
    value,
    ...value.split('\n'),
    encodeURIComponent(value),
    new URLSearchParams({ v: value }).toString().slice(2),
    json,
    JSON.stringify(json).slice(1, -1),
    json.replace(/[^ -~]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`),
    ...aligned,
    ...aligned.map((text) => text.replaceAll('+', '-').replaceAll('/', '_')),
  ];
}

/** Prints its secret, in V, in all ways that it knows, in its data lines, and cut in two; fails with it as its error. */
const TELLS = `
const fs = require('node:fs'), v = process.env.V, json = JSON.stringify(v).slice(1, -1);
const say = (text, to = 1) => fs.writeSync(to, text + '\\n');
for (const to of [1, 2]) {
  say(v, to); say('<' + v + '>', to); say(encodeURIComponent(v), to); say(new URLSearchParams({ v }).toString(), to);
  say(JSON.stringify({ v }), to); say(JSON.stringify(JSON.stringify({ v })), to);
  say(json.replace(/[^ -~]/g, (c) => '\\\\u' + c.charCodeAt(0).toString(16).padStart(4, '0')), to);
  for (const before of ['', 'x', 'xx']) {
    say(Buffer.from(before + v + 'yyy').toString('base64'), to);
    say(Buffer.from(before + v + 'yyy').toString('base64url'), to);
  }
}
say('rota:progress 40%');
say('rota:progress ' + json);
say('rota:result ' + JSON.stringify({ v, [v]: [v, encodeURIComponent(v)], base64: Buffer.from(v).toString('base64') }));
say('rota:summary told ' + json + ' and ' + encodeURIComponent(v));
say(JSON.stringify({ progress: 0.5, message: v }));
const cut = Math.floor(v.length / 2);
fs.writeSync(1, v.slice(0, cut));
setTimeout(() => {
  say(v.slice(cut));
  say(JSON.stringify({ complete: 1, code: 3, description: 'failed with ' + v }));
}, 200);`;

const stores = ['SQLite', 'PostgreSQL'] as const;
for (const store of stores)
  describe(`a secret, on ${store}`, () => {
    const installation = new Installation();
    const { folder } = installation;
    const secret = secretIn(folder);
    const gate = path.join(folder, 'gate');
    let echo: Server;
    let url: string;
    let dump: () => Promise<string>;

    before(async () => {
      echo = createServer((request, response) => {
        let body = '';
        request.setEncoding('utf8').on('data', (text: string) => {
          body += text;
        });
        request.on('end', () => {
          const asked = decodeURIComponent((request.url ?? '').slice(2));
          response.writeHead(request.url === '/fails' ? 500 : 200, {
            'x-asked': encodeURIComponent(asked),
            'x-key': request.headers['x-key'] ?? '',
          });
          response.end(JSON.stringify({ asked, body, base64: Buffer.from(asked).toString('base64') }));
        });
      });
      await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
      url = `http://127.0.0.1:${(echo.address() as AddressInfo).port}`;
      const env: Record<string, string> = {};
      if (store === 'PostgreSQL') {
        const { host, port, user, database } = await (await startPostgres(['fsync=off'])).database();
        env.ROTA_DATABASE = `postgres://${user}@${host}:${port}/${database}`;
        dump = () => dumpOf(env.ROTA_DATABASE as string);
      } else dump = async () => '';
      await installation.startServer(['--listen', '127.0.0.1:0', '--log-level', 'debug'], { env });
      await installation.startAgent('one', { args: ['--log-level', 'debug'] });
      await installation.whenOnline('one');
      const set = await installation.run(['secret', 'set', 'TOKEN'], { input: secret });
      assert.equal(set.code, 0, set.stderr);
    });

    after(async () => {
      echo.closeAllConnections();
      echo.close();
      await installation.remove();
    });

    /** Saves a job and runs it. */
    async function run(name: string, steps: object[]): Promise<string> {
      const client = installation.client();
      await client.call('apply', { body: { document: { jobs: [{ name, steps }] } } });
      return (await client.call('runJob', { params: { name }, body: {} })).run.id;
    }

    async function ended(id: string) {
      return until(
        `run ${id} to end`,
        async () => {
          const answer = await installation.client().call('getRun', { params: { id } });
          return isTerminal(answer.run.state) ? answer : null;
        },
        120_000,
      );
    }

    async function outputOf(id: string): Promise<string> {
      const { chunks } = await installation
        .client()
        .call('runOutput', { params: { id }, query: { limit: 500 } });
      return Buffer.concat(chunks.map(({ data }) => Buffer.from(data, 'base64'))).toString();
    }

    function assertNothingIn(where: string, data: Buffer | string, spellings = spellingsOf(secret)): void {
      for (const spelling of spellings)
        assert.ok(!Buffer.from(data).includes(spelling), `${JSON.stringify(spelling)} is in ${where}`);
    }

    /** State of server and agent with spool and journal, and all logs; all of them are looked at. */
    function assertNothingOnDisk(): void {
      const files = filesIn(folder).map((file) => ({ file, data: readIfThere(file) }));
      for (const { file, data } of files) assertNothingIn(file, data);
      const places = ['rota.db-wal', 'server.log', 'one.log', 'journal'].slice(store === 'SQLite' ? 0 : 1);
      for (const place of places)
        assert.ok(
          files.some(({ file, data }) => path.basename(file) === place && data.length > 0),
          place,
        );
    }

    it('is nowhere but in the memory of its job: not in lists of processes, API, database, logs or on a disk', async () => {
      const tells = {
        command: '"$NODE" -e "$SCRIPT"',
        env: { V: '{{ TOKEN }}', NODE: process.execPath, SCRIPT: TELLS },
      };
      const id = await run('leaky', [
        { name: 'tell', ...tells, continueOnFailure: true },
        {
          name: 'ask',
          http: {
            method: 'POST',
            url: `${url}/?{{ TOKEN | url }}`,
            headers: { 'X-Key': '{{ TOKEN | url }}' },
            json: { v: '{{ TOKEN }}' },
            expect: { json: { '$.body': 'other' } },
          },
          continueOnFailure: true,
        },
        {
          name: 'fail',
          http: { url: `${url}/fails`, auth: { bearer: '{{ TOKEN | url }}' } },
          continueOnFailure: true,
        },
        { name: 'refused', http: { url: 'http://127.0.0.1:1/{{ TOKEN | url }}' }, continueOnFailure: true },
        { name: 'nowhere', command: 'true', cwd: '/{{ TOKEN | url }}', continueOnFailure: true },
        { name: 'masked', command: 'true', env: { V: '{{ steps.tell.summary }}' }, continueOnFailure: true },
        {
          name: 'use',
          command: 'printf "%s\\n" {{ TOKEN }}; printf "%s\\n" "$ASKED"; cat; exit 0',
          env: { ASKED: '{{ steps.ask.json.asked }}' },
          stdin: '{{ TOKEN }}',
        },
        {
          name: 'wait',
          command: `echo waits {{ TOKEN }}; while [ -d ${folder} ] && [ ! -e ${gate} ]; do sleep 0.05; done`,
          stdin: '{{ TOKEN }}',
          env: { V: '{{ TOKEN }}' },
        },
      ]);
      await until('the last step to wait', async () => (await outputOf(id)).includes('waits ***'), 120_000);
      const seen = commandLines();
      assert.ok(
        seen.some(({ line }) => /echo waits "\$\{ROTA_VALUE_1\}"/.test(line)),
        'the step is in the list',
      );
      for (const { pid, line } of seen) assertNothingIn(`the command line of ${pid}`, line);
      // While it runs, too: what is in the spool was masked on its way there.
      assertNothingOnDisk();
      writeFileSync(gate, '');
      const answer = await ended(id);
      const states = answer.attempts[0]?.steps.map(({ name, state, reason }) => [
        name,
        state,
        reason?.code ?? null,
      ]);
      assert.deepEqual(states, [
        ['tell', 'failed', 'reportedFailure'],
        ['ask', 'failed', 'httpAnswer'],
        ['fail', 'failed', 'httpStatus'],
        ['refused', 'failed', 'httpRefused'],
        ['nowhere', 'failed', 'spawnFailed'],
        ['masked', 'failed', 'templateFailed'],
        ['use', 'succeeded', null],
        ['wait', 'succeeded', null],
      ]);
      assert.match(answer.attempts[0]?.steps[0]?.error ?? '', /^failed with \*\*\*$/);
      const client = installation.client();
      const output = await outputOf(id);
      assert.ok(output.endsWith('***\n***\n***waits ***\n'), output.slice(-200));
      const answers = {
        run: answer,
        output,
        runs: await client.call('listRuns', { query: {} }),
        job: await client.call('getJob', { params: { name: 'leaky' } }),
        secrets: await client.call('listSecrets', { query: {} }),
        audit: await client.call('listAudit', { query: {} }),
        status: await client.call('status', {}),
      };
      for (const [name, value] of Object.entries(answers))
        assertNothingIn(name, typeof value === 'string' ? value : JSON.stringify(value), [
          ...spellingsOf(secret),
          ...spellingsOf(secret).map((text) => JSON.stringify(text).slice(1, -1)),
        ]);
      for (const args of [
        ['run', 'show', id],
        ['run', 'show', id, '--json'],
        ['logs', id],
        ['logs', id, '--json'],
      ]) {
        const { code, stdout, stderr } = await installation.run(args);
        assert.equal(code, 0, stderr);
        assertNothingIn(args.join(' '), stdout + stderr);
      }
      const rows = await dump();
      assert.equal(rows.includes('leaky'), store === 'PostgreSQL');
      assertNothingIn('the database', rows);
      assertNothingOnDisk();
      assert.ok(!existsSync(path.join(folder, 'pwned')));
    });

    it('reaches its command unharmed by variable, input and template, whatever is in it, and runs nothing', async () => {
      const hash = (text: string) => createHash('sha256').update(text).digest('hex');
      const pwned = path.join(folder, 'pwned');
      const id = await run(
        'unharmed',
        [
          { name: 'variable', command: 'printf %s "$V" | sha256sum', env: { V: '{{ TOKEN }}' } },
          { name: 'input', command: 'sha256sum; sha256sum /dev/stdin', stdin: '{{ TOKEN }}' },
          { name: 'word', command: 'printf %s {{ TOKEN }} | sha256sum' },
          { name: 'quoted', command: 'printf %s "a {{ TOKEN }} b" | sha256sum', shell: 'bash' },
          { name: 'inner', command: 'sh -c "printf %s {{ TOKEN | shell }}" | sha256sum' },
        ].map((step) => ({ ...step, env: { PWNED: pwned, ...('env' in step ? step.env : {}) } })),
      );
      const { run: done } = await ended(id);
      const output = await outputOf(id);
      assert.equal(done.state, 'succeeded', output);
      assert.deepEqual(
        output.split('\n').map((line) => line.split(' ')[0]),
        [...[secret, secret, secret, secret, `a ${secret} b`, secret].map(hash), ''],
      );
      assert.ok(!existsSync(pwned));
    });
  });

function filesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const at = path.join(folder, entry.name);
    if (entry.isDirectory()) return filesIn(at);
    return entry.isFile() ? [at] : [];
  });
}

interface CommandLine {
  pid: string;
  line: string;
}

/** Of all processes, arguments separated by spaces. */
function commandLines(): CommandLine[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map((pid) => ({ pid, line: readIfThere(`/proc/${pid}/cmdline`).toString().replaceAll('\0', ' ') }));
}

function readIfThere(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch {
    // It has just gone.
    return Buffer.alloc(0);
  }
}

/** All rows of all tables, texts and bytes as they are. */
async function dumpOf(url: string): Promise<string> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    const tables = await client.query<{ name: string }>(
      `select quote_ident(table_name) as "name" from information_schema.tables where table_schema = current_schema()`,
    );
    assert.ok(tables.rows.length > 10);
    let text = '';
    for (const { name } of tables.rows) {
      const { rows } = await client.query<Record<string, unknown>>(`select * from ${name}`);
      for (const value of rows.flatMap((row) => Object.values(row)))
        text += `${Buffer.isBuffer(value) ? value.toString('latin1') : String(value)}\n`;
    }
    return text;
  } finally {
    await client.end();
  }
}
