import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { LIMITS, type Permit } from '@rota/contract';
import { ScriptedAgent } from '../agents/scriptedAgent.testing.ts';
import { assertProblem, JOINING, startTestServer, type TestServer } from '../server.testing.ts';

const VALUE = 'hunter2 "quoted" $(x) ünïcode';

/** An agent that a test speaks for. */
async function joinAgent(t: TestContext, server: TestServer): Promise<ScriptedAgent> {
  const agent = new ScriptedAgent('one', () => `${server.url.replace('http', 'ws')}/agent`);
  const token = await server.createLocalJoinToken();
  const body = { ...JOINING, token, name: 'one', publicKey: agent.publicKey };
  agent.disk.agentId = (await server.send('POST', '/api/v1/agents/join', body, null)).json.agentId;
  await agent.connect();
  t.after(() => agent.cut());
  await server.whenAgentOnline('one', t.signal);
  return agent;
}

const put = (server: TestServer, name: string, body: object, query = '') =>
  server.send('PUT', `/api/v1/secrets/${name}${query}`, body);

async function run(server: TestServer, job: string): Promise<string> {
  const answer = await server.send('POST', `/api/v1/jobs/${job}/run`, {});
  assert.equal(answer.status, 201, answer.text);
  return answer.json.run.id;
}

async function permitOf(
  agent: ScriptedAgent,
): Promise<{ permit: Permit; offer: { attemptId: string; epoch: number } }> {
  const offer = await agent.next('offer');
  agent.accept(offer);
  const { payload } = await agent.next('permit');
  return { permit: JSON.parse(payload) as Permit, offer };
}

test('A secret is set, listed, changed and deleted, and its value never comes out', async (t) => {
  const server = await startTestServer(t);
  const answers = [
    await put(server, 'TOKEN', { value: VALUE }),
    await put(server, 'TOKEN', { value: `${VALUE}!` }),
    await put(server, 'TOKEN', { agentEnv: 'APP_TOKEN' }, '?job=a'),
    await put(server, 'PIN', { agentFile: '/etc/app/pin' }),
    await server.send('GET', '/api/v1/secrets'),
    await server.send('GET', '/api/v1/secrets?job=a'),
    await server.send('GET', '/api/v1/audit'),
  ];
  const [first, second, ofJob, , list, listOfJob, audit] = answers;
  assert.deepEqual(
    [first?.json.created, second?.json.created, second?.json.secret.version],
    [true, false, 2],
  );
  assert.deepEqual([ofJob?.json.secret.job, ofJob?.json.jobExists], ['a', false]);
  const shown = (each: { name: string; job: string | null; from: string; reference: string | null }) =>
    `${each.job ?? '-'} ${each.name} ${each.from} ${each.reference ?? '-'}`;
  assert.deepEqual(list?.json.items.map(shown), [
    '- PIN agentFile /etc/app/pin',
    '- TOKEN server -',
    'a TOKEN agentEnv APP_TOKEN',
  ]);
  assert.equal(listOfJob?.json.items.length, 1);
  assert.deepEqual(
    audit?.json.items.map((each: { action: string; secrets: string[]; by: string }) => each.action + each.by),
    ['setadmin', 'setadmin', 'setadmin', 'setadmin'],
  );
  for (const { text } of answers) assert.ok(!text.includes('hunter2'), text);
  assert.equal((await server.send('DELETE', '/api/v1/secrets/PIN')).status, 204);
  assertProblem(await server.send('DELETE', '/api/v1/secrets/PIN'), 'secret.notFound');
  assertProblem(await server.send('DELETE', '/api/v1/secrets/TOKEN?job=b'), 'secret.notFound');
});

