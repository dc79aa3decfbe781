import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import { type AttemptEnd, defineHttp, defineRetry, defineWhen, type StepResult } from '@rota/contract';
import { openServers, read, type Seen, type Servers } from '../executors/http.testing.ts';
import { command } from '../fakeServer.testing.ts';
import { type Chains, openChains, step, TestClock } from './chain.testing.ts';

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

const states = ({ steps }: AttemptEnd) => steps.map(({ name, state }) => `${name} ${state}`);
const by = (end: AttemptEnd, name: string) => end.steps.find((each) => each.name === name) as StepResult;
const retry = (times: number, delay = '10s') => defineRetry({ times, delay });

test('steps run in order, and each has its share of the output', async () => {
  const chain = chains.start([
    step('one', 'echo 1; echo one >&2'),
    step('two', 'printf 2'),
    step('three', 'echo drei'),
  ]);
  const end = await chain.ended;
  assert.equal(end.outcome, 'succeeded');
  assert.deepEqual(states(end), ['one succeeded', 'two succeeded', 'three succeeded']);
  const shares = await Promise.all(
    end.steps.map(({ outputFrom, outputTo }) => chain.output(outputFrom, outputTo)),
  );
  assert.deepEqual([shares[0]?.length, shares[1], shares[2]], [6, '2', 'drei\n']);
  assert.equal(end.outputBytes, 12);
  assert.ok(
    end.steps.every(
      ({ tries, durationMs, startedMs }) => tries === 1 && durationMs !== null && startedMs !== null,
    ),
  );
});

test('each step is told when it begins and when it has ended', async () => {
  const chain = chains.start([step('one', 'true'), step('two', 'exit 3')]);
  await chain.ended;
  assert.deepEqual(
    chain.told.map(({ name, state }) => `${name} ${state}`),
    ['one running', 'one succeeded', 'two running', 'two failed'],
  );
});

test('one plain step leaves no file of steps, and tells nothing of steps', async () => {
  const chain = chains.start([step('main', `ls ${chains.folder}/spool`)]);
  const end = await chain.ended;
  assert.deepEqual([end.outcome, end.steps, chain.told], ['succeeded', [], []]);
  assert.doesNotMatch(await chain.output(), new RegExp(`${chain.attemptId}.steps`));
});

test('that a step begins is on the disk before it is begun', async () => {
  const look = `grep -ao '"kind":"started","index":[0-9]' ${chains.folder}/spool/$ROTA_ATTEMPT.steps | tail -1`;
  const chain = chains.start([step('one', look), step('two', look)]);
  const end = await chain.ended;
  assert.equal(end.outcome, 'succeeded');
  assert.equal(await chain.output(), '"kind":"started","index":0\n"kind":"started","index":1\n');
});

test('a failed step ends the chain: the rest is not run', async () => {
  const end = await chains.start([
    step('one', 'true'),
    step('two', 'echo no; exit 4'),
    step('three', 'true'),
    step('four', 'true'),
  ]).ended;
  assert.deepEqual([end.outcome, end.reason, end.exitCode], ['failed', 'exitStatus', 4]);
  assert.deepEqual(states(end), ['one succeeded', 'two failed', 'three notRun', 'four notRun']);
  assert.equal(by(end, 'four').tries, 0);
});

test('a failure that may be passed over neither ends the chain nor fails the run, and is shown', async () => {
  const end = await chains.start([step('one', 'exit 4', { continueOnFailure: true }), step('two', 'exit 0')])
    .ended;
  assert.deepEqual([end.outcome, end.reason, end.exitCode], ['succeeded', null, 0]);
  assert.deepEqual(states(end), ['one failed', 'two succeeded']);
  assert.equal(by(end, 'one').exitCode, 4);
});

test('a step whose condition does not hold is skipped, and says which', async () => {
  const chain = chains.start([
    step('noon', 'true', { when: defineWhen({ hour: 12 }) }),
    step('one', 'exit 1', { continueOnFailure: true }),
    step('clean', 'true', { when: defineWhen({ steps: { one: 'failed' } }) }),
    step('publish', 'true', { when: defineWhen({ steps: { one: 'succeeded' } }) }),
  ]);
  const end = await chain.ended;
  assert.deepEqual(states(end), ['noon skipped', 'one failed', 'clean succeeded', 'publish skipped']);
  assert.match(by(end, 'noon').detail ?? '', /hour/);
  assert.match(by(end, 'publish').detail ?? '', /one/);
  assert.equal(by(end, 'noon').tries, 0);
});

test('a chain whose steps are all skipped has succeeded', async () => {
  const never = { when: defineWhen({ hour: 12 }) };
  const end = await chains.start([step('one', 'false', never), step('two', 'false', never)]).ended;
  assert.deepEqual([end.outcome, end.exitCode], ['succeeded', null]);
  assert.deepEqual(states(end), ['one skipped', 'two skipped']);
});

test('a condition that cannot be evaluated fails its step', async () => {
  const end = await chains.start([
    step('one', 'echo text'),
    step('two', 'true', { when: defineWhen({ expression: 'steps.one.json.count > 3' }) }),
  ]).ended;
  assert.deepEqual([end.outcome, end.reason], ['failed', 'conditionFailed']);
  assert.deepEqual(states(end), ['one succeeded', 'two failed']);
});

