import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readJob } from '@rota/contract';
import { DAILY_REPORT, DATA_PIPELINE } from './examples.testing.ts';
import { type FleetCronNote, importJob } from './job.ts';
import { type Fields, FleetCronError, readConfig, readExport } from './read.ts';
import { createTexts } from './texts.ts';

function imported(job: Fields, given: { keys?: string[]; httpDefaults?: Fields; names?: string[] } = {}) {
  const notes: FleetCronNote[] = [];
  const texts = createTexts(given.keys ?? []);
  const result = importJob(job, {
    timezone: 'Asia/Seoul',
    config: { httpDefaults: given.httpDefaults ?? {} },
    texts,
    names: new Set(given.names),
    agents: null,
    note: (note) => notes.push(note),
  });
  const told = notes.map(({ field, message }) => `${field ?? 'JOB'}: ${message}`);
  return { document: result?.document, told, secrets: [...texts.named].sort() };
}

const REQUEST = { name: 'x', enabled: true, minute: 5, url: 'http://a/' };
const stepsOf = (job: Fields, httpDefaults: Fields = {}) =>
  imported(job, { httpDefaults }).document?.steps as Record<string, unknown>[];

test('The simple job of the documentation becomes a job of one step that is tried again', () => {
  const { document, told, secrets } = imported(DAILY_REPORT);
  assert.deepEqual(told, []);
  assert.deepEqual(document, {
    name: 'daily-report',
    title: 'Daily Report',
    labels: { importedFrom: 'fleetcron' },
    schedule: { cron: '30 9 * * *', timezone: 'Asia/Seoul' },
    steps: [
      {
        name: 'request',
        http: {
          url: '{{BASE_URL}}/report',
          headers: { Authorization: 'Bearer {{API_SECRET}}' },
          timeout: '30s',
        },
        retry: { times: 3, delay: '5s', backoff: 1 },
      },
    ],
  });
  assert.deepEqual(secrets, [
    ['API_SECRET', 'API_SECRET'],
    ['BASE_URL', 'BASE_URL'],
  ]);
});

test('The chain of the documentation becomes a chain', () => {
  const { document, told } = imported(DATA_PIPELINE);
  assert.deepEqual(told, []);
  assert.deepEqual(document, {
    name: 'data-pipeline',
    title: 'Data Pipeline',
    labels: { importedFrom: 'fleetcron' },
    schedule: { cron: '0 * * * *', timezone: 'Asia/Seoul' },
    steps: [
      { name: 'fetch-data', http: { url: '{{BASE_URL}}/api/data', timeout: '60s' } },
      {
        name: 'process-data',
        http: { method: 'POST', url: '{{BASE_URL}}/api/process' },
        when: { hour: [0, 12] },
      },
    ],
  });
});

test('A job without retry and condition is one request', () => {
  const { document } = imported(REQUEST);
  assert.deepEqual([document?.http, document?.steps], [{ url: 'http://a/' }, undefined]);
});

test('A job that is not enabled stays so', () => {
  assert.equal(imported({ ...REQUEST, enabled: false }).document?.enabled, false);
  assert.equal(imported({ ...REQUEST, enabled: undefined }).document?.enabled, false);
});

test('Several schedules are several schedules', () => {
  const schedules = [{ hour: 9, minute: 30 }, { hour: null, minute: 15 }, { hour: '7' }];
  assert.deepEqual(imported({ ...REQUEST, schedules }).document?.schedule, [
    { cron: '30 9 * * *', timezone: 'Asia/Seoul' },
    { cron: '15 * * * *', timezone: 'Asia/Seoul' },
    { cron: '0 7 * * *', timezone: 'Asia/Seoul' },
  ]);
});

