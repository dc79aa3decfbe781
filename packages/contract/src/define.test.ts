import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BadJob, testBadJobs } from './define.testing.ts';
import { define, readDocument, readJob } from './define.ts';
import type { JobDocument } from './job.ts';

const BERLIN = { timezone: 'Europe/Berlin' };

/** Fields that make an otherwise good job bad; the path and the words of the one fault that they give. */
const BAD: BadJob[] = [
  ['an unknown field', { comand: 'x' }, 'comand', /unknown field \(did you mean "command"\?\)/],
  ['an unknown nested field', { target: { agent: ['a'] } }, 'target.agent', /did you mean "agents"/],
  ['a bad cron pattern', { schedule: '61 * * * *' }, 'schedule', /61/],
  ['30 February', { schedule: '0 0 30 2 *' }, 'schedule', /can never match/],
  [
    'an unknown zone',
    { schedule: { cron: '0 0 * * *', timezone: 'Europe/Berln' } },
    'schedule',
    /Europe\/Berlin/,
  ],
  ['a negative duration', { timeout: '-5m' }, 'timeout', /"-5m"/],
  ['a duration without a unit', { timeout: '90' }, 'timeout', /90s/],
  ['a number for a duration', { timeout: 90 }, 'timeout', /must be text, not 90/],
  ['a duration that is too short', { timeout: '10ms' }, 'timeout', /too short; at least 1s/],
  ['a duration that is too long', { startDeadline: '400d' }, 'startDeadline', /too long; at most 365d/],
  ['a name in capitals', { name: 'Backup' }, 'name', /must start with a-z/],
  ['a list for text', { title: ['a'] }, 'title', /must be text, not a list/],
  ['text for a list', { target: { agents: 'db-1' } }, 'target.agents', /must be a list, not the text "db-1"/],
  ['text for a truth value', { enabled: 'yes' }, 'enabled', /must be true or false, not the text "yes"/],
  ['NUL in a command', { command: 'a\u0000b' }, 'command', /must not contain NUL/],
  ['a line break in a title', { title: 'a\nb' }, 'title', /one line/],
  ['a field that is not built yet', { pool: 'x' }, 'pool', /not supported yet/],
  ['a value that is not built yet', { concurrency: 'queue' }, 'concurrency', /"queue" is not supported yet/],
  ['a pick that is not built yet', { target: { pick: 'all' } }, 'target.pick', /"all" is not supported yet/],
  ['an unknown value', { concurrency: 'fobid' }, 'concurrency', /did you mean "forbid"/],
  ['a command and a request', { http: { url: 'http://a/' } }, 'http', /not both/],
  ['no action', { command: undefined }, 'command', /`command`, `http` or `steps`/],
  ['two kinds of schedule', { schedule: { cron: '0 0 * * *', every: '1h' } }, 'schedule', /exactly one of/],
  ['an empty schedule', { schedule: {} }, 'schedule', /exactly one of/],
  ['an empty list of schedules', { schedule: [] }, 'schedule', /\[\]/],
  ['a fault in the second schedule', { schedule: ['0 0 * * *', 'every 0s'] }, 'schedule[1]', /too short/],
  ['an instant that is none', { schedule: 'at 2026-02-30T00:00Z' }, 'schedule', /no such day/],
  ['a shell for a list', { command: ['ls'], shell: 'bash' }, 'shell', /without a shell/],
  ['a bad umask', { umask: '999' }, 'umask', /octal/],
  ['a relative folder', { cwd: 'var' }, 'cwd', /absolute path/],
  ['a bad variable name', { env: { 'A-B': '1' } }, 'env.A-B', /unknown field|A-B/],
  ['a number for a variable', { env: { A: 1 } }, 'env.A', /must be text, not 1/],
  ['a bad label', { labels: { team: 'a b' } }, 'labels.team', /only letters, digits/],
  ['zero agents', { target: { max: 0 } }, 'target.max', />= 1/],
];

testBadJobs(BAD, { command: 'true' });

