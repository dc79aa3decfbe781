import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { defineHttp, defineRetry } from '@rota/contract';
import { openServers, read, type Seen, type Servers } from '../executors/http.testing.ts';
import { command } from '../fakeServer.testing.ts';
import { by, type Chains, openChains, states, step, TestClock } from './chain.testing.ts';

let chains: Chains;
let servers: Servers;
before(() => {
  chains = openChains();
  servers = openServers();
});
after(() => {
  servers.close();
  chains.close();
});

/** A server that says what it was asked, and answers with `answer`. */
async function listen(
  answer: (
    seen: Seen,
    number: number,
  ) => { status?: number; headers?: Record<string, string>; body?: string },
): Promise<{ url: string; seen: Seen[] }> {
  const seen: Seen[] = [];
  const url = await servers.http((request, response) => {
    void read(request).then((each) => {
      seen.push(each);
      const { status = 200, headers = {}, body = '' } = answer(each, seen.length);
      response.writeHead(status, headers).end(body);
    });
  });
  return { url, seen };
}

test('later steps read what earlier ones gave', async () => {
  const { url, seen } = await listen(({ url }) =>
    url === '/items'
      ? { headers: { etag: '"v7"' }, body: JSON.stringify({ items: [{ id: 42, tags: ['a'] }] }) }
      : {},
  );
  const end = await chains.start([
    step('fetch', defineHttp({ url: `${url}/items` })),
    step('count', 'echo "  3 files  "; exit 5', { continueOnFailure: true }),
    step('made', `printf '{"n": [1, 2]}'`),
    step(
      'report',
      defineHttp({
        url: `${url}/report/{{ steps.fetch.json.items[0].id }}`,
        headers: { 'If-Match': '{{ steps.fetch.headers.etag }}' },
        json: {
          status: '{{ steps.fetch.status }}',
          tags: '{{ steps.fetch.json.items[0].tags }}',
          exit: '{{ steps.count.exitCode }}',
          text: '{{ steps.count.output }}',
          made: '{{ steps.made.json.n[1] }}',
          ms: '{{ steps.count.durationMs }}',
          tries: '{{ steps.count.tries }}',
          state: '{{ steps.count.state }}',
        },
      }),
    ),
    step('shell', 'printf %s {{ steps.count.output }}'),
  ]).ended;
  assert.equal(end.outcome, 'succeeded', end.error ?? '');
  const report = seen.at(-1) as Seen;
  const { ms, ...body } = JSON.parse(report.body);
  assert.deepEqual([report.url, report.headers['if-match']], ['/report/42', '"v7"']);
  assert.deepEqual(body, {
    status: 200,
    tags: ['a'],
    exit: 5,
    text: '  3 files  ',
    made: 2,
    tries: 1,
    state: 'failed',
  });
  assert.equal(ms, by(end, 'count').durationMs);
});

test('of a long output later steps read the end, from where a character begins', async () => {
  const chain = chains.start([
    step('long', `printf '1'; head -c 200000 /dev/zero | tr '\\0' x; printf 'ü%.0s' $(seq 32768); echo`),
    step('size', 'printf %s {{ steps.long.output }} | wc -c'),
    step('number', 'echo {{ steps.long.json | default: "none" }}'),
  ]);
  const end = await chain.ended;
  const { outputFrom, outputTo } = by(end, 'size');
  const size = Number((await chain.output()).slice(-11).split('\n')[0]);
  assert.deepEqual([outputTo ?? 0, size], [outputFrom + 6, 65_534]);
  assert.match(await chain.output(), /none\n$/);
});

test('also the answer of a request that failed can be read', async () => {
  const { url, seen } = await listen(({ url }) =>
    url === '/' ? { status: 409, body: '{"holder":"nightly"}' } : {},
  );
  await chains.start([
    step('take', defineHttp({ url }), { continueOnFailure: true }),
    step('tell', defineHttp({ url: `${url}/{{ steps.take.json.holder }}/{{ steps.take.status }}` })),
  ]).ended;
  assert.equal(seen.at(-1)?.url, '/nightly/409');
});

test('what a template names and is not there fails the step before anything is sent', async () => {
  const { url, seen } = await listen(() => ({ body: 'no JSON' }));
  const end = await chains.start([
    step('fetch', defineHttp({ url: `${url}/first` })),
    step('next', defineHttp({ url: `${url}/{{ steps.fetch.json.id }}` }), {
      retry: defineRetry({ times: 3, delay: '10s' }),
    }),
    step('last', 'true'),
  ]).ended;
  assert.deepEqual([end.outcome, end.reason], ['failed', 'templateFailed']);
  assert.match(end.error ?? '', /steps\.fetch\.json/);
  assert.deepEqual(states(end), ['fetch succeeded', 'next failed', 'last notRun']);
  assert.equal(by(end, 'next').tries, 0);
  assert.deepEqual(
    seen.map(({ url }) => url),
    ['/first'],
  );
});

