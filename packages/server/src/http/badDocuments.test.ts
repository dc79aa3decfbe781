import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMITS } from '@rota/contract';
import { assertProblem, startTestServer } from '../server.testing.ts';

const job = (line: string) => `jobs:\n  - name: a\n    command: "true"\n    ${line}\n`;

function bomb(): string {
  let text = 'jobs:\n  - name: a\n    command: [';
  const levels = ['x0: &x0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]'];
  for (let level = 1; level < 10; level += 1)
    levels.push(
      `x${level}: &x${level} [${Array(9)
        .fill(`*x${level - 1}`)
        .join(', ')}]`,
    );
  text = `${levels.join('\n')}\n${text}*x9]\n`;
  return text;
}

/** A document, and the only fault that it gives: its path and its words. */
const BAD: [title: string, document: string | object, path: string, message: RegExp][] = [
  ['an unknown field', job('shedule: "0 0 * * *"'), 'jobs[0].shedule', /did you mean "schedule"/],
  ['a bad cron pattern', job('schedule: "0 25 * * *"'), 'jobs[0].schedule', /25/],
  ['30 February', job('schedule: "0 0 30 2 *"'), 'jobs[0].schedule', /can never match/],
  [
    'an unknown zone',
    job('schedule: {cron: "0 0 * * *", timezone: Europe/Berln}'),
    'jobs[0].schedule',
    /Europe\/Berlin/,
  ],
  [
    'a name twice',
    `${job('enabled: true')}  - {name: a, command: x}\n`,
    'jobs[1].name',
    /already the name of jobs\[0\]/,
  ],
  ['a negative duration', job('timeout: -5m'), 'jobs[0].timeout', /"-5m"/],
  [
    'a name of a megabyte',
    { jobs: [{ name: 'x'.repeat(1_000_000), command: 'x' }] },
    'jobs[0]',
    /at most 262144/,
  ],
  ['a list for text', job('title: [a, b]'), 'jobs[0].title', /must be text, not a list/],
  ['text for a list', job('target: {agents: db-1}'), 'jobs[0].target.agents', /must be a list/],
  ['a number for text', job('timeout: 90'), 'jobs[0].timeout', /must be text, not 90/],
  ['text for a truth value', job('enabled: yes'), 'jobs[0].enabled', /true or false, not the text "yes"/],
  ['__proto__ in YAML', job('__proto__: {enabled: false}'), 'jobs[0].__proto__', /unknown field/],
  ['a YAML bomb', bomb(), '', /aliases/],
  ['a list that contains itself', 'jobs: &a [*a]', '', /nested more than/],
  ['a YAML key twice', job('name: b'), '', /line 4: the key stands there twice/],
  ['tabs for indentation', 'jobs:\n\t- name: a', '', /line 2 .*[Tt]abs/],
  ['very deep nesting', `jobs: ${'['.repeat(20_000)}`, '', /nested more than 50/],
  [
    'deep nesting that is well formed',
    `jobs: [{name: a, http: {url: "http://a/", json: ${'['.repeat(60)}${']'.repeat(60)}}}]`,
    '',
    /nested more than 50/,
  ],
  ['a custom tag', job('title: !!js/function "x"'), '', /line 4 .*tag/],
  ['NUL in a command', { jobs: [{ name: 'a', command: 'a\u0000b' }] }, 'jobs[0].command', /NUL/],
  ['a field that is not built yet', job('pool: x'), 'jobs[0].pool', /not supported yet/],
  ['no steps', 'jobs: [{name: a, steps: []}]', 'jobs[0].steps', /fewer than 1/],
  ['a value that is not built yet', job('catchUp: all'), 'jobs[0].catchUp', /"all" is not supported yet/],
  ['no jobs', 'owner: me', 'jobs', /is required/],
  ['an unknown field at the top', 'jobs: []\ndefault: {}', 'default', /did you mean "defaults"/],
  ['a bad default zone', 'defaults: {timezone: Berlin}\njobs: []', 'defaults.timezone', /Europe\/Berlin/],
  ['nothing at all', '', '', /must be an object, not null/],
  ['text that is no document', 'hello', '', /must be an object, not the text "hello"/],
  ['two documents', 'jobs: []\n---\njobs: []', '', /line 2 .*documents/],
  ['a broken quote', 'jobs: ["a', '', /line 1 is not valid YAML/],
  ['an unknown alias', 'jobs: [*nobody]', '', /nothing is called &nobody/],
  ['a bad label', job('labels: {team: "a b"}'), 'jobs[0].labels.team', /only letters, digits/],
  [
    'a user name in a URL',
    'jobs: [{name: a, http: {url: "http://u:p@h/"}}]',
    'jobs[0].http.url',
    /Authorization/,
  ],
  [
    'two schedules in one',
    job('schedule: {cron: "0 0 * * *", every: 1h}'),
    'jobs[0].schedule',
    /exactly one of/,
  ],
  ['a job that is text', 'jobs: [a]', 'jobs[0]', /must be an object/],
];