test('What is wrong with a secret is told in words that do not repeat it', async (t) => {
  const server = await startTestServer(t);
  const canary = 'canary';
  const refused = async (body: unknown, expected: RegExp) => {
    const problem = assertProblem(await put(server, 'TOKEN', body as object), 'document.invalid');
    assert.match(JSON.stringify(problem), expected);
    assert.ok(!JSON.stringify(problem).includes(canary), JSON.stringify(problem));
  };
  await refused({ value: 'can' }, /at least 6 characters/);
  await refused({ value: '\u{1F511}'.repeat(5) }, /at least 6 characters/);
  await refused({ value: canary.repeat(11_000) }, /at most 65536 bytes/);
  await refused({ value: `${canary}\0` }, /NUL/);
  await refused(`{"value": "${canary}\\ud800"}`, /must be text/);
  await refused({}, /exactly one/);
  await refused({ value: canary, agentEnv: canary }, /exactly one/);
  await refused({ agentEnv: `${canary} ${canary}` }, /name of an environment variable/);
  await refused({ agentEnv: 'ROTA_JOIN_TOKEN' }, /own variables/);
  await refused({ agentFile: `${canary}/x` }, /absolute path/);
  for (const body of [{ value: [canary] }, { valeu: canary }, `{"value": "${canary}"`]) {
    const problem = assertProblem(await put(server, 'TOKEN', body as object), 'request.invalid');
    assert.ok(!JSON.stringify(problem).includes(canary));
  }
  assertProblem(await put(server, 'NOT-A-NAME', { value: VALUE }), 'request.invalid');
  assert.deepEqual((await server.send('GET', '/api/v1/secrets')).json.items, []);
  assert.equal((await put(server, 'TOKEN', { value: '\u{1F511}'.repeat(6) })).status, 200);
  assert.equal((await put(server, 'TOKEN', { value: 'x'.repeat(LIMITS.secretBytes) })).status, 200);
});

test('Editors set secrets, and only admins see who used them and change the master key', async (t) => {
  const server = await startTestServer(t);
  const editor = await server.tokenOf('editor');
  const operator = await server.tokenOf('operator');
  const set = (token: string) => server.send('PUT', '/api/v1/secrets/A', { value: VALUE }, token);
  assertProblem(await set(operator), 'auth.forbidden');
  assert.equal((await set(editor)).status, 200);
  assertProblem(await server.send('GET', '/api/v1/audit', undefined, editor), 'auth.forbidden');
  assertProblem(await server.send('POST', '/api/v1/master-key/rotate', {}, editor), 'auth.forbidden');
  assert.equal((await server.send('GET', '/api/v1/secrets', undefined, operator)).json.items.length, 1);
});

test('A job that names a secret that there is not is not saved, and neither is it run', async (t) => {
  const server = await startTestServer(t);
  await put(server, 'DB_PASSWORD', { value: VALUE });
  await put(server, 'ONLY_OF_B', { value: VALUE }, '?job=b');
  const job = { command: 'true', env: { A: '{{ DB_PASWORD }}', B: '{{ secrets.ONLY_OF_B }}' } };
  const faults = async (method: string, path: string, body: object) =>
    assertProblem(await server.send(method, path, body), 'document.invalid').faults?.map(
      (fault) => `${fault.path}: ${fault.message}`,
    );
  const missing = [
    ': there is no secret "DB_PASWORD" (did you mean "DB_PASSWORD"?); make it with `rota secret set DB_PASWORD`',
    ': there is no secret "ONLY_OF_B"; make it with `rota secret set ONLY_OF_B`',
  ];
  assert.deepEqual(
    await faults('PUT', '/api/v1/jobs/a', job),
    missing.map((text) => `command${text}`),
  );
  const document = {
    jobs: [
      { name: 'x', command: 'true' },
      { name: 'a', ...job },
    ],
  };
  assert.deepEqual(
    await faults('POST', '/api/v1/apply', { document }),
    missing.map((text) => `jobs[1].command${text}`),
  );
  assert.equal((await server.send('GET', '/api/v1/jobs')).json.items.length, 0);
  assert.deepEqual(
    await faults('POST', '/api/v1/exec', job),
    missing.map((text) => `command${text}`),
  );
  const right = { command: 'true', env: { A: '{{ DB_PASSWORD }}', B: '{{ secrets.ONLY_OF_B }}' } };
  assert.equal((await server.send('PUT', '/api/v1/jobs/b', right)).status, 200);
  assert.equal((await server.send('PUT', '/api/v1/jobs/c', { command: 'echo {{' })).status === 200, false);
});

