import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BadJob, faultsOfJob, testBadJobs } from './define.testing.ts';
import { define } from './define.ts';
import { requiredSecretsOf, secretNamesOf } from './renderAction.ts';

const one = { name: 'one', command: 'true' };
/** A chain whose second step has these fields. */
const second = (fields: Record<string, unknown>) => ({
  steps: [one, { name: 'two', command: 'true', ...fields }],
});

/** A job whose templates are bad; the path and the words of the one fault that it gives. */
const BAD: BadJob[] = [
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

testBadJobs(BAD);

test('Templates are fine wherever a text of a step stands', () => {
  const faults = faultsOfJob({
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