test('What an action does not say, its job or the configuration says', () => {
  const action = { url: 'http://a/' };
  const retry = { retries: 2, delay_sec: 3, backoff: 1.5 };
  const defaults = { timeout_sec: 10, retry };
  const both = { times: 2, delay: '3s', backoff: 1.5 };
  assert.deepEqual(stepsOf({ ...REQUEST, actions: [action] }, defaults), [
    { name: 'step-1', http: { url: 'http://a/', timeout: '10s' }, retry: both },
  ]);
  assert.deepEqual(
    stepsOf(
      {
        ...REQUEST,
        timeout_sec: 20,
        retry: { retries: 1 },
        actions: [action, { ...action, timeout_sec: 0.5, retry: { delay_sec: 2 } }],
      },
      defaults,
    ),
    [
      {
        name: 'step-1',
        http: { url: 'http://a/', timeout: '20s' },
        retry: { times: 1, delay: '0s', backoff: 1 },
      },
      {
        name: 'step-2',
        http: { url: 'http://a/', timeout: '500ms' },
        retry: { times: 1, delay: '2s', backoff: 1 },
      },
    ],
  );
});

test('Waits grow without an end in FleetCron, and here up to the longest that its job reaches', () => {
  const [step] = stepsOf({ ...REQUEST, retry: { retries: 5, delay_sec: 60, backoff: 3 } });
  assert.deepEqual(step?.retry, { times: 5, delay: '60s', backoff: 3, maxDelay: '4860000ms' });
});

test('Query, body and headers come along', () => {
  const [get, post, raw] = stepsOf({
    ...REQUEST,
    actions: [
      { url: 'http://a/', params: { q: '{{KEY}}', n: 5 }, headers: { 'User-Agent': 'x', 'X-N': 5 } },
      { url: 'http://a/', method: 'post', body: { list: ['{{KEY}}'], plain: '{{ not one }}' } },
      { url: 'http://a/', method: 'PUT', body: 'text {{KEY}}', continue_on_failure: true },
    ],
  });
  assert.deepEqual(get?.http, {
    url: 'http://a/',
    headers: { 'User-Agent': 'x', 'X-N': '5' },
    query: { q: '{{KEY}}', n: 5 },
  });
  assert.deepEqual(post?.http, {
    method: 'POST',
    url: 'http://a/',
    json: { list: ['{{KEY}}'], plain: '{{ "{{" }} not one }}' },
  });
  assert.deepEqual(
    [raw?.http, raw?.continueOnFailure],
    [{ method: 'PUT', url: 'http://a/', body: 'text {{KEY}}' }, true],
  );
});

test('A key that is no name of a secret gets one', () => {
  const { document, secrets } = imported(
    { ...REQUEST, url: 'http://a/{{api-key}}/{{run}}/{{2fa}}' },
    { keys: ['api-key', '2fa'] },
  );
  assert.equal(
    (document?.http as { url: string } | undefined)?.url,
    'http://a/{{api_key}}/{{ secrets.run }}/{{_2fa}}',
  );
  assert.deepEqual(secrets, [
    ['_2fa', '2fa'],
    ['api_key', 'api-key'],
    ['run', 'run'],
  ]);
});

test('Names are free, also for titles that no name can be made of', () => {
  assert.equal(imported({ ...REQUEST, name: '일일 보고서' }, { names: ['job'] }).document?.name, 'job-2');
  const actions = ['Fetch', 'Fetch', '가져오기', '9 lives'].map((name) => ({ name, url: 'http://a/' }));
  assert.deepEqual(
    stepsOf({ ...REQUEST, actions }).map(({ name }) => name),
    ['fetch', 'fetch-2', 'step-3', 'lives'],
  );
});

test('What cannot be carried over is said by its field', () => {
  const { told, document } = imported({
    ...REQUEST,
    _id: 'x',
    order: 5,
    when: { hour_in: [1] },
    actions: [
      { type: 'shell', name: 'a', command: 'ls' },
      {
        url: 'http://a/',
        use_curl: true,
        when: { hour_in: [1], weekday_in: [0] },
        retry: { retries: 500, jitter: 1 },
      },
      { url: 'http://a/', body: 'x' },
    ],
  });
  assert.deepEqual(told, [
    'url: has nothing like it here',
    'order: has nothing like it here',
    'when: FleetCron heeds it in actions only',
    'actions[0].type: an action of the type "shell", which FleetCron skips, too',
    'actions[1].use_curl: has nothing like it here',
    'actions[1].retry.jitter: has nothing like it here',
    'actions[1].retry.retries: 500 is more than 100, and 100 is taken',
    'actions[1].when.weekday_in: has nothing like it here',
    'actions[2].body: FleetCron sends none with GET',
  ]);
  assert.equal((document?.steps as unknown[] | undefined)?.length, 2);
});

