import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BadJob, faultsOfJob, testBadJobs } from './define.testing.ts';
import { define, readJob } from './define.ts';
import type { HttpAction } from './http.ts';
import type { JobDocument } from './job.ts';

const UTC = { timezone: 'UTC' };

const one = { name: 'one', command: 'true' };
/** A chain whose second step has these fields. */
const second = (fields: Record<string, unknown>) => ({
  steps: [one, { name: 'two', command: 'true', ...fields }],
});

/** A chain that is bad; the path and the words of the one fault that it gives. */
const BAD: BadJob[] = [
  ['no steps', { steps: [] }, 'steps', /fewer than 1/],
  ['an object for steps', { steps: {} }, 'steps', /must be a list/],
  ['a step without a name', { steps: [{ command: 'x' }] }, 'steps[0].name', /is required/],
  [
    'a step with a bad name',
    { steps: [{ name: '1st', command: 'x' }] },
    'steps[0].name',
    /start with a letter/,
  ],
  ['two steps of one name', { steps: [one, one] }, 'steps[1].name', /already the name of steps\[0\]/],
  ['a step without an action', { steps: [{ name: 'x' }] }, 'steps[0].command', /needs `command` or `http`/],
  ['a step with two actions', second({ http: { url: 'http://a/' } }), 'steps[1].http', /not both/],
  ['a near miss in a step', second({ retries: 1 }), 'steps[1].retries', /did you mean "retry"/],
  ['a shell for a list', second({ command: ['x'], shell: 'sh' }), 'steps[1].shell', /without a shell/],
  ['steps and a command', { steps: [one], command: 'x' }, 'command', /belongs to a step/],
  ['steps and a shell', { steps: [one], shell: 'sh' }, 'shell', /belongs to a step/],
  ['a condition at the top', { command: 'x', when: { hour: 1 } }, 'when', /belongs to a step/],
  ['a bad time of a step', second({ timeout: '10ms' }), 'steps[1].timeout', /at least 100ms/],
  [
    'a bad time in a request',
    second({ command: undefined, http: { url: 'http://a/', timeout: 'x' } }),
    'steps[1].http.timeout',
    /"x"/,
  ],
  [
    'a bad address in a step',
    second({ command: undefined, http: { url: 'ftp://{{HOST}}/' } }),
    'steps[1].http.url',
    /only http/,
  ],
  ['a bad hour', second({ when: { hour: 24 } }), 'steps[1].when.hour', /24/],
  ['an empty condition', second({ when: {} }), 'steps[1].when', /./],
  [
    'a near miss in a condition',
    second({ when: { hours: [1] } }),
    'steps[1].when.hours',
    /did you mean "hour"/,
  ],
  [
    'a later step in a condition',
    second({ when: { steps: { two: 'failed' } } }),
    'steps[1].when.steps.two',
    /no earlier step/,
  ],
  [
    'a near miss of a step',
    second({ when: { steps: { onee: 'failed' } } }),
    'steps[1].when.steps.onee',
    /did you mean "one"/,
  ],
  [
    'an unknown state',
    second({ when: { steps: { one: 'faild' } } }),
    'steps[1].when.steps.one',
    /did you mean "failed"/,
  ],
  [
    'a bad expression',
    second({ when: { expression: 'steps.one.exit == 1' } }),
    'steps[1].when.expression',
    /nothing is known as exit/,
  ],
  ['a retry without times', second({ retry: {} }), 'steps[1].retry.times', /is required/],
  [
    'a retry of an unknown outcome',
    second({ retry: { times: 1, outcomes: ['fail'] } }),
    'steps[1].retry.outcomes[0]',
    /must be failed, timedOut/,
  ],
  [
    'a delay longer than the longest',
    second({ retry: { times: 1, delay: '1h' } }),
    'steps[1].retry.delay',
    /longer than `maxDelay` \(10m\)/,
  ],
  ['a bad retry of the run', { command: 'x', retry: { times: 1, delay: '-1s' } }, 'retry.delay', /"-1s"/],
  ['an unknown policy', { command: 'x', onUnknown: 'retyr' }, 'onUnknown', /did you mean "retry"/],
];

