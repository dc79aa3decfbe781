import assert from 'node:assert/strict';
import { test } from 'node:test';
import { define, readJob } from './define.ts';
import type { Fault } from './faults.ts';
import type { HttpAction } from './http.ts';
import type { JobDocument } from './job.ts';
import { readParams } from './params.ts';
import { requiredSecretsOf, secretNamesOf } from './renderAction.ts';

const UTC = { timezone: 'UTC' };

function faultsOfJob(job: Record<string, unknown>): Fault[] {
  const result = readJob({ name: 'a', ...job }, UTC);
  return 'faults' in result ? result.faults : [];
}

const told = (job: Record<string, unknown>) =>
  faultsOfJob(job).map(({ path, message }) => `${path}: ${message}`);
const one = { name: 'one', command: 'true' };
/** A chain whose second step has these fields. */
const second = (fields: Record<string, unknown>) => ({
  steps: [one, { name: 'two', command: 'true', ...fields }],
});

/** A chain that is bad; the path and the words of the one fault that it gives. */
const BAD: [title: string, job: Record<string, unknown>, path: string, message: RegExp][] = [
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
  [
    'a parameter of no type',
    { command: 'x', params: { a: { type: 'text' } } },
    'params.a.type',
    /one of: string, number/,
  ],
  [
    'a default of another type',
    { command: 'x', params: { a: { type: 'number', default: 'x' } } },
    'params.a.default',
    /must be a number/,
  ],
  [
    'a default that is no choice',
    { command: 'x', params: { a: { default: 'x', choices: ['y'] } } },
    'params.a.default',
    /none of its choices/,
  ],
  [
    'a default that must be given',
    { command: 'x', params: { a: { default: 'x', required: true } } },
    'params.a.required',
    /need not be given/,
  ],
  [
    'neither required nor a default',
    { command: 'x', params: { a: { required: false } } },
    'params.a.default',
    /has a default/,
  ],
  [
    'a schedule and no default',
    { command: 'x', schedule: '@daily', params: { a: {} } },
    'params.a.default',
    /needs a default/,
  ],
  ['a bad name of a parameter', { command: 'x', params: { 'a-b': {} } }, 'params.a-b', /./],
  [
    'a template that is none',
    { command: "docker ps --format '{{.Names}}'" },
    'command',
    /is no template.*write \{\{ "\{\{" \}\}/,
  ],
  ['a template without an end', { command: 'echo {{ A' }, 'command', /is no template/],
  ['a template in single quotes', { command: "echo '{{A}}'" }, 'command', /single quotes.*double quotes/],
  ['a template in arithmetic', second({ command: 'echo $(({{A}}))' }), 'steps[1].command', /arithmetic/],
  ['a secret in an argument', { command: ['curl', '-u', '{{A}}'] }, 'command[2]', /list of processes/],
  ['a value in a text of ssh', { command: ['ssh', 'h', 'rm {{ run.id }}'] }, 'command[2]', /\| shell/],
  ['an unknown filter', { command: 'echo {{ A | upper }}' }, 'command', /unknown filter upper/],
  ['a filter without its value', { command: 'echo {{ A | default }}' }, 'command', /needs a value/],
  ['an undeclared parameter', { command: 'echo {{ params.x }}' }, 'command', /no parameter x/],
  [
    'a near miss of a parameter',
    { command: 'echo {{ params.mod }}', params: { mode: { default: '' } } },
    'command',
    /did you mean "mode"/,
  ],
  ['a near miss of a root', { command: 'echo {{ param.x }}' }, 'command', /did you mean "params"/],
  ['an unknown field of the run', { command: 'echo {{ run.name }}' }, 'command', /a run has no name/],
  [
    'a later step in a template',
    second({ env: { A: '{{ steps.two.output }}' } }),
    'steps[1].env.A',
    /no earlier step is called two/,
  ],
  [
    'an unknown field of a step',
    second({ stdin: '{{ steps.one.stat }}' }),
    'steps[1].stdin',
    /did you mean "state"/,
  ],
  [
    'a path behind a text',
    second({ cwd: '/{{ steps.one.output.x }}' }),
    'steps[1].cwd',
    /nothing follows output/,
  ],
  ['a field of a secret', second({ stdin: '{{ TOKEN.x }}' }), 'steps[1].stdin', /nothing follows its name/],
  [
    'a fault deep in JSON',
    { http: { url: 'http://a/', json: { list: [{ b: '{{ steps.x }}' }] } } },
    'http.json.list[0].b',
    /no earlier step/,
  ],
];