test('Very many jobs that name secrets that there are not are counted, and only the first are told', async (t) => {
  const server = await startTestServer(t);
  await put(server, 'TOKEN', { value: VALUE });
  const jobs = Array.from({ length: 1_000 }, (_, n) => ({
    name: `job-${n}`,
    command: 'true',
    env: { A: n % 2 === 0 ? '{{ TOKEN }}' : '{{ TOKEM }}' },
  }));
  const answer = await server.send('POST', '/api/v1/apply', { document: { jobs } });
  const { faults = [], faultsOmitted } = assertProblem(answer, 'document.invalid');
  assert.deepEqual([faults.length, faultsOmitted], [LIMITS.faultsReported, 500 - LIMITS.faultsReported]);
  const last = LIMITS.faultsReported * 2 - 1;
  assert.equal(faults.at(-1)?.path, `jobs[${last}].command`);
  assert.match(faults.at(-1)?.message ?? '', /did you mean "TOKEN"/);
});

test('A permit carries the secrets that its steps name, as its job has them, and no others', async (t) => {
  const server = await startTestServer(t);
  const agent = await joinAgent(t, server);
  await put(server, 'SHARED', { value: 'of all jobs' });
  await put(server, 'SHARED', { value: VALUE }, '?job=a');
  await put(server, 'OTHER', { value: 'never sent' });
  await put(server, 'FROM_ENV', { agentEnv: 'APP_TOKEN' });
  await put(server, 'FROM_FILE', { agentFile: '/etc/pin' });
  const env = { A: '{{ SHARED }}', B: '{{ secrets.FROM_ENV }}', C: 'x{{FROM_FILE}}' };
  await server.send('PUT', '/api/v1/jobs/a', { command: 'true', env });
  await server.send('PUT', '/api/v1/jobs/b', { command: 'true', env: { A: '{{ SHARED }}' } });
  await server.send('PUT', '/api/v1/jobs/c', { command: 'true' });

  const runId = await run(server, 'a');
  const { permit, offer } = await permitOf(agent);
  assert.deepEqual(permit.secrets, {
    FROM_ENV: { from: 'agentEnv', name: 'APP_TOKEN' },
    FROM_FILE: { from: 'agentFile', path: '/etc/pin' },
    SHARED: { from: 'server', value: VALUE },
  });
  assert.ok(!JSON.stringify(permit.steps).includes('hunter2'));
  agent.started(offer);
  agent.ended(offer);
  await run(server, 'b');
  const ofB = await permitOf(agent);
  assert.deepEqual(ofB.permit.secrets, { SHARED: { from: 'server', value: 'of all jobs' } });
  await run(server, 'c');
  assert.deepEqual((await permitOf(agent)).permit.secrets, {});

  const { json } = await server.send('GET', '/api/v1/audit?action=use');
  const [useOfB, useOfA, ...more] = json.items;
  assert.deepEqual(more, []);
  assert.deepEqual(useOfA, {
    id: useOfA.id,
    at: useOfA.at,
    action: 'use',
    by: null,
    secrets: ['FROM_ENV', 'FROM_FILE', 'SHARED'],
    job: 'a',
    run: runId,
    attempt: permit.attemptId,
    agent: 'one',
    detail: null,
  });
  assert.deepEqual([useOfB.job, useOfB.secrets], ['b', ['SHARED']]);
  const filtered = await server.send('GET', `/api/v1/audit?secret=FROM_ENV&run=${runId}&limit=1`);
  assert.equal(filtered.json.items.length, 1);
});