test('Each bad document gives one clear fault, and nothing of it is saved', async (t) => {
  const server = await startTestServer(t);
  for (const [title, document, path, message] of BAD) {
    for (const dryRun of [false, true]) {
      const answer = await server.send('POST', '/api/v1/apply', { document, dryRun });
      const problem = assertProblem(answer, 'document.invalid');
      assert.equal(problem.faults?.length, 1, `${title}: ${answer.text.slice(0, 1_000)}`);
      assert.equal(problem.faults?.[0]?.path, path, title);
      assert.match(problem.faults?.[0]?.message ?? '', message, title);
      assert.ok((problem.faults?.[0]?.message.length ?? 0) < 400, title);
    }
  }
  assert.ok(BAD.length >= 25);
  assert.deepEqual((await server.send('GET', '/api/v1/jobs')).json.items, []);
});

test('The faults of all jobs of a document come at once, and its good jobs are not saved either', async (t) => {
  const server = await startTestServer(t);
  const document = {
    jobs: [
      { name: 'good', command: 'true' },
      ...BAD.flatMap(([, bad]) => (typeof bad === 'object' && 'jobs' in bad ? (bad.jobs as object[]) : [])),
      { name: 'b', comand: 'x', timeout: 'soon' },
    ],
  };
  const { faults } = assertProblem(
    await server.send('POST', '/api/v1/apply', { document }),
    'document.invalid',
  );
  assert.deepEqual(
    faults?.map((fault) => fault.path),
    ['jobs[1]', 'jobs[2].command', 'jobs[3].comand', 'jobs[3].timeout', 'jobs[3].command'],
  );
  assert.deepEqual((await server.send('GET', '/api/v1/jobs')).json.items, []);
});

test('Very many faults are counted, and only the first are told', async (t) => {
  const server = await startTestServer(t);
  const document = { jobs: Array.from({ length: 1_000 }, (_, index) => ({ name: `job-${index}` })) };
  const problem = assertProblem(await server.send('POST', '/api/v1/apply', { document }), 'document.invalid');
  assert.equal(problem.faults?.length, LIMITS.faultsReported);
  assert.equal(problem.faultsOmitted, 1_000 - LIMITS.faultsReported);
});

test('One bad job by its own route gives the same faults', async (t) => {
  const server = await startTestServer(t);
  const put = (name: string, body: unknown) => server.send('PUT', `/api/v1/jobs/${name}`, body);
  const unknown = assertProblem(await put('a', { comand: 'x', timeout: '-1s' }), 'document.invalid');
  assert.deepEqual(
    unknown.faults?.map((fault) => fault.path),
    ['comand', 'timeout', 'command'],
  );
  assertProblem(await put('a', { name: 'b', command: 'x' }), 'document.invalid');
  assertProblem(await put('a', []), 'document.invalid');
  assertProblem(await put('Bad', { command: 'x' }), 'request.invalid');
  assert.deepEqual((await server.send('GET', '/api/v1/jobs')).json.items, []);
});