test('tries follow each other after longer and longer waits, until one succeeds', async () => {
  const clock = new TestClock();
  const mark = `${chains.folder}/tries`;
  const chain = chains.start(
    [
      step('one', `echo try >> ${mark}; test $(wc -l < ${mark}) -ge 3`, { retry: retry(5) }),
      step('two', 'true'),
    ],
    {},
    clock,
  );
  await chain.until(({ state, tries }) => state === 'retrying' && tries === 1);
  await clock.pass(10_000);
  await chain.until(({ state, tries }) => state === 'retrying' && tries === 2);
  await clock.pass(20_000);
  const end = await chain.ended;
  assert.deepEqual(states(end), ['one succeeded', 'two succeeded']);
  assert.equal(by(end, 'one').tries, 3);
  assert.ok((by(end, 'one').durationMs ?? 0) >= 30_000);
  assert.equal(readFileSync(mark, 'utf8'), 'try\ntry\ntry\n');
});

test('when all tries have failed, the last one says how the step ended', async () => {
  const clock = new TestClock();
  const chain = chains.start([step('one', 'exit 9', { retry: retry(1) })], {}, clock);
  await clock.pass(10_000);
  const end = await chain.ended;
  assert.deepEqual([end.outcome, end.exitCode, by(end, 'one').tries], ['failed', 9, 2]);
});

test('what the policy does not list is not tried again', async () => {
  const only75 = defineRetry({ times: 3, delay: '10s', outcomes: ['exit:75'] });
  const end = await chains.start([step('one', 'exit 74', { retry: only75 })], {}, new TestClock()).ended;
  assert.deepEqual([end.exitCode, by(end, 'one').tries], [74, 1]);
});

test('a timeout holds for each try, and leaves what earlier steps have started', async () => {
  const clock = new TestClock();
  const pid = `${chains.folder}/daemon.pid`;
  const chain = chains.start(
    [
      step('serve', `setsid sleep 1000 > /dev/null 2>&1 & echo $! > ${pid}`),
      step('slow', 'echo begun; sleep 1000', { timeoutMs: 7_000, retry: retry(1) }),
    ],
    {},
    clock,
  );
  await chain.until(({ name, state }) => name === 'slow' && state === 'running');
  await clock.pass(7_000);
  await chain.until(({ state }) => state === 'retrying');
  await clock.pass(10_000);
  await clock.pass(7_000);
  const end = await chain.ended;
  const daemon = Number(readFileSync(pid, 'utf8'));
  assert.deepEqual([end.outcome, end.reason, by(end, 'slow').tries], ['timedOut', 'timeout', 2]);
  assert.ok(existsSync(`/proc/${daemon}`));
  process.kill(daemon, 'SIGKILL');
});

test('a cancel ends the wait for the next try', async () => {
  const chain = chains.start(
    [step('one', 'exit 1', { retry: retry(3) }), step('two', 'true')],
    {},
    new TestClock(),
  );
  await chain.until(({ state }) => state === 'retrying');
  chain.runner.end(0);
  const end = await chain.ended;
  assert.deepEqual([end.outcome, end.reason], ['cancelled', 'cancelledByUser']);
  assert.deepEqual(states(end), ['one cancelled', 'two notRun']);
  assert.equal(by(end, 'one').tries, 1);
});

test('the timeout of the run ends the wait for the next try', async () => {
  const clock = new TestClock();
  const chain = chains.start([step('one', 'exit 1', { retry: retry(3) })], { timeoutMs: 5_000 }, clock);
  await chain.until(({ state }) => state === 'retrying');
  await clock.pass(5_000);
  const end = await chain.ended;
  assert.deepEqual([end.outcome, end.reason, states(end)], ['timedOut', 'timeout', ['one timedOut']]);
});

test('a cancel ends the step that runs, also one whose failure may be passed over', async () => {
  const chain = chains.start([step('one', 'sleep 1000', { continueOnFailure: true }), step('two', 'true')]);
  await chain.until(({ state }) => state === 'running');
  chain.runner.end(5_000);
  const end = await chain.ended;
  assert.deepEqual([end.outcome, end.signal], ['cancelled', 'SIGTERM']);
  assert.deepEqual(states(end), ['one cancelled', 'two notRun']);
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
    step('next', defineHttp({ url: `${url}/{{ steps.fetch.json.id }}` }), { retry: retry(3) }),
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
    [step('one', defineHttp({ url }), { retry: retry(1, '9s') }), step('two', defineHttp({ url }))],
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

const canMount = process.platform === 'linux' && process.getuid?.() === 0;
test('on a full disk no step begins whose note is not written, and the end says so', {
  skip: !canMount && 'needs root to mount a small disk',
}, async () => {
  const disk = mkdtempSync(`${tmpdir()}/rota-disk-`);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', disk]);
  const small = openChains(disk);
  const mark = `${chains.folder}/begun`;
  try {
    const steps = Array.from({ length: 30 }, (_, index) => step(`s${index}`, `echo ${index} >> ${mark}`));
    const fill = step('fill', `head -c 8000000 /dev/zero > ${disk}/filler || true`);
    const end = await small.start([fill, ...steps]).ended;
    assert.deepEqual([end.outcome, end.reason], ['failed', 'stepNotWritten']);
    assert.match(end.error ?? '', /could not be written/);
    const at = end.steps.findIndex(({ state }) => state === 'failed');
    assert.deepEqual([end.steps[at]?.reason, end.steps[at]?.tries], ['stepNotWritten', 0]);
    assert.ok(end.steps.slice(0, at).every(({ state }) => state === 'succeeded'));
    assert.ok(end.steps.slice(at + 1).every(({ state }) => state === 'notRun'));
    const begun = readFileSync(mark, 'utf8').trim().split('\n');
    assert.deepEqual(
      begun,
      Array.from({ length: at - 1 }, (_, index) => String(index)),
    );
  } finally {
    execFileSync('umount', ['-l', disk]);
    rmSync(disk, { recursive: true, force: true });
  }
});