for (const [title, job, path, message] of BAD) {
  test(`A job with ${title} gives one fault that names it`, () => {
    const faults = faultsOfJob(job);
    assert.equal(faults.length, 1, JSON.stringify(faults));
    assert.equal(faults[0]?.path, path);
    assert.match(faults[0]?.message ?? '', message);
  });
}

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

test('Templates are fine wherever a text of a step stands', () => {
  const faults = told({
    params: { dir: { default: '/srv' }, n: { type: 'number', default: 3 } },
    steps: [
      {
        name: 'fetch',
        http: {
          url: '{{BASE_URL}}/report?n={{ params.n | url }}',
          headers: { Authorization: 'Bearer {{ API_SECRET }}', 'If-None-Match': '{{ ETAG | default: "*" }}' },
          form: { a: '{{ run.id }}', b: ['{{ agent.labels["rota/zone"] }}', 'x'] },
          auth: undefined,
          tls: { ca: '{{ CA_FILE }}', cert: '/c.pem', key: '{{ KEY }}', passphrase: '{{ PASS }}' },
          proxy: { url: 'http://{{PROXY}}:3128', username: 'x', password: '{{ PROXY_PASSWORD }}' },
        },
      },
      {
        name: 'post',
        http: {
          url: '{{ SCHEME }}://{{ HOST }}:{{ PORT }}/{{ steps.fetch.json.items[0]["a b"] | url }}',
          json: { ms: '{{ steps.fetch.durationMs }}', etag: '{{ steps.fetch.headers.etag }}' },
          auth: { bearer: '{{ TOKEN }}' },
        },
      },
      {
        name: 'save',
        command: 'printf %s {{ steps.post.output }} > "out-{{ run.number }}.txt"',
        user: '{{ USER_NAME }}',
        cwd: '{{ params.dir }}/x',
        env: { PGPASSWORD: '{{ secrets.PG_PASSWORD }}' },
        stdin: '{{ steps.fetch.json | json }}',
      },
      { name: 'list', command: ['echo', '{{ params.dir }}', 'x{{ job.name }}'] },
    ],
  });
  assert.deepEqual(faults, []);
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

test('A broken template in a stored job is no matter when the job is defined', () => {
  const job = define({ name: 'a', command: 'echo {{' }, 'UTC');
  assert.equal(job.steps[0]?.name, 'main');
});

test('The secrets of a job are known, and which of them must be there', () => {
  const job = define(
    {
      name: 'a',
      steps: [
        { name: 'one', command: 'echo {{ A }} {{ run.id }} {{', env: { X: '{{ A }} {{ run.id }}' } },
        { name: 'two', command: 'x', stdin: '{{ secrets.B | default: "" }}' },
        {
          name: 'three',
          http: { url: '{{E}}/', json: { expected: ['{{ C }}'] }, expect: { match: '{{ D }}' } },
        },
      ],
    },
    'UTC',
  );
  assert.deepEqual(secretNamesOf(job), ['A', 'B', 'C', 'E']);
  assert.deepEqual(requiredSecretsOf(job), ['A', 'C', 'E']);
});

const PARAMS = define(
  {
    name: 'a',
    command: 'true',
    params: {
      mode: { default: 'full', choices: ['full', 'quick'] },
      days: { type: 'number' },
      dry: { default: false },
    },
  },
  'UTC',
);

test('The values of a run are what was given, else the defaults', () => {
  assert.deepEqual(readParams(PARAMS, { days: 7 }), { params: { mode: 'full', days: 7, dry: false } });
  assert.deepEqual(readParams(PARAMS, { mode: 'quick', days: '-2.5', dry: 'true' }), {
    params: { mode: 'quick', days: -2.5, dry: true },
  });
  assert.deepEqual(readParams(define({ name: 'a', command: 'x' }, 'UTC'), undefined), { params: {} });
});

test('All faults of the values of a run are told at once', () => {
  const faults = (given: unknown) => {
    const read = readParams(PARAMS, given);
    return 'faults' in read ? read.faults.map(({ path, message }) => `${path}: ${message}`) : [];
  };
  assert.deepEqual(faults({}), ['params.days: is required: it has no default']);
  assert.deepEqual(faults({ mod: 'x', mode: 'slow', days: 'many', dry: null }), [
    'params.mod: unknown parameter (did you mean "mode"?)',
    'params.mode: "slow" is not allowed; one of: full, quick',
    'params.days: must be a number, not "many"',
    'params.dry: must be true or false, not null',
  ]);
  assert.deepEqual(faults([1]), ['params: must be an object, not [1]']);
  assert.equal(faults(JSON.parse('{"days": 1, "__proto__": 1, "constructor": 2}')).length, 2);
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