test('each step has its own Idempotency-Key, which its tries share; cookies are kept over the steps', async () => {
  const { url, seen } = await listen((_seen, number) => ({
    status: number === 1 ? 503 : 200,
    headers: { 'set-cookie': `visit=${number}` },
  }));
  const clock = new TestClock();
  const chain = chains.start(
    [
      step('one', defineHttp({ url }), { retry: defineRetry({ times: 1, delay: '9s' }) }),
      step('two', defineHttp({ url })),
    ],
    {},
    clock,
  );
  await clock.pass(9_000);
  assert.equal((await chain.ended).outcome, 'succeeded');
  const { attemptId } = chain;
  assert.deepEqual(
    seen.map(({ headers }) => headers['idempotency-key']),
    [`${attemptId}/one`, `${attemptId}/one`, `${attemptId}/two`],
  );
  assert.deepEqual(
    seen.map(({ headers }) => headers.cookie),
    [undefined, 'visit=1', 'visit=2'],
  );
});

test('secrets come from the permit or from a file of the agent; one that has no value says why', async () => {
  const file = `${chains.folder}/token`;
  writeFileSync(file, 'from a $(file)\n');
  const chain = chains.start(
    [
      step(
        'one',
        `test {{ GIVEN }} = 'as it is' && test {{ secrets.FILED }} = 'from a $(file)' && echo same`,
      ),
      step('two', 'echo {{ GONE }}', { continueOnFailure: true }),
      step('three', 'echo {{ UNSET }}'),
    ],
    {
      secrets: {
        GIVEN: { from: 'server', value: 'as it is' },
        FILED: { from: 'agentFile', path: file },
        GONE: { from: 'agentFile', path: `${file}.gone` },
        UNSET: { from: 'agentEnv', name: 'NO_SUCH' },
      },
    },
  );
  const end = await chain.ended;
  assert.match(await chain.output(), /^same\n/);
  assert.match(by(end, 'two').error ?? '', /token\.gone cannot be read: ENOENT/);
  assert.equal(end.reason, 'templateFailed');
  assert.match(end.error ?? '', /environment has no NO_SUCH/);
});

test('a later step reads output with a secret in it as it was, and nothing of it is on the disk', async () => {
  const use = `test "$A" = "the value hidden-value-1" && ! grep -ra hidden-value ${chains.folder}/spool/$ROTA_ATTEMPT*`;
  const action = { ...command(use), env: { A: '{{ steps.one.output }}' } };
  const chain = chains.start(
    [step('one', 'echo the value {{ X }}; echo it is {{ X }} >&2'), step('two', action)],
    { secrets: { X: { from: 'server', value: 'hidden-value-1' } } },
  );
  assert.deepEqual(states(await chain.ended), ['one succeeded', 'two succeeded']);
  assert.equal((await chain.output()).replaceAll('***', ''), 'the value \nit is \n');
});

test('that a value is too short to be masked is said', async () => {
  const secrets = { PIN: { from: 'server', value: '1234' } } as const;
  const plain = chains.start([step('main', 'echo {{ PIN }}')], { secrets });
  await plain.ended;
  const note = /not masked, as a value is shorter than 6 characters: PIN/;
  assert.match(await plain.output(), note);
  assert.match(await plain.output(), /^1234$/m);
  const end = await chains.start([step('one', 'echo {{ PIN }}'), step('two', 'true')], { secrets }).ended;
  assert.match(by(end, 'one').detail ?? '', note);
});

test('what a command says of itself is the result of its step, which later steps read', async () => {
  const say = `echo 'rota:result {"rows": 12, "by": "hidden-value-1"}'; echo 'rota:summary 12 rows'`;
  const use = 'test {{ steps.one.result.rows }} = 12 && test {{ steps.one.summary }} = "12 rows"';
  const end = await chains.start([step('one', say), step('two', use)], {
    secrets: { X: { from: 'server', value: 'hidden-value-1' } },
  }).ended;
  assert.deepEqual(states(end), ['one succeeded', 'two succeeded']);
  assert.deepEqual([end.result, end.summary], ['{"rows":12,"by":"***"}', '12 rows']);
  assert.equal(by(end, 'one').summary, '12 rows');
});

test('a command that reports that it failed has failed', async () => {
  const chain = chains.start([
    step('main', `echo '{"complete": 1, "code": 3, "description": "no room"}'; echo 'rota:result {'`),
  ]);
  const end = await chain.ended;
  assert.deepEqual([end.outcome, end.reason, end.error], ['failed', 'reportedFailure', 'no room']);
  assert.match(await chain.output(), /warning: its result is no JSON\n$/);
  const { steps } = await chains.start([step('one', `echo 'rota:result {'`), step('two', 'true')]).ended;
  assert.equal(steps[0]?.detail, 'its result is no JSON');
});
