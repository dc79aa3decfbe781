import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { type AttemptView, isTerminal, type ReasonCode, type RunView, type StepView } from '@rota/contract';
import { rota } from '../../packages/cli/src/rota.testing.ts';
import { Installation } from '../support/installation.ts';
import { until } from '../support/until.ts';

/** Chains over a service that fails, cuts connections and hangs: whatever comes of a run, `rota run show` explains. */
const RUNS = 24;
const installation = new Installation();
const DEADLINE_MS = 300_000;

type Fate = 'fine' | 'error' | 'reset' | 'cut' | 'hang';
/** What becomes of requests, by chance: three of ten go wrong. */
const FATES: Fate[] = ['fine', 'fine', 'fine', 'fine', 'fine', 'fine', 'fine', 'error', 'reset', 'hang'];
/** What an agent may say of each. A loaded machine may always be too slow. */
const REASONS: Record<Fate, ReasonCode[]> = {
  fine: ['httpTimeout'],
  error: ['httpStatus', 'httpTimeout'],
  reset: ['httpReset', 'httpTimeout'],
  cut: ['httpReset', 'httpTimeout'],
  hang: ['httpTimeout'],
};

let web: Server;
/** Fates of the requests for `/run/step`, one for each try that came in. */
const fates = new Map<string, Fate[]>();
const random = seeded(20_261_121);

before(async () => {
  web = createServer((request, response) => {
    const key = request.url ?? '';
    let fate = FATES[Math.floor(random() * FATES.length)] as Fate;
    if (fate === 'reset' && random() < 0.5) fate = 'cut';
    fates.set(key, [...(fates.get(key) ?? []), fate]);
    switch (fate) {
      case 'fine':
        return void response.end('{"ok":true}');
      case 'error':
        return void response.writeHead(503).end('no');
      case 'reset':
        return void request.socket.resetAndDestroy();
      case 'cut':
        response.writeHead(200, { 'content-length': '100' });
        response.write('half', () => request.socket.destroy());
        return;
      case 'hang':
        // The other side gives up.
        return;
      default:
        fate satisfies never;
    }
  });
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
  await installation.startServer();
  await installation.startAgent('one');
  await installation.whenOnline('one');
});

after(async () => {
  web.closeAllConnections();
  web.close();
  await installation.remove();
});

function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Five steps: with tries, without, one that may fail, one for its failure, and a last one. */
function document() {
  const url = `http://127.0.0.1:${(web.address() as AddressInfo).port}/{{ run.id }}`;
  const ask = (name: string, more: object = {}) => ({
    name,
    http: { method: 'POST', url: `${url}/${name}`, timeout: '3s' },
    ...more,
  });
  return {
    steps: [
      ask('fetch', { retry: { times: 2, delay: '50ms', outcomes: ['network', 'http:5xx'] } }),
      ask('check'),
      ask('notify', { continueOnFailure: true, retry: { times: 1, delay: '50ms', outcomes: ['http:503'] } }),
      ask('repair', { when: { steps: { notify: ['failed', 'timedOut'] } } }),
      ask('finish', { retry: { times: 1, delay: '50ms' } }),
    ],
  };
}

test(`each of ${RUNS} chains over a bad service ends in a way that run show explains`, async (t) => {
  const client = installation.client();
  // One job for each, as the runs of one keep out of each other's way.
  const names = Array.from({ length: RUNS }, (_, index) => `chain-${index}`);
  await client.call('apply', {
    body: { document: { jobs: names.map((name) => ({ name, ...document() })) } },
  });
  const ids: string[] = [];
  for (const name of names) ids.push((await client.call('runJob', { params: { name }, body: {} })).run.id);
  const env = { ROTA_URL: installation.url(), ROTA_TOKEN: installation.token() };
  const kinds = new Set<string>();
  for (const id of ids) {
    await until(
      `run ${id} to end`,
      async () => isTerminal((await client.call('getRun', { params: { id } })).run.state),
      DEADLINE_MS,
    );
    // In this process, as there are many.
    const show = async (...more: string[]) => (await rota(['run', 'show', id, ...more], { env })).out;
    const shown = await show();
    const { run, attempts } = JSON.parse(await show('--json')) as { run: RunView; attempts: AttemptView[] };
    // On a loaded machine a permit may expire before its attempt begins.
    const [attempt, ...more] = attempts.filter(({ state }) => state === 'ended') as [AttemptView];
    assert.deepEqual(more, []);
    try {
      assertTrue(id, attempt);
      assertExplained(run, attempt, shown);
    } catch (error) {
      t.diagnostic(shown);
      throw error;
    }
    kinds.add(attempt.steps.map(({ state, tries }) => `${state} ${tries}`).join(', '));
  }
  assert.ok(kinds.size > 3, 'the runs end in different ways');
});