/** A job that cannot be carried over, and why. */
const IMPOSSIBLE: [title: string, job: Fields, why: RegExp][] = [
  ['no URL', { ...REQUEST, url: undefined }, /^JOB: url: a request needs a URL/],
  ['another scheme', { ...REQUEST, url: 'ftp://a/' }, /^JOB: http\.url: /],
  ['no time', { ...REQUEST, minute: undefined }, /^JOB: minute: /],
  ['a minute that there is not', { ...REQUEST, minute: 60 }, /^JOB: minute: 60 is not/],
  [
    'an hour that there is not',
    { ...REQUEST, schedules: [{ hour: 'x' }] },
    /^JOB: schedules\[0\]\.hour: "x"/,
  ],
  ['an unknown method', { ...REQUEST, method: 'FETCH' }, /^JOB: method: /],
  ['a timeout that is none', { ...REQUEST, timeout_sec: 'long' }, /^JOB: timeout_sec: "long"/],
  [
    'only actions that FleetCron skips',
    { ...REQUEST, actions: [{ type: 'shell' }] },
    /JOB: actions: none of them/,
  ],
  [
    'a condition that never holds',
    { ...REQUEST, actions: [{ url: 'http://a/', when: { hour_in: [] } }] },
    /never holds/,
  ],
];

for (const [title, job, why] of IMPOSSIBLE) {
  test(`A job with ${title} is not imported, and it is said why`, () => {
    const { document, told } = imported(job);
    assert.equal(document, undefined);
    assert.match(told.at(-1) ?? '', why);
  });
}

test('Every imported document is read back as it was', () => {
  for (const job of [DAILY_REPORT, DATA_PIPELINE]) {
    const read = readJob(imported(job).document, { timezone: 'UTC' });
    assert.ok('job' in read, JSON.stringify(read));
    const again = readJob(read.job.document, { timezone: 'UTC' });
    assert.deepEqual('job' in again && again.job, read.job);
  }
});

test('An export is read in each form that mongoexport has', () => {
  const extended =
    '{"_id":{"$oid":"6650"},"name":"a","hour":{"$numberInt":"9"},"at":{"$date":{"$numberLong":"5"}}}';
  const plain = { _id: '6650', name: 'a', hour: 9, at: 5 };
  assert.deepEqual(readExport(`${extended}\n{"name":"b {"}\n`), [plain, { name: 'b {' }]);
  assert.deepEqual(readExport(`[${extended},\n{"name": "b\\""}]`), [plain, { name: 'b"' }]);
  assert.deepEqual(readExport('\uFEFF{\n  "name": "a",\n  "list": [1, {}]\n}\n{\n  "name": "b"\n}'), [
    { name: 'a', list: [1, {}] },
    { name: 'b' },
  ]);
  assert.deepEqual(readExport(''), []);
  assert.deepEqual(readExport('[]'), []);
});

test('A file that is no export says where it stops to be one', () => {
  for (const [text, why] of [
    ['{"a":1}\n{"b":}', /^line 2: /],
    ['{"a":1', /^line 1: /],
    ['[1]', /document 1 is no job/],
    ['hello', /^line 1: /],
  ] as const) {
    assert.throws(
      () => readExport(text),
      (error) => error instanceof FleetCronError && why.test(error.message),
    );
  }
});

test('A configuration gives its zone, secrets and defaults', () => {
  const text = JSON.stringify({
    tz: 'Asia/Seoul',
    secrets: { A: 'x', N: 5 },
    http_defaults: { timeout_sec: 10 },
  });
  assert.deepEqual(readConfig(text), {
    timezone: 'Asia/Seoul',
    secrets: { A: 'x', N: '5' },
    httpDefaults: { timeout_sec: 10 },
  });
  assert.deepEqual(readConfig('{}'), { timezone: null, secrets: {}, httpDefaults: {} });
  assert.throws(() => readConfig('[]'), FleetCronError);
});