testBadJobs(BAD);

test('All faults of a chain are told at once', () => {
  const job = {
    schedule: 'every x',
    steps: [
      { name: 'one', http: { url: 'nowhere' }, when: { hour: 30, expression: '1' } },
      { name: 'one', command: 'echo {{ params.a }} {{ steps.zwei.output }}', retry: { times: 0 } },
      'three',
    ],
  };
  const paths = faultsOfJob(job).map(({ path }) => path);
  assert.deepEqual(paths.sort(), [
    'schedule',
    'steps[0].http.url',
    'steps[0].when.expression',
    'steps[0].when.hour',
    'steps[1].command',
    'steps[1].command',
    'steps[1].name',
    'steps[1].retry.times',
    'steps[2]',
  ]);
});

test('A chain is defined with the defaults of the documentation', () => {
  const document = {
    name: 'a',
    steps: [
      { name: 'plain', command: 'true' },
      {
        name: 'full',
        http: { url: 'http://a/' },
        timeout: '1m',
        retry: { times: 2, outcomes: ['http:5xx'] },
        when: { weekday: [7, 1], labels: { role: 'db' } },
        continueOnFailure: true,
      },
    ],
    retry: { times: 1, delay: '1m' },
    onUnknown: 'retry',
    params: { days: { default: 7, choices: [1, 7] }, who: { required: true } },
  };
  const { steps, params, retry, onUnknown } = define(document as JobDocument, 'UTC');
  const [plain, full] = steps;
  assert.deepEqual(
    { ...plain, action: plain?.action.kind },
    {
      name: 'plain',
      action: 'command',
      timeoutMs: null,
      retry: null,
      when: null,
      continueOnFailure: false,
    },
  );
  assert.equal((full?.action as HttpAction | undefined)?.timeoutMs, 60_000);
  assert.deepEqual(
    { ...full, action: full?.action.kind },
    {
      name: 'full',
      action: 'http',
      timeoutMs: 60_000,
      retry: {
        times: 2,
        delayMs: 10_000,
        backoff: 2,
        maxDelayMs: 600_000,
        jitterMs: 0,
        outcomes: ['http:5xx'],
      },
      when: {
        minute: null,
        hour: null,
        day: null,
        month: null,
        weekday: [0, 1],
        labels: { role: 'db' },
        steps: null,
        expression: null,
      },
      continueOnFailure: true,
    },
  );
  assert.deepEqual(params, {
    days: { type: 'number', default: 7, choices: [1, 7], description: '' },
    who: { type: 'string', default: null, choices: null, description: '' },
  });
  assert.deepEqual([retry?.times, retry?.delayMs, retry?.outcomes], [1, 60_000, ['failed', 'timedOut']]);
  assert.equal(onUnknown, 'retry');
});

test('A job that was read comes back the same when its document is read again', () => {
  const job = {
    name: 'a',
    schedule: '0 * * * *',
    params: { mode: { type: 'string', default: 'full' } },
    steps: [
      {
        name: 'one',
        command: 'echo "{{ params.mode }}"',
        retry: { times: 3, delay: '10s' },
        when: { hour: [0, 12] },
      },
      { name: 'two', http: { method: 'POST', url: '{{BASE}}/x', json: { s: '{{ steps.one.state }}' } } },
    ],
    onUnknown: 'retry',
  };
  const read = readJob(job, { timezone: 'Asia/Seoul' });
  assert.ok('job' in read, JSON.stringify(read));
  const again = readJob(JSON.parse(JSON.stringify(read.job.document)), UTC);
  assert.ok('job' in again);
  assert.deepEqual(again.job, read.job);
});