test('A job by request has the same care', () => {
  const http = (fields: Record<string, unknown>) => {
    const result = readJob({ name: 'a', http: { url: 'http://localhost/', ...fields } }, BERLIN);
    return 'faults' in result ? result.faults.map((fault) => `${fault.path}: ${fault.message}`) : [];
  };
  assert.deepEqual(http({}), []);
  assert.match(http({ url: 'ftp://a/' })[0] ?? '', /^http\.url: .*only http:\/\/ and https:\/\//);
  assert.match(http({ url: 'http://u:p@a/' })[0] ?? '', /Authorization/);
  assert.match(http({ url: 'nowhere' })[0] ?? '', /is not a URL/);
  assert.match(http({ json: {}, body: 'x' })[0] ?? '', /has one body, but json and body are set/);
  assert.match(http({ method: 'get' })[0] ?? '', /did you mean "GET"/);
  assert.match(http({ expect: { status: '2x' } })[0] ?? '', /^http\.expect\.status: /);
  assert.match(http({ redirects: -1 })[0] ?? '', /^http\.redirects: /);
  assert.match(http({ headers: { 'X-A': 'a\nb' } })[0] ?? '', /one line/);
});

test('Keys that touch prototypes are unknown fields like any other', () => {
  const job = JSON.parse(
    '{"name": "a", "command": "true", "__proto__": {"enabled": false}, "constructor": 1}',
  );
  const result = readJob(job, BERLIN);
  assert.deepEqual('faults' in result ? result.faults.map((fault) => fault.path).sort() : [], [
    '__proto__',
    'constructor',
  ]);
});

test('A job that is not an object, or far too big, gives one fault', () => {
  for (const input of [null, 'a', 7, [], undefined, 'x'.repeat(1_000_000), { name: 'x'.repeat(1_000_000) }]) {
    const result = readJob(input, BERLIN);
    assert.ok('faults' in result);
    assert.equal(result.faults.length, 1, JSON.stringify(result.faults).slice(0, 500));
    assert.ok((result.faults[0]?.message.length ?? 0) < 300);
  }
});

test('A document tells the faults of all its jobs at once', () => {
  const result = readDocument(
    {
      jobs: [
        { name: 'a', command: 'x', timeout: '-1s' },
        { name: 'b', comand: 'x', schedule: '0 0 31 6 *' },
        { name: 'a', command: 'x' },
        'not a job',
      ],
    },
    BERLIN,
  );
  assert.ok('faults' in result);
  assert.deepEqual(
    result.faults.map((fault) => fault.path),
    ['jobs[0].timeout', 'jobs[1].comand', 'jobs[1].command', 'jobs[1].schedule', 'jobs[2].name', 'jobs[3]'],
  );
  assert.match(result.faults[4]?.message ?? '', /already the name of jobs\[0\]/);
});

test('A document with a fault of its own says so', () => {
  const paths = (input: unknown) => {
    const result = readDocument(input, BERLIN);
    return 'faults' in result ? result.faults.map((fault) => `${fault.path} ${fault.code}`) : [];
  };
  assert.deepEqual(paths({}), ['jobs missing']);
  assert.deepEqual(paths({ job: [], jobs: [] }), ['job unknownField']);
  assert.deepEqual(paths({ jobs: {} }), ['jobs type']);
  assert.deepEqual(paths({ jobs: [], defaults: { timezone: 'Mars/Base' } }), ['defaults.timezone value']);
  assert.deepEqual(paths({ jobs: [], defaults: { tz: 'UTC' } }), ['defaults.tz unknownField']);
  assert.deepEqual(paths([]), [' type']);
  assert.deepEqual(paths(null), [' type']);
});

test('A document hands its owner and zone to its jobs, which may say otherwise', () => {
  const result = readDocument(
    {
      owner: 'team-a',
      defaults: { timezone: 'America/New_York' },
      jobs: [
        { name: 'a', command: 'x', schedule: '0 0 * * *' },
        { name: 'b', command: 'x', owner: 'team-b', schedule: { cron: '0 0 * * *', timezone: 'UTC' } },
      ],
    },
    BERLIN,
  );
  assert.ok('document' in result);
  const [a, b] = result.document.jobs.map((job) => job.definition);
  assert.deepEqual([a?.owner, a?.schedules[0]?.timezone], ['team-a', 'America/New_York']);
  assert.deepEqual([b?.owner, b?.schedules[0]?.timezone], ['team-b', 'UTC']);
});

test('A stored document keeps its zone when the default changes later', () => {
  const read = readJob({ name: 'a', command: 'x', schedule: ['30 2 * * *', 'every 5m'] }, BERLIN);
  assert.ok('job' in read);
  assert.deepEqual(read.job.document.schedule, [
    { cron: '30 2 * * *', timezone: 'Europe/Berlin' },
    'every 5m',
  ]);
  const again = readJob(read.job.document, { timezone: 'Asia/Tokyo' });
  assert.ok('job' in again);
  assert.deepEqual(again.job.document, read.job.document);
});

test('Every way to write an interval is an interval', () => {
  const everyOf = (schedule: JobDocument['schedule']) =>
    define({ name: 'a', command: 'x', schedule } as JobDocument, 'UTC').schedules.map((each) => each.every);
  assert.deepEqual(everyOf('every 15m'), ['15m']);
  assert.deepEqual(everyOf('Every 15m'), ['15m']);
  assert.deepEqual(everyOf('@every 15m'), ['15m']);
  assert.deepEqual(everyOf({ cron: '@every 15m' }), ['15m']);
  assert.deepEqual(everyOf({ every: '15m' }), ['15m']);
  assert.deepEqual(everyOf('0 0 * * *'), [undefined]);
});

test('The shortest job gets every default of the documentation', () => {
  const { schedules, steps, ...rest } = define({ name: 'hello', command: 'echo hi' }, 'UTC');
  assert.deepEqual(schedules, []);
  assert.equal(steps.length, 1);
  assert.deepEqual(steps[0]?.action, {
    kind: 'command',
    command: 'echo hi',
    shell: 'sh',
    env: {},
    user: null,
    cwd: null,
    umask: null,
    stdin: '',
  });
  assert.deepEqual(rest, {
    name: 'hello',
    title: 'hello',
    description: '',
    owner: '',
    labels: {},
    enabled: true,
    target: { agents: null, labels: {}, pick: 'first', staggerMs: 10_000, max: null },
    timeoutMs: null,
    concurrency: 'forbid',
    catchUp: 'latest',
    startDeadlineMs: 86_400_000,
    onUnknown: 'hold',
    params: {},
    retry: null,
  });
});