test('A run whose secret was deleted fails before anything is sent, and says which', async (t) => {
  const server = await startTestServer(t);
  const agent = await joinAgent(t, server);
  await put(server, 'TOKEN', { value: VALUE });
  await server.send('PUT', '/api/v1/jobs/a', { command: 'true', env: { A: '{{ TOKEN }}' } });
  await server.send('DELETE', '/api/v1/secrets/TOKEN');
  const runId = await run(server, 'a');
  const offer = await agent.next('offer');
  agent.accept(offer);
  const answer = await agent.next('permit', 'withdraw');
  assert.equal(answer.type, 'withdraw');
  agent.refuse(offer);
  const { json } = await server.send('GET', `/api/v1/runs/${runId}`);
  assert.deepEqual(
    [json.run.state, json.run.reason.code, json.run.detail],
    ['failed', 'secretMissing', 'TOKEN does not exist'],
  );
  assert.match(json.run.reason.remedy, /rota secret set/);
  assert.deepEqual(json.attempts, []);
  // The job's next run is not held up.
  await put(server, 'TOKEN', { value: VALUE });
  await run(server, 'a');
  assert.deepEqual((await permitOf(agent)).permit.secrets.TOKEN, { from: 'server', value: VALUE });
});

test('A value is nowhere but in the permit: not in the database, its log, the server’s log, answers or events', async (t) => {
  const server = await startTestServer(t, { logLevel: 'debug' });
  const agent = await joinAgent(t, server);
  const abort = new AbortController();
  const events = await fetch(`${server.url}/api/v1/events?after=0`, {
    headers: { authorization: `Bearer ${server.token}` },
    signal: abort.signal,
  });
  const value = 'canary-7f3a9c-canary-of-the-test';
  const answers = [
    await put(server, 'TOKEN', { value }),
    await put(server, 'TOKEN', { valeu: value }),
    await put(server, 'TOKEN', { value: `${value}\0` }),
    await put(server, 'TOKEN', { agentFile: value }),
    await server.send('PUT', '/api/v1/jobs/a', { command: 'true', env: { A: '{{ TOKEN }}' } }),
  ];
  const runId = await run(server, 'a');
  const { permit, offer } = await permitOf(agent);
  assert.deepEqual(permit.secrets.TOKEN, { from: 'server', value });
  agent.started(offer);
  await agent.settle(offer);
  answers.push(await server.send('POST', '/api/v1/master-key/rotate', {}));
  assert.equal(answers.at(-1)?.json.encrypted, 1, answers.at(-1)?.text);
  await run(server, 'a');
  assert.deepEqual((await permitOf(agent)).permit.secrets.TOKEN, { from: 'server', value });
  const paths = [
    'secrets',
    'audit',
    'jobs/a',
    'export',
    'runs',
    `runs/${runId}`,
    'jobs/a/revisions',
    'status',
  ];
  for (const path of paths) answers.push(await server.send('GET', `/api/v1/${path}`));
  answers.push(await server.send('GET', '/metrics'));

  let told = '';
  for await (const chunk of events.body ?? []) {
    told += Buffer.from(chunk).toString();
    if (told.includes('"type":"secret"') || told.includes('event: secret')) break;
  }
  abort.abort();
  const files = readdirSync(server.home).filter((name) => !name.endsWith('-shm'));
  assert.ok(files.includes('server.log') && files.includes('master-key'));
  const places = new Map<string, Buffer>([
    ...files.map((name) => [name, readFileSync(join(server.home, name))] as const),
    ...answers.map(({ text }, index) => [`answer ${index}`, Buffer.from(text)] as const),
    ['events', Buffer.from(told)],
  ]);
  const keys = JSON.parse(readFileSync(join(server.home, 'master-key'), 'utf8')).keys as { key: string }[];
  assert.equal(keys.length, 2);
  for (const [place, content] of places) {
    for (const form of formsOf(Buffer.from(value)))
      assert.ok(!content.includes(form), `${place} has the value as ${form}`);
    if (place === 'master-key') continue;
    for (const { key } of keys) {
      const raw = Buffer.from(key, 'base64');
      for (const form of [raw, ...formsOf(raw)])
        assert.ok(!content.includes(form), `${place} has a master key`);
    }
  }
});