const isFailed = ({ state }: StepView) => state === 'failed' || state === 'timedOut';

/** What is told of the steps is what the service has seen. */
function assertTrue(id: string, { steps }: AttemptView): void {
  for (const { name, state, tries, reason } of steps) {
    const seen = fates.get(`/${id}/${name}`) ?? [];
    const isSent = state !== 'skipped' && state !== 'notRun';
    assert.equal(isSent, tries > 0, `${name} is ${state} after ${tries} tries`);
    // A try whose time passed before its request came in was not seen.
    assert.ok(seen.length <= tries, `${name}: ${tries} tries, but ${seen.join(', ')}`);
    const fate = seen.at(-1);
    if (!isSent) assert.equal(fate, undefined, `${name} is ${state}, but was asked for`);
    else if (state === 'succeeded') assert.equal(fate, 'fine', name);
    else if (fate === undefined || seen.length < tries) assert.equal(reason?.code, 'httpTimeout', name);
    else
      assert.ok(
        REASONS[fate].includes(reason?.code as ReasonCode),
        `${name}: ${fate}, told as ${reason?.code}`,
      );
  }
}

/** The text for people has which step decided, after how many tries and why, and what was passed over, skipped or not run. */
function assertExplained(run: RunView, attempt: AttemptView, shown: string): void {
  const { steps } = attempt;
  const decided = steps.findIndex((step) => isFailed(step) && step.name !== 'notify');
  const deciding = steps[decided];
  assert.equal(run.state, deciding?.state ?? 'succeeded');
  assert.equal(attempt.reason?.code, deciding?.reason?.code);
  const has = (pattern: RegExp, what: string) => assert.match(shown, pattern, what);
  for (const [index, step] of steps.entries()) {
    const { name, state, tries, reason } = step;
    const line = shown.split('\n').find((each) => each.startsWith(`${name}\t`)) ?? '';
    const [, told, toldTries, , , , why = ''] = line.split('\t');
    assert.deepEqual([told, toldTries], [WORDS[state], String(tries)], line);
    if (isFailed(step)) {
      const text = `step ${name} ${WORDS[state]} after ${tries === 1 ? '1 try' : `${tries} tries`}: `;
      has(new RegExp(`${step === deciding ? '(?<!passed over: )' : 'passed over: '}${text}`), name);
      const sentence = reason?.sentence as string;
      assert.ok(why.includes(sentence), `${line}: ${sentence}`);
      assert.ok(shown.split(text)[1]?.split('\n')[0]?.includes(sentence), `${text}${sentence}`);
      if (reason?.code === 'httpStatus') has(/HTTP 503/, name);
    }
    if (deciding && index > decided) {
      assert.equal(state, 'notRun');
      assert.equal(why, `step ${deciding.name} had ${WORDS[deciding.state]}`);
      assert.equal(step.detail, why, 'in JSON, too');
    }
    if (tries > 1) assert.match(why, new RegExp(`try ${tries - 1} failed: .`), line);
    if (state === 'skipped') assert.match(why, /step notify is succeeded, not failed or timedOut/);
  }
  if (deciding) has(new RegExp(`${deciding.reason?.sentence}`), 'the reason of the run');
}

const WORDS: Record<StepView['state'], string> = {
  running: 'running',
  retrying: 'retrying',
  succeeded: 'succeeded',
  failed: 'failed',
  timedOut: 'timed out',
  cancelled: 'cancelled',
  skipped: 'skipped',
  notRun: 'not run',
};