/** How bytes may be written: plain, in hexadecimal, and in base64 wherever they begin in a longer text. */
function formsOf(bytes: Buffer): string[] {
  const shifted = [0, 1, 2].flatMap((by) => {
    const text = Buffer.concat([Buffer.alloc(by), bytes]).toString('base64');
    const inner = text.slice(by === 0 ? 0 : by + 1, -4);
    return [inner, inner.replaceAll('+', '-').replaceAll('/', '_')];
  });
  return [bytes.toString('latin1'), bytes.toString('hex'), ...shifted];
}

test('A value that was moved or changed in the database is not sent: the run goes back, and the log says why', async (t) => {
  const server = await startTestServer(t);
  const agent = await joinAgent(t, server);
  await put(server, 'TOKEN', { value: VALUE });
  await put(server, 'OTHER', { value: 'another value' });
  await server.send('PUT', '/api/v1/jobs/a', { command: 'true', env: { A: '{{ TOKEN }}' } });
  const tenantId = (await server.store.tenantByName({ name: 'default' }))?.id ?? '';
  const [other] = (await server.store.readSecretsFor({ tenantId, job: '', names: ['OTHER'], required: [] }))
    .secrets;
  const { keyId = '', sealed } = other ?? {};
  assert(sealed && keyId);
  await server.store.setSecret({
    tenantId,
    job: '',
    name: 'TOKEN',
    content: { kind: 'server', keyId, sealed, reference: null },
    by: 'a thief',
  });
  const runId = await run(server, 'a');
  const offer = await agent.next('offer');
  agent.accept(offer);
  assert.equal((await agent.next('permit', 'withdraw')).type, 'withdraw');
  agent.refuse(offer);
  await agent.next('ack');
  const { json } = await server.send('GET', `/api/v1/runs/${runId}`);
  // It is offered again after a second.
  assert(['queued', 'offered'].includes(json.run.state), json.run.state);
  assert.equal(json.run.startedAt, null);
  assert.deepEqual(await server.store.attemptsOfRun({ tenantId, runId }), []);
  const uses = await server.store.listAudit({
    tenantId,
    filter: { action: 'use' },
    before: null,
    limit: 9,
  });
  assert.deepEqual(uses.rows, []);
  await server.stop();
  const log = readFileSync(join(server.home, 'server.log'), 'utf8');
  assert.match(
    log,
    /the secret TOKEN cannot be read by this server: what is stored was not encrypted for its place/,
  );
});

test('The master key is changed while other servers have a copy of the file, in two steps', async (t) => {
  const server = await startTestServer(t);
  await put(server, 'TOKEN', { value: VALUE });
  await put(server, 'FROM_ENV', { agentEnv: 'X' });
  const rotate = (body: object) => server.send('POST', '/api/v1/master-key/rotate', body);
  const keyIdOf = async () => (await server.send('GET', '/api/v1/secrets')).json.items[1].keyId as string;
  const first = await keyIdOf();
  await server.store.registerReplica({ id: 'other', name: 'other:1' });
  const refused = assertProblem(await rotate({}), 'secret.keyNotShared');
  assert.match(refused.detail, /other:1.*--prepare/);
  const prepared = await rotate({ prepare: true });
  assert.deepEqual([prepared.json.active, prepared.json.encrypted], [false, 0]);
  assert.equal((await rotate({ prepare: true })).json.keyId, prepared.json.keyId);
  assert.equal(await keyIdOf(), first);
  const rotated = await rotate({});
  assert.deepEqual(rotated.json, {
    keyId: prepared.json.keyId,
    active: true,
    encrypted: 1,
    unreadable: 0,
    file: join(server.home, 'master-key'),
  });
  assert.equal(await keyIdOf(), prepared.json.keyId);
  const shared = await rotate({ shared: true });
  assert.equal(shared.json.encrypted, 1);
  assert.notEqual(await keyIdOf(), prepared.json.keyId);
  const { json } = await server.send('GET', '/api/v1/audit?action=rotate');
  assert.deepEqual(
    json.items.map((each: { secrets: string[]; by: string }) => [...each.secrets, each.by]),
    [
      ['TOKEN', 'admin'],
      ['TOKEN', 'admin'],
    ],
  );
});
